"""What ``corec checkpoint`` does: list, verify and restore the checkpoints of an instance."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from corec.config import Config, ConfigError, load_config
from corec.control.folders import OWNER_LOCK, instance_folder
from corec.control.show import human_bytes
from corec.plan import make_plan
from corec.private import make_private
from corec.supervisor.exits import EXIT_ALIVE, EXIT_CONFIG, EXIT_FAILED
from corec.world.checkpoint import (
    BAD,
    PREFIX,
    SUFFIX,
    Checkpoint,
    CheckpointRefused,
    checkpoint_files,
    checkpoint_name,
)
from corec.world.restore import check_parts, verify
from corec.world.snapshot import sync_folder
from shm.owner import OwnerAlive, OwnerLock


def _fail(message: str, code: int) -> NoReturn:
    print(f"corec: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _config(path: Path | None) -> Config:
    from corec.project import default_config

    try:
        return load_config(path or default_config())
    except ConfigError as error:
        _fail(str(error).replace("\n", "\ncorec: "), EXIT_CONFIG)


def _folder(config: Config) -> Path:
    return config.state_path / config.instance_id


def _rows(paths: list[Path], look: Callable[[Path], Checkpoint]) -> list[dict[str, Any]]:
    """Each file as JSON data; ``sound`` says what ``look`` found.

    A file that a running instance has removed meanwhile, for a newer one, is left out.
    """
    rows = []
    for path in paths:
        row: dict[str, Any] = {
            "file": path.name, "path": str(path), "tick": None, "time": None, "bytes": 0,
            "entidades": None, "digest": None, "sound": False, "error": None,
        }  # fmt: skip
        try:
            row["bytes"] = path.stat().st_size
            head = look(path).head
            made = datetime.fromtimestamp(head["unix_ns"] / 1e9, UTC)
            row |= {name: head[name] for name in ("tick", "entidades", "digest")}
            row |= {"time": made.isoformat(timespec="seconds"), "sound": True}
        except FileNotFoundError as error:
            if len(paths) > 1:
                continue
            row["error"] = f"{path}: {error.strerror}"
        except CheckpointRefused as error:
            row["error"] = str(error)
        except OSError as error:
            row["error"] = f"{path}: {error.strerror}"
        rows.append(row)
    return rows


def _show(folder: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        print(f"{folder}: no checkpoint")
        return
    print(folder)
    print(f"{'tick':>10}  {'time':25}  {'size':>10}  {'entities':>13}  {'digest':32}  sound")
    for row in rows:
        if row["sound"]:
            print(f"{row['tick']:>10}  {row['time']:25}  {human_bytes(row['bytes']):>10}  "
                  f"{row['entidades']:>13,}  {row['digest']}  yes")  # fmt: skip
        else:
            print(f"{'':>10}  {'':25}  {human_bytes(row['bytes']):>10}  NO: {row['error']}")


def list_them(config: Path | None, as_json: bool) -> None:
    """``corec checkpoint ls``."""
    loaded = _config(config)
    folder = _folder(loaded)
    rows = _rows(checkpoint_files(folder), check_parts)
    bad = sorted(path.name for path in folder.glob(f"{PREFIX}*{SUFFIX}{BAD}*"))
    if as_json:
        print(json.dumps({"folder": str(folder), "checkpoints": rows, "bad": bad}))
        return
    _show(folder, rows)
    for name in bad:
        print(f"set aside as damaged: {name}")


def _path(folder: Path, name: str) -> Path:
    """A file by its name in ``folder``, by its path, or by its tick."""
    if name.isdecimal():
        return folder / checkpoint_name(int(name))
    inside = folder / name
    return inside if "/" not in name and inside.exists() else Path(name)


def verify_them(file: str, config: Path | None, as_json: bool) -> None:
    """``corec checkpoint verify``; ``file`` may be ``all``."""
    folder = _folder(_config(config))
    paths = checkpoint_files(folder) if file == "all" else [_path(folder, file)]
    rows = _rows(paths, verify)
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
    try:
        lock = OwnerLock(make_private(runtime) / OWNER_LOCK)
        try:
            lock.acquire()
            chosen = verify(_path(folder, file))
            _refuse_misfit(loaded, chosen)
            aside = _restore(folder, runtime, chosen)
        finally:
            lock.release(unlink=True)
            for place in (runtime, runtime.parent):
                with contextlib.suppress(OSError):  # it holds something
                    place.rmdir()
    except OwnerAlive as error:
        _fail(f"instance {loaded.instance_id!r} is running, as pid {error.pid}; stop it first",
              EXIT_ALIVE)  # fmt: skip
    except CheckpointRefused as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror}", EXIT_FAILED)
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


def _refuse_misfit(config: Config, chosen: Checkpoint) -> None:
    if chosen.head["instance_id"] != config.instance_id:
        _fail(f"{chosen.path}: is of instance {chosen.head['instance_id']!r}, "
              f"expected {config.instance_id!r}", EXIT_CONFIG)  # fmt: skip
    try:
        fingerprint = make_plan(config).fingerprint(config.seed)
    except ConfigError as error:
        _fail(str(error).replace("\n", "\ncorec: "), EXIT_CONFIG)
    if chosen.head["fingerprint"] != fingerprint:
        _fail(f"{chosen.path}: its world does not fit the config (entidades "
              f"{chosen.head['entidades']}, seed {chosen.head['seed']}); use the config it was "
              "made with", EXIT_CONFIG)  # fmt: skip


def _restore(folder: Path, runtime: Path, chosen: Checkpoint) -> list[Path]:
    """The moves, in an order that leaves a startable set whatever interrupts them."""
    stamp = f"aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{time.monotonic_ns() % 10**6:06d}"
    target = folder / checkpoint_name(chosen.tick)
    places = []
    if chosen.path.resolve() != target.resolve():
        half = folder / f".{PREFIX}restore-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(chosen.path, half)
        with open(half, "rb") as copied:
            os.fsync(copied.fileno())
        if target.exists():
            places.append(_move(target, folder / stamp))
        os.replace(half, target)
    places += [
        _move(newer, folder / stamp)
        for newer in checkpoint_files(folder)
        if newer.name > target.name
    ]
    sync_folder(folder)
    in_memory = [*runtime.glob("control.seg*"), *runtime.glob("*.seg"), *runtime.glob("*.lane")]
    places += [_move(part, runtime / stamp) for part in dict.fromkeys(in_memory)]
    return sorted({place.parent for place in places})


def _move(path: Path, into: Path) -> Path:
    into.mkdir(exist_ok=True, mode=0o700)
    return path.rename(into / path.name)
