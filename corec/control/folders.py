"""Where an instance keeps its socket and its shared memory, and how others find it.

::

    /dev/shm/corec-<uid>/                     base folder, 0700 (COREC_RUNTIME_BASE overrides it)
        <instance_id>-<8 hex of state_dir>/   an instance's folder
            instance.json                     what ``corec-ctl`` needs to know (written whole)
            owner.lock                        held (flock) by the live supervisor
            control.sock                      the control socket
            persister.json                    what the persister found at its server
        registry/<name>                       symlink to a folder in a configured runtime_dir
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from corec.config import Config, Fault
from corec.private import NotPrivate, check_private, make_private, name_of, refuse_planted

BASE_VARIABLE = "COREC_RUNTIME_BASE"
REGISTRY = "registry"
INSTANCE_FILE = "instance.json"
OWNER_LOCK = "owner.lock"
CONTROL_SOCKET = "control.sock"
PERSISTER_FILE = "persister.json"
BROKER_FILE = "broker.json"
CONTROL_FILE = "control.seg"


def base_folder() -> Path:
    """The folder of this user's instances; it may not exist yet."""
    override = os.environ.get(BASE_VARIABLE)
    return Path(override).absolute() if override else Path(f"/dev/shm/corec-{os.getuid()}")


def real(path: Path) -> Path:
    """``path`` without symbolic links; as ``Path.resolve``, which raises for those in a circle."""
    return Path(os.path.realpath(path))


def instance_folder(config: Config) -> Path:
    """Where the instance of ``config`` keeps its shared memory (not made here)."""
    if config.runtime_path is not None:
        return config.runtime_path / config.instance_id
    state = os.fsencode(real(config.state_path))
    key = hashlib.blake2b(state, digest_size=4).hexdigest()
    return base_folder() / f"{config.instance_id}-{key}"


def not_text(config: Config) -> Fault | None:
    """A folder of the instance whose path is no UTF-8: its servers, its file and its answers carry
    the path as text."""
    for key, folder in (
        ("state_dir", config.state_folder),
        ("runtime_dir", instance_folder(config)),
    ):
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            return Fault(key, f"a path that is not UTF-8, {str(folder)!a}", "one that is")
    return None


def no_folder(config: Config) -> Iterator[Fault]:
    """Paths of the configuration that no user can use, since something on the way, or in the place
    of a file, is what it can't be. Whoever checks need not be who runs: rights are not asked for.
    """
    log = config.log_path
    folders = {
        "state_dir": config.state_folder,
        "runtime_dir": instance_folder(config),
        "log.file": None if log is None else log.parent,
    }
    for key, folder in folders.items():
        place = None if folder is None else real(folder)
        while place is not None and not os.path.lexists(place):
            place = place.parent
        if place is not None and not place.is_dir():
            what = "a link that leads to itself" if place.is_symlink() else "which is no folder"
            yield Fault(key, f"{place}, {what}, on the way", "a path through folders")
    if log is not None and log.is_dir():
        yield Fault("log.file", f"{log}, which is a folder", "a file")


def refusal(config: Config) -> str | None:
    """Why the instance's folders can't be used, in one line; None when they can. Light: for the
    first moment of a start, which makes them later."""
    if (odd := not_text(config)) is not None:
        return str(odd)
    base = [base_folder()] if config.runtime_path is None else []
    for key, folder in (
        *(("runtime_dir", one) for one in (*base, instance_folder(config))),
        ("state_dir", config.state_folder),
    ):
        try:
            refuse_planted(folder)
        except OSError as error:
            return unusable(key, error)
    return None


def unusable(key: str, error: OSError) -> str:
    """Why the folder of the configuration's ``key`` can't be used, and what to do, in one line."""
    if isinstance(error, NotPrivate) or error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{key}: {error}"
    return (
        f"{key}: {error.filename}: {error.strerror} to {name_of(os.geteuid())}, expected a folder "
        f"that can be made and written: name another ({key} in the configuration), or run a "
        "project of your own (corec new)"
    )


def _link_of(folder: Path) -> Path:
    key = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    return base_folder() / REGISTRY / f"{folder.name}-{key}"


def register(folder: Path) -> None:
    """Let ``corec-ctl`` find an instance whose folder is not in the base folder.

    Called by the supervisor once ``folder`` exists; does nothing for a folder in the base folder.
    """
    folder = real(folder)
    if folder.parent == real(base_folder()):
        return
    link = _link_of(folder)
    make_private(make_private(base_folder()) / REGISTRY)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder)
    fresh.replace(link)


def unregister(folder: Path) -> None:
    """Undo ``register``, and remove the base folder when nothing is left in it."""
    _link_of(real(folder)).unlink(missing_ok=True)
    for empty in (base_folder() / REGISTRY, base_folder()):
        with contextlib.suppress(OSError):  # not empty, or not there
            empty.rmdir()


def known_folders() -> list[Path]:
    """Every folder that may be an instance's, alive or not, in a stable order.

    Raises NotPrivate when another user could have put them there.
    """
    base = base_folder()
    try:
        check_private(base)
        if BASE_VARIABLE not in os.environ and base.stat().st_uid != os.getuid():
            raise NotPrivate(f"{base}: belongs to {name_of(base.stat().st_uid)}; remove it")
    except FileNotFoundError:
        return []
    found = {real(path) for path in base.glob("*") if path.is_dir() and path.name != REGISTRY}
    found |= {real(path) for path in (base / REGISTRY).glob("*") if path.is_dir()}
    return sorted(found)
