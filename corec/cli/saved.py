"""What ``corec checkpoint`` does: list, verify, restore the checkpoints of an instance, and free
what was set aside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from corec.config import Config, ConfigError, load_config
from corec.control.folders import OWNER_LOCK, instance_folder
from corec.control.show import human_bytes
from corec.digits import whole_number
from corec.durable import sync_file, sync_folder
from corec.exits import EXIT_ALIVE, EXIT_FAILED, EXIT_USAGE, StartFailed
from corec.plan import make_plan
from corec.private import NotPrivate, make_private, sane_umask
from corec.supervisor import segments
from corec.supervisor.aside import keep_memory
from corec.world.checkpoint import (
    BAD,
    PREFIX,
    SUFFIX,
    Checkpoint,
    CheckpointRefused,
    checkpoint_files,
    checkpoint_name,
    read_head,
)
from corec.world.heads import lowest_positions, positions_of
from corec.world.kept import ASIDE, ODD, aside_folders, look, made_of
from corec.world.restore import check_parts, verify
from corec.world.snapshot import remove_halves
from shm.owner import OwnerAlive, OwnerLock


def _fail(message: str, code: int) -> NoReturn:
    print(f"corec: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _config(path: Path | None) -> Config:
    from corec.project import default_config

    try:
        return load_config(path or default_config())
    except ConfigError as error:
        _fail(str(error).replace("\n", "\ncorec: "), EXIT_USAGE)


def _folder(config: Config) -> Path:
    return config.state_folder


def _rows(
    paths: list[Path], check: Callable[[Path], Checkpoint], *, named: bool = False
) -> tuple[list[dict[str, Any]], list[Checkpoint]]:
    """Each file as JSON data; ``sound`` says what ``check`` found, ``last_made`` which of them a
    start takes if all fit the config.

    Unless somebody ``named`` them, and then links are followed: a file that a running instance has
    removed meanwhile, for a newer one, is left out.
    """
    rows: list[dict[str, Any]] = []
    good: list[tuple[dict[str, Any], Checkpoint]] = []
    for path in paths:
        row: dict[str, Any] = {
            "file": path.name, "path": str(path), "tick": None, "time": None, "bytes": 0,
            "entidades": None, "digest": None, "epoch": None, "in_positions": {}, "sound": False,
            "last_made": False, "error": None,
        }  # fmt: skip
        try:
            row["bytes"] = path.lstat().st_size
            # not ``resolve``, which raises RuntimeError for links in a circle
            real = Path(os.path.realpath(path, strict=True)) if named else path
            found = look(real, check)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not named:
                continue
            row["error"] = f"{path}: {error.strerror}"
        else:
            if isinstance(found, Checkpoint):
                good.append((row, found))
                row |= _described(found.head)
            else:
                row["error"] = found.why
        rows.append(row)
    if good:
        last, _ = max(good, key=lambda one: made_of(one[1].head))
        last["last_made"] = True
    return rows, [found for _, found in good]


def _described(head: dict[str, Any]) -> dict[str, Any]:
    made = datetime.fromtimestamp(head["unix_ns"] / 1e9, UTC)
    positions = {
        str(canal): {"entry": at.entry, "next_msg": at.next_msg, "needed_from": at.needed_from}
        for canal, at in positions_of(head).items()
    }
    return {
        **{name: head[name] for name in ("tick", "entidades", "digest")},
        "epoch": f"{head['epoch']:016x}",
        "time": made.isoformat(timespec="seconds"),
        "in_positions": positions,
        "sound": True,
    }


def _show(folder: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        print(f"{folder}: no checkpoint")
        return
    print(folder)
    print(f"{'tick':>10}  {'time':25}  {'size':>10}  {'entities':>13}  {'digest':32}  sound")
    for row in rows:
        if not row["sound"]:
            print(f"{'':>10}  {'':25}  {human_bytes(row['bytes']):>10}  NO: {row['error']}")
            continue
        print(f"{row['tick']:>10}  {row['time']:25}  {human_bytes(row['bytes']):>10}  "
              f"{row['entidades']:>13,}  {row['digest']}  yes"
              f"{', made last' if row['last_made'] else ''}")  # fmt: skip
        for canal, at in row["in_positions"].items():
            print(f"{'':>10}  canal {canal}: input up to {at['entry']} applied")


def _needed_from(good: list[Checkpoint]) -> dict[str, str]:
    """By canal the lowest entry that a checkpoint of the world made last still needs."""
    if not good:
        return {}
    epoch = max(good, key=lambda one: made_of(one.head)).head["epoch"]
    lowest = lowest_positions(one.head for one in good if one.head["epoch"] == epoch)
    return {str(canal): at.needed_from for canal, at in lowest.items()}


def list_them(config: Path | None, as_json: bool) -> None:
    """``corec checkpoint ls``."""
    loaded = _config(config)
    folder = _folder(loaded)
    rows, good = _rows(checkpoint_files(folder), check_parts)
    needed = _needed_from(good)
    bad = sorted(path.name for path in folder.glob(f"{PREFIX}*{SUFFIX}{BAD}*"))
    aside = _aside(loaded)
    if as_json:
        print(json.dumps({"folder": str(folder), "checkpoints": rows, "bad": bad,
                          "input_needed_from": needed, "set_aside": aside}))  # fmt: skip
        return
    _show(folder, rows)
    for canal, entry in needed.items():
        print(f"canal {canal}: no kept checkpoint needs input below {entry}")
    for name in bad:
        print(f"set aside as damaged: {name}")
    for one in aside:
        print(f"set aside {one['where']}: {human_bytes(one['bytes'])} in {one['path']}")
    if aside:
        print("delete what was set aside: corec checkpoint free FOLDER (or all)")


def trim_bound(config: Path | None, as_json: bool) -> None:
    """``corec checkpoint trim-bound``."""
    from corec.broker.positions import Keys

    loaded = _config(config)
    _, good = _rows(checkpoint_files(_folder(loaded)), check_parts)
    keys = Keys(loaded.instance_id)
    bounds = {keys.incoming(int(canal)): entry for canal, entry in _needed_from(good).items()}
    if as_json:
        print(json.dumps({"checkpoints": len(good), "min_ids": bounds}))
        return
    if not bounds:
        print("corec: no checkpoint has applied input: nothing may be trimmed", file=sys.stderr)
    for key, entry in bounds.items():
        print(f"XTRIM {key} MINID {entry}")


def _aside(config: Config) -> list[dict[str, Any]]:
    """What was set aside, on disk and in memory."""
    return [
        {"path": str(path), "bytes": size, "where": where}
        for where, place in (("on disk", _folder(config)), ("in memory", instance_folder(config)))
        for path, size in aside_folders(place)
    ]


def free_them(name: str, config: Path | None, as_json: bool) -> None:
    """``corec checkpoint free``; ``name`` may be ``all``, a folder's name, or its path."""
    aside = _aside(_config(config))
    chosen = [one for one in aside if name in ("all", one["path"], Path(one["path"]).name)]
    if not chosen and name != "all":
        known = ", ".join(Path(one["path"]).name for one in aside) or "nothing is set aside"
        _fail(f"found {name!r}, expected all or a folder that was set aside: {known}", EXIT_USAGE)
    try:
        for one in chosen:
            shutil.rmtree(one["path"])
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}", EXIT_FAILED)
    freed = sum(int(one["bytes"]) for one in chosen)
    if as_json:
        print(json.dumps({"freed": chosen, "bytes": freed}))
        return
    for one in chosen:
        print(f"deleted: {one['path']}")
    print(f"{human_bytes(freed)} freed")


def _path(folder: Path, name: str) -> Path:
    """A file by its name in ``folder``, by its path, or by its tick."""
    tick = whole_number(name)
    if tick is not None:
        return folder / checkpoint_name(tick)
    inside = folder / name
    return inside if "/" not in name and inside.exists() else Path(name)


def verify_them(file: str, config: Path | None, as_json: bool) -> None:
    """``corec checkpoint verify``; ``file`` may be ``all``."""
    folder = _folder(_config(config))
    paths = checkpoint_files(folder) if file == "all" else [_path(folder, file)]
    rows, _ = _rows(paths, verify, named=file != "all")
    if as_json:
        print(json.dumps({"folder": str(folder), "checkpoints": rows}))
    else:
        _show(folder, rows)
    if not all(row["sound"] for row in rows):
        raise typer.Exit(EXIT_FAILED)


def restore_one(file: str, config: Path | None, as_json: bool) -> None:
    """``corec checkpoint restore``."""
    loaded = _config(config)
    folder = _folder(loaded)
    runtime = instance_folder(loaded)
    sane_umask(0o077)
    try:
        with _alone(runtime), _alone(folder):  # as a start does: whoever shares one of them waits
            chosen = verify(_path(folder, file))
            _refuse_misfit(loaded, chosen)
            aside = _restore(folder, runtime, chosen)
    except OwnerAlive as error:
        _fail(f"instance {loaded.instance_id!r} is running, as pid {error.pid}; stop it first",
              EXIT_ALIVE)  # fmt: skip
    except (CheckpointRefused, StartFailed) as error:
        _fail(str(error), EXIT_FAILED)
    except NotPrivate as error:
        _fail(str(error), EXIT_USAGE)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror}", EXIT_FAILED)
    finally:
        with contextlib.suppress(OSError):  # it holds something
            runtime.parent.rmdir()
    found = {
        "restored": str(folder / checkpoint_name(chosen.tick)), "tick": chosen.tick,
        "digest": chosen.head["digest"], "set_aside": [str(place) for place in aside],
    }  # fmt: skip
    if as_json:
        print(json.dumps(found))
        return
    print(f"the next start resumes at tick {chosen.tick} from {found['restored']}")
    for place in aside:
        print(f"set aside: {place}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder of the instance, as the instance would; one that is empty afterwards goes.

    Raises OwnerAlive, NotPrivate, OSError.
    """
    lock = OwnerLock(make_private(folder) / OWNER_LOCK)
    lock.acquire()
    try:
        yield
    finally:
        lock.release(unlink=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _refuse_misfit(config: Config, chosen: Checkpoint) -> None:
    if chosen.head["instance_id"] != config.instance_id:
        _fail(f"{chosen.path}: is of instance {chosen.head['instance_id']!r}, "
              f"expected {config.instance_id!r}", EXIT_USAGE)  # fmt: skip
    try:
        fingerprint = make_plan(config).fingerprint(config.seed)
    except ConfigError as error:
        _fail(str(error).replace("\n", "\ncorec: "), EXIT_USAGE)
    if chosen.head["fingerprint"] != fingerprint:
        _fail(f"{chosen.path}: its world does not fit the config (entidades "
              f"{chosen.head['entidades']}, seed {chosen.head['seed']}); use the config it was "
              "made with", EXIT_USAGE)  # fmt: skip


def _restore(folder: Path, runtime: Path, chosen: Checkpoint) -> list[Path]:
    """The moves, in an order that leaves a startable set whatever interrupts them: a world in
    memory is adopted until its copy is on disk, and all of it is given back then."""
    stamp = f"{ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{time.monotonic_ns() % 10**6:06d}"
    target = folder / checkpoint_name(chosen.tick)
    places = []
    if chosen.path.resolve() != target.resolve() or target.is_symlink():
        half = folder / f".{PREFIX}restore-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_halves(folder)
        try:
            shutil.copyfile(chosen.path, half)
            with open(half, "rb") as copied:
                sync_file(copied)
        except OSError:
            half.unlink(missing_ok=True)
            raise
        if os.path.lexists(target):
            places.append(_move(target, folder / stamp).parent)
        os.replace(half, target)
    places += [
        _move(path, folder / stamp).parent
        for path in checkpoint_files(folder)
        if path != target and _comes_before(path, chosen, target)
    ]
    sync_folder(folder)
    if segments.adoptable(runtime):
        places.append(keep_memory(runtime, folder / stamp))
        segments.remove(runtime)
    return sorted(set(places))


def _comes_before(path: Path, chosen: Checkpoint, target: Path) -> bool:
    """Whether a start would take ``path``, or stumble over it, before ``chosen``."""
    try:
        found = look(path, read_head)
    except FileNotFoundError:
        return False
    if isinstance(found, Checkpoint):
        return made_of(found.head) >= made_of(chosen.head)
    return found.kind != ODD and path.name > target.name


def _move(path: Path, into: Path) -> Path:
    into.mkdir(exist_ok=True, mode=0o700)
    return path.rename(into / path.name)
