"""Finding running instances: whose owner lock is held is alive, whatever else lies about."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from corec.config import load_config
from corec.control.folders import (
    CONTROL_SOCKET,
    INSTANCE_FILE,
    OWNER_LOCK,
    instance_folder,
    known_folders,
)
from shm.owner import probe


@dataclass(frozen=True)
class Instance:
    """What ``instance.json`` says. URLs carry no password."""

    instance_id: str
    pid: int
    folder: str
    socket: str
    http_url: str | None
    redis_url: str
    db: str
    started_unix_ns: int
    config_path: str | None
    version: str

    @property
    def path(self) -> Path:
        """``folder`` as a path."""
        return Path(self.folder)


class NoInstance(Exception):
    """Nothing that runs fits what was asked for (exit code 3)."""


class SeveralInstances(Exception):
    """More than one instance fits, and none was named (exit code 2)."""

    def __init__(self, found: list[Instance]) -> None:
        lines = [f"  {one.instance_id}  pid {one.pid}  {one.folder}" for one in found]
        super().__init__(
            "several instances are running; name one with --instance ID or --config FILE:\n"
            + "\n".join(lines)
        )
        self.found = found


def write_instance(instance: Instance) -> None:
    """Write ``instance.json`` whole into its folder (mode 0600): for the supervisor."""
    path = instance.path / INSTANCE_FILE
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(instance), file, indent=1)
    fresh.replace(path)


def read_instance(folder: Path) -> Instance | None:
    """The live instance of ``folder``; None when it is dead, or not an instance's folder."""
    lock = folder / OWNER_LOCK
    if probe(lock) is None:
        return None
    try:
        raw = json.loads((folder / INSTANCE_FILE).read_text(encoding="utf-8"))
        known = {one.name: raw[one.name] for one in fields(Instance)}
    except (OSError, ValueError, KeyError, TypeError):
        # It is starting and has not written the file yet.
        return None
    known["folder"] = str(folder)
    known["socket"] = str(folder / CONTROL_SOCKET)
    return Instance(**known)


def find_instances() -> list[Instance]:
    """Every running instance of this user."""
    return [one for one in map(read_instance, known_folders()) if one is not None]


def find_instance(instance_id: str | None = None, config: Path | None = None) -> Instance:
    """The instance that is named, or the only one that runs.

    Raises ``NoInstance`` when none fits, ``SeveralInstances`` when more than one does,
    ``corec.config.ConfigError`` when ``config`` cannot be read.
    """
    if config is not None:
        loaded = load_config(config)
        folder = instance_folder(loaded)
        found = [one for one in [read_instance(folder.resolve())] if one is not None]
        wanted = f"no instance of {config} is running (looked in {folder})"
        if instance_id is not None and instance_id != loaded.instance_id:
            raise NoInstance(f"{config} is the configuration of {loaded.instance_id!r}")
    else:
        running = find_instances()
        found = [one for one in running if instance_id in (None, one.instance_id)]
        names = ", ".join(sorted({one.instance_id for one in running})) or "none"
        wanted = "no instance is running"
        if instance_id is not None:
            wanted = f"no instance {instance_id!r} is running (running: {names})"
    if not found:
        raise NoInstance(f"{wanted}; start one with: corec run")
    if len(found) > 1:
        raise SeveralInstances(found)
    return found[0]
