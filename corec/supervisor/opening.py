"""Which world an instance goes on with: the one in memory, one from a checkpoint, or a new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from corec.config import Config, ConfigError, Fault
from corec.entities.compile import compile_processor
from corec.entities.processor import ProcessorError
from corec.log import get_logger
from corec.plan import Plan
from corec.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.exits import EXIT_CONFIG, StartFailed
from corec.supervisor.face import Face
from corec.world.checkpoint import (
    Checkpoint,
    CheckpointRefused,
    checkpoint_files,
    set_aside_bad,
)
from corec.world.restore import check_parts
from corec.world.tables import Tables
from shm.segment import SegmentNoSpace, SegmentRefused

log = get_logger("corec.supervisor")


def compile_processors(plan: Plan) -> None:
    """Compile what the blocks run, or load it from the cache, before anything is started.

    Raises:
        ConfigError: a processor can't be compiled; each is named by its key.
    """
    faults = []
    for swarm in plan.swarms:
        try:
            compile_processor(swarm.processor, swarm.cap)
        except ProcessorError as error:
            key = f"bloques[{swarm.index}].procesador"
            faults.append(Fault(key, str(error), "a processor that compiles"))
    if faults:
        raise ConfigError(faults)


def fitting_checkpoint(config: Config, plan: Plan) -> Checkpoint | None:
    """The newest sound checkpoint, None when there is none. Damaged newer ones are set aside.

    Raises:
        StartFailed: it is of another world than the config describes, or all are damaged: none is
            touched then, so that nobody begins a new world by starting again.
    """
    damaged: list[CheckpointRefused] = []
    files = checkpoint_files(config.state_path / config.instance_id)
    for path in files:
        try:
            found = check_parts(path)
        except CheckpointRefused as error:
            damaged.append(error)
            continue
        except OSError as error:
            raise StartFailed(EXIT_CONFIG, f"checkpoint {path}: {error.strerror}") from None
        if found.head["fingerprint"] != plan.fingerprint(config.seed):
            raise StartFailed(EXIT_CONFIG, _misfit(config, f"checkpoint {path}", found.head))
        for bad, fault in zip(files, damaged, strict=False):
            aside = set_aside_bad(bad)
            log.error("a damaged checkpoint is passed over", found=str(fault), aside=str(aside),
                      tick=found.tick)  # fmt: skip
        return found
    if damaged:
        raise StartFailed(EXIT_CONFIG, f"{damaged[0]}; --fresh begins a new world")
    return None


def _misfit(config: Config, what: str, head: dict[str, Any]) -> str:
    differs = []
    if head.get("seed") != config.seed:
        differs.append(f"seed: found {head.get('seed')}, configured {config.seed}")
    if head.get("entidades") != config.entidades:
        differs.append(f"entidades: found {head.get('entidades')}, configured {config.entidades}")
    if not differs:
        differs.append("bloques, parametros or the state fields of a processor differ")
    return (
        f"the world in {what} does not fit the config ({'; '.join(differs)}); "
        "use its config, or --fresh to set it aside and begin a new world"
    )


def _refused(config: Config, folder: Path, error: SegmentRefused) -> str:
    """Why the world in memory is not taken; nothing of it was changed."""
    if error.path.name == segments.WORLD and error.found.startswith("layout"):
        head = segments.described(folder)
        if head is not None:
            return _misfit(config, str(folder), head)
    return (
        f"the world in {folder} is damaged, or not of this version: {error.path.name}: found "
        f"{error.found}, expected {error.expected}; nothing was changed; put the right file back, "
        "or use --fresh to set it aside and begin a new world"
    )


def open_world(
    config: Config, plan: Plan, folder: Path, face: Face, workers: int, *,
    adopting: bool, checkpoint: Checkpoint | None, meanwhile: Callable[[], None],
    fresh: bool = False,
) -> tuple[Runtime, Tables]:  # fmt: skip
    """Adopt, restore or create the world; ``meanwhile`` is called now and then.

    Raises:
        StartFailed: it does not fit, is damaged, or finds no room; the text says which.
    """
    try:
        if adopting:
            face.note("adopting the world in memory")
            return segments.adopt(config, folder, plan)
        what = "restoring the world" if checkpoint else "creating the world"
        with face.progress(what, plan.entidades) as progress:

            def told(done: int, total: int) -> None:
                meanwhile()
                progress(done, total)

            return segments.create(config, folder, workers, checkpoint, plan, told, fresh=fresh)
    except SegmentNoSpace as error:
        raise StartFailed(
            EXIT_CONFIG, f"bloques: the world does not fit into runtime_dir: {error}"
        ) from None
    except SegmentRefused as error:
        raise StartFailed(EXIT_CONFIG, _refused(config, folder, error)) from None
    except CheckpointRefused as error:
        raise StartFailed(EXIT_CONFIG, f"{error}; --fresh begins a new world") from None
    except ProcessorError as error:
        fault = Fault("bloques.procesador", str(error), "an init that does not fail")
        raise StartFailed(EXIT_CONFIG, str(ConfigError([fault]))) from None
