"""Finding running instances: whose owner lock is held is alive, whatever else lies about."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from urllib.parse import quote

from corec.config import load_config
from corec.control.folders import (
    CONTROL_FILE,
    CONTROL_SOCKET,
    INSTANCE_FILE,
    OWNER_LOCK,
    instance_folder,
    known_folders,
    real,
)
from corec.control.protocol import ControlError
from corec.embedded.tcp import read_password
from corec.private import NotPrivate, check_private, private_file
from corec.proc import expects_signal
from corec.version import __version__
from shm.owner import holds, probe

FILE_BYTES_MAX = 65_536


@dataclass(frozen=True)
class Instance:
    """What ``instance.json`` says. URLs carry no password; those of the servers are empty while it
    starts."""

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
    redis_password_file: str | None = None

    @property
    def path(self) -> Path:
        """``folder`` as a path."""
        return Path(self.folder)


class NoInstance(LookupError):
    """Nothing that runs fits what was asked for (exit code 3)."""


class Starting(NoInstance):
    """It is there, and where its servers are is not known yet."""

    def __init__(self, instance: Instance) -> None:
        super().__init__(
            f"instance {instance.instance_id!r} is starting (pid {instance.pid}) and has no "
            "servers yet; ask again when corec-ctl status says running"
        )


class SeveralInstances(LookupError):
    """More than one instance fits, and none was named (exit code 2)."""

    def __init__(self, found: list[Instance], text: str | None = None) -> None:
        lines = [f"  {one.instance_id}  pid {one.pid}  {one.folder}" for one in found]
        told = "several instances are running; name one with --instance ID or --config FILE:\n"
        super().__init__(text or told + "\n".join(lines))
        self.found = found


def write_instance(instance: Instance) -> None:
    """Write ``instance.json`` whole into its folder (mode 0600): for the supervisor.

    Raises OSError; the file is as it was then.
    """
    path = instance.path / INSTANCE_FILE
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(instance), file, indent=1)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def read_instance(folder: Path) -> Instance | None:
    """The live instance of ``folder``; None when it is dead, or not an instance's folder.

    What it says is believed when nobody but the folder's owner can have written it and the process
    that it names is that user's and has the lock file open.

    Raises NotPrivate when another user could have put it there.
    """
    lock = folder / OWNER_LOCK
    try:
        check_private(folder)
        if probe(lock) is None:
            return None
        owner = folder.stat().st_uid
        with os.fdopen(private_file(folder / INSTANCE_FILE, owner), "rb") as file:
            raw = json.loads(file.read(FILE_BYTES_MAX))
        known = {one.name: raw[one.name] for one in fields(Instance) if one.default is MISSING}
        known["redis_password_file"] = raw.get("redis_password_file")
    except NotPrivate:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # It is starting and has not written the file yet.
        return None
    known["folder"] = str(folder)
    known["socket"] = str(folder / CONTROL_SOCKET)
    found = Instance(**known)
    return found if is_supervisor(found) else None


def redis_address(instance: Instance) -> str:
    """``redis_url`` with the password of the embedded Valkey where it asks for one: for a client,
    never to be shown. Raises Starting, and OSError when the password's file can't be read."""
    if not instance.redis_url:
        raise Starting(instance)
    if instance.redis_password_file is None:
        return instance.redis_url
    owner = instance.path.stat().st_uid
    password = quote(read_password(Path(instance.redis_password_file), owner), safe="")
    return instance.redis_url.replace("://", f"://:{password}@", 1)


def is_supervisor(instance: Instance) -> bool:
    """Whether the process ``instance.pid`` is its folder's owner's and has the lock file open."""
    try:
        pid = int(instance.pid)
        owner = instance.path.stat().st_uid
        return (
            pid > 0
            and os.stat(f"/proc/{pid}").st_uid == owner
            and holds(pid, instance.path / OWNER_LOCK)
        )
    except (OSError, ValueError, TypeError):
        return False


def signal_supervisor(instance: Instance, number: int) -> None:
    """Send a signal to the instance's supervisor, and to no other process.

    Raises ProcessLookupError when it is gone, OSError as the system says, ControlError when it is
    of a version that does not know the signal.
    """
    descriptor = os.pidfd_open(instance.pid)  # the number may be another process's from now on
    try:
        if not is_supervisor(instance):
            raise ProcessLookupError(f"process {instance.pid} is not the instance's supervisor")
        if not expects_signal(instance.pid, number):
            text = f"found an instance of version {instance.version}, which does not know of this; "
            raise ControlError(
                f"{text}expected this one, {__version__}: stop it and start it"
            )
        signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def _seen(folder: Path) -> Instance | None:
    """``read_instance`` for a look around: what is not to be trusted is not there."""
    try:
        return read_instance(folder)
    except NotPrivate:
        return None


def find_instances() -> list[Instance]:
    """Every running instance of this user. Raises NotPrivate when another user could change the
    base folder."""
    return [one for one in map(_seen, known_folders()) if one is not None]


def find_instance(instance_id: str | None = None, config: Path | None = None) -> Instance:
    """The instance that is named, or the only one that runs.

    Raises ``NoInstance`` when none fits, ``SeveralInstances`` when more than one does,
    ``corec.config.ConfigError`` when ``config`` cannot be read, NotPrivate when another user could
    have put there what was found.
    """
    if config is not None:
        loaded = load_config(config)
        folder = instance_folder(loaded)
        found = [one for one in [read_instance(real(folder))] if one is not None]
        left = (folder / CONTROL_FILE).exists()  # of one that was killed, or could not save it
        there = ", where its world is in memory: the next start goes on with it" if left else ""
        wanted = f"no instance of {config} is running (looked in {folder}{there})"
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
