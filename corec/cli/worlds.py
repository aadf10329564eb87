"""``corec export`` and ``corec fork``: a world's state as a file, and what if.

What they do is ``corec.view``'s; it is loaded when one of them runs, since it brings the compiler.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from corec.command_line import NUMBER_MAX
from corec.project import default_config

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration file of the instance.")
]
InstanceOption = Annotated[
    str | None, typer.Option("--instance", help="The running instance; the only one if left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FAILED, USAGE, NOT_RUNNING = 1, 2, 3


@contextmanager
def explained() -> Iterator[None]:
    """Turn every expected failure into its lines and its exit code."""
    from corec.config import ConfigError
    from corec.control.client import Unreachable
    from corec.control.discover import NoInstance, SeveralInstances
    from corec.control.protocol import ControlError
    from corec.entities.processor import ProcessorError
    from corec.view.making import RunFailed
    from corec.world.checkpoint import CheckpointRefused

    code = FAILED
    try:
        yield
        return
    except NoInstance as error:
        said, code = str(error), NOT_RUNNING
    except (ConfigError, ValueError, SeveralInstances, ImportError) as error:
        said, code = str(error), USAGE
    except (
        CheckpointRefused, ControlError, MemoryError, ProcessorError, RunFailed, Unreachable,
        OSError,
    ) as error:  # fmt: skip
        said = str(error)
    for line in said.splitlines():
        print(f"corec: {line}", file=sys.stderr)
    raise typer.Exit(code)


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file, .parquet or .csv.")],
    swarm: Annotated[str | None, typer.Option(help="Of this bloque; may be the only one.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="This column, again for more; else all but histories.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of this checkpoint file, instead of a running instance.")
    ] = None,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the state of all entities of a bloque at one tick to a file, whole or not at all."""
    with explained():
        if out.suffix not in (".parquet", ".csv"):
            raise ValueError(f"OUT: found {out}, expected a name that ends in .parquet or .csv")
        from corec.view.attached import attach
        from corec.view.saved import Saved

        world = Saved(checkpoint) if checkpoint else attach(instance, config=config)
        frame = world.frame(swarm, column)
        (frame.to_parquet if out.suffix == ".parquet" else frame.to_csv)(out)
        found = {"file": str(out), "swarm": frame.swarm, "tick": frame.tick, "rows": len(frame)}
        text = f"{out}: {len(frame):,} entities of {frame.swarm} at tick {frame.tick}"
        print(json.dumps(found) if as_json else text)


def fork(
    ticks: Annotated[int, typer.Option(min=0, max=NUMBER_MAX, help="Run so many ticks.")],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(metavar="CHECKPOINT", help="Its file; one of a running instance is made."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change this first; again for more."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="As the instance was started with.")] = None,
    scale: Annotated[float | None, typer.Option(help="As the instance was started with.")] = None,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What if: go on from a checkpoint in this process, with other settings; say what becomes."""
    with explained():
        from corec.view.attached import attach
        from corec.view.world import World

        settings = [_setting(text) for text in change or ()]
        if checkpoint is None:
            with attach(instance, config=config) as running:
                checkpoint, config = running.snapshot(), config or running.config_path
        scaled = None if scale is None else {"scale": scale}
        path = config or default_config()
        with World(path, seed=seed, changes=scaled, checkpoint=checkpoint) as world:
            start = world.ticks
            for name, value in settings:
                world.set(name, value)
            world.run(ticks)
            means = {name: world.means(name) for name in world.swarms}
            found = {"from_tick": start, "tick": world.ticks, "digest": world.digest(),
                     "means": means}  # fmt: skip
    if as_json:
        print(json.dumps(found))
        return
    print(f"tick {start} to {found['tick']}: digest {found['digest']}")
    for name, numbers in means.items():
        print(f"  {name}: " + ", ".join(f"{k} {v:.6g}" for k, v in numbers.items()))


def _setting(text: str) -> tuple[str, Any]:
    """PATH=VALUE, the value as JSON, or else as it stands. Raises ValueError."""
    path, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set: found {text!r}, expected PATH=VALUE")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value
