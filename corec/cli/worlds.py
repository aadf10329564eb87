"""``corec export`` and ``corec fork``: a world's state as a file, and what if.

What they do is ``corec.view``'s; it is loaded when one of them runs, since it brings the compiler.
"""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corec.command_line import NO_MEMORY, NUMBER_MAX
from corec.project import default_config

if TYPE_CHECKING:
    from corec.view.reading import Readable

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
    """Turn every expected failure into its lines and its exit code; what the system refuses is
    ``told_in_a_line``'s."""
    from corec.config import ConfigError
    from corec.control.client import Unreachable
    from corec.control.console import AskFailed
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
        AskFailed, CheckpointRefused, ControlError, MemoryError, ProcessorError, RunFailed,
        Unreachable,
    ) as error:  # fmt: skip
        said = str(error) or NO_MEMORY  # the others have a text
    for line in said.splitlines():
        print(f"corec: {line}", file=sys.stderr)
    raise typer.Exit(code)


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file, .parquet or .csv.")],
    swarm: Annotated[str | None, typer.Option(help="Of this bloque; may be the only one.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            "--columns",
            help="This column, a,b or again for more; else all but histories.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of this checkpoint file, instead of a running instance.")
    ] = None,
    stat: Annotated[
        list[str] | None,
        typer.Option(help="One row instead, with numbers such as mean(valor); again for more."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="All rows of this table or view of the database instead, or mensajes."),
    ] = None,
    collected: Annotated[
        bool, typer.Option("--collected", help="What collect has left of its columns instead.")
    ] = False,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the state of all entities of a bloque at one tick to a file, whole or not at all.

    With --table what the instance has written to its database: bloques, eventos, mensajes (the
    messages in the payloads), estadisticas, generaciones, linaje, alertas and the like. With
    --collected the files that collect has made of columns, as one.
    """
    with explained():
        if out.suffix not in (".parquet", ".csv"):
            raise ValueError(f"OUT: found {out}, expected a name that ends in .parquet or .csv")
        from corec.view.attached import attach
        from corec.view.saved import Saved

        if not out.parent.is_dir():
            raise ValueError(f"OUT: found {out}, expected a name in a folder that exists")
        if collected:
            if column or checkpoint or stat or table:
                raise ValueError("--collected: found it beside --column, --stat, --table or "
                                 "--checkpoint, expected it alone, or with --swarm")  # fmt: skip
            _export_collected(instance, config, swarm, out, as_json)
            return
        if table is not None:
            if swarm or column or checkpoint or stat:
                raise ValueError("--table: found it beside --swarm, --column, --stat or "
                                 "--checkpoint, expected it alone")  # fmt: skip
            from corec.control.discover import find_instance
            from corec.view.exported import export_table

            done = export_table(find_instance(instance, config), table, out)
            text = f"{out}: {done['rows']:,} rows of {table}"
            if more := done.get("omitidos"):
                text += f"; {more:,} more were sent that are in no payload (omitidos)"
            print(json.dumps({"file": str(out), "table": table, **done}) if as_json else text)
            return
        world = Saved(checkpoint) if checkpoint else attach(instance, config=config)
        if stat and column:
            raise ValueError("--stat: found it beside --column, expected one of both")
        if stat:
            _export_stats(world, swarm, stat, out, as_json)
            return
        chosen = [name for text in column or () for name in text.split(",")]
        frame = world.frame(swarm, chosen if column else None)
        (frame.to_parquet if out.suffix == ".parquet" else frame.to_csv)(out)
        found = {"file": str(out), "swarm": frame.swarm, "tick": frame.tick, "rows": len(frame)}
        text = f"{out}: {len(frame):,} entities of {frame.swarm} at tick {frame.tick}"
        print(json.dumps(found) if as_json else text)


def _export_collected(
    instance: str | None, config: Path | None, swarm: str | None, out: Path, as_json: bool
) -> None:
    from corec.config import load_config
    from corec.control.discover import find_instance
    from corec.view.joined import export_collected

    if config is None:
        running = find_instance(instance, None)
        if running.config_path is None:
            raise ValueError("--config: found none, expected that of the instance")
        config = Path(running.config_path)
    done = export_collected(load_config(config), swarm, out)
    text = f"{out}: {done['rows']:,} rows of {done['swarm']} out of {done['files']:,} files"
    print(json.dumps(done) if as_json else text)


def _export_stats(
    world: Readable, swarm: str | None, stats: list[str], out: Path, as_json: bool
) -> None:
    from corec.view.measured import measured

    row, frame = measured(world, swarm, stats)
    (row.to_parquet if out.suffix == ".parquet" else row.to_csv)(out)
    numbers = {text: float(row[text][0]) for text in stats}
    found = {"file": str(out), "swarm": frame.swarm, "tick": frame.tick, "stats": _finite(numbers)}
    text = ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())
    print(json.dumps(found) if as_json else f"{out}: {frame.swarm} at tick {frame.tick}: {text}")


def fork(
    ticks: Annotated[int, typer.Option(min=0, max=NUMBER_MAX, help="Run so many ticks.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT|INSTANCE",
            help="A file; or a running instance, of which one is made; the only one if left out.",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change this first; again for more."),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Take in what the instance took in, as far as its journal says."
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Expect this one; that it has if left out.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="As the instance was started with.")] = None,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What if: go on from a checkpoint in this process, with other settings; say what becomes.

    With --replay and nothing else set, the same ticks again as they were, to the bit.
    """
    with explained():
        from corec.view.attached import attach
        from corec.view.world import World

        settings = settings_of(change or ())
        checkpoint = Path(source) if source is not None and _is_file(source) else None
        if checkpoint is None:
            with attach(source or instance, config=config) as running:
                checkpoint, config = running.snapshot(), config or running.config_path
        scaled = None if scale is None else {"scale": scale}
        path = config or default_config()
        with (
            _warned(), _held(checkpoint) as file,
            World(
                path, seed=_seed(file, seed), changes=scaled, checkpoint=file, replay=replay
            ) as world,
        ):
            start = world.ticks
            if settings:
                world.set(settings)
            world.run(ticks)
            means = {name: world.means(name) for name in world.swarms}
            until = world.replay_until
            found: dict[str, Any] = {
                "from_tick": start, "tick": world.ticks, "digest": world.digest(), "means": means,
                "replayed_until": until,
            }  # fmt: skip
    if as_json:
        found["means"] = {name: _finite(numbers) for name, numbers in means.items()}
        print(json.dumps(found))
        return
    print(f"tick {start} to {found['tick']}: digest {found['digest']}")
    if until is not None and found["tick"] > until:
        print(f"  the journal ends with tick {until}: nothing arrived in those behind it")
    for name, numbers in means.items():
        print(f"  {name}: " + ", ".join(f"{k} {v:.6g}" for k, v in numbers.items()))


def _is_file(word: str) -> bool:
    """Whether ``word`` means a checkpoint's file, there or not, and not an instance."""
    return "/" in word or word.endswith(".corec") or Path(word).is_file()


@contextmanager
def _warned() -> Iterator[None]:
    """What is warned of is a line, as what fails."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in told:
                print(f"corec: {one.message}", file=sys.stderr)


@contextmanager
def _held(checkpoint: Path) -> Iterator[Path]:
    """A name of the file by which it can be read also when its instance, which keeps the last few,
    has deleted it meanwhile."""
    from corec.world.checkpoint import CheckpointRefused

    descriptor = os.open(checkpoint, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    held = Path(f"/proc/self/fd/{descriptor}")
    try:
        yield held
    except CheckpointRefused as error:
        raise CheckpointRefused(str(error).replace(str(held), str(checkpoint))) from None
    finally:
        os.close(descriptor)


def _seed(checkpoint: Path, wanted: int | None) -> int:
    """That of the world in it, which need not be the configuration's, unless one is expected."""
    from corec.world.checkpoint import read_head

    return int(read_head(checkpoint).head["seed"]) if wanted is None else wanted


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON can hold them."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """All of them by path. Raises ValueError: one is none, or there twice."""
    found: dict[str, Any] = {}
    for path, value in map(setting, texts):
        if path in found:
            raise ValueError(f"--set: found {path:.80} twice, expected it once")
        found[path] = value
    return found


def setting(text: str) -> tuple[str, Any]:
    """``PATH=VALUE`` as ``corec-ctl set`` reads a value. Raises ValueError."""
    path, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set: found {text!r}, expected PATH=VALUE")
    from corec.control.asking import as_value

    return path, as_value(value)
