"""An instance from its lock on: ours, with its servers coming up, before the program is loaded.

As light as ``begin``, which makes it: no Numba, no client library, no kernel.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from corec.config import Config
from corec.control.discover import Instance, write_instance
from corec.control.folders import (
    CONTROL_SOCKET,
    INSTANCE_FILE,
    OWNER_LOCK,
    base_folder,
    instance_folder,
    register,
    unregister,
    unusable,
)
from corec.embedded.errors import EmbeddedServerError
from corec.exits import EXIT_ALIVE, EXIT_FAILED, EXIT_USAGE, StartFailed
from corec.log import get_logger
from corec.nucleus.loadable import check_loadable
from corec.plan import Plan, make_plan
from corec.private import make_private
from corec.supervisor.memory import file_limit_fault
from corec.supervisor.note import Notes
from corec.supervisor.servers import Servers
from corec.supervisor.upgrade import Inherited
from corec.version import __version__
from shm.owner import OwnerAlive, OwnerLock

log = get_logger("corec.supervisor")


class Begun:
    """An instance that is ours and whose servers are coming up; ``close`` undoes that."""

    def __init__(
        self, config: Config, notes: Notes, inherited: Inherited | None, config_path: Path | None
    ) -> None:
        """Raises ConfigError for a plan that can't be made, StartFailed when it runs already or an
        embedded server can't be begun; nothing is left then."""
        self.config, self.notes, self.inherited = config, notes, inherited
        self.lived = False  # its processes are started: what fails from now on is no start
        self.started_unix_ns = time.time_ns()
        check_loadable(config)
        self.plan: Plan = make_plan(config)
        if inherited is None and (fault := file_limit_fault(self.plan.world_bytes)):
            raise StartFailed(EXIT_USAGE, fault)
        self.folder = instance_folder(config)
        self.lock = OwnerLock(self.folder / OWNER_LOCK)
        self.servers = Servers(config, self.folder, notes.note)
        self.state = config.state_folder
        self.state_lock = OwnerLock(self.state / OWNER_LOCK)
        self._take_lock()
        try:
            if inherited is None:
                self.say(config_path)  # and not what the world that an older one left is
                self.servers.begin()
        except EmbeddedServerError as error:
            self.close()
            raise StartFailed(EXIT_FAILED, str(error)) from None
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> None:
        """Both folders are this start's alone: two that share one of them would be two worlds in
        one place, whatever else of them differs."""
        try:
            if self.config.runtime_path is None:
                make_private(base_folder())
            make_private(self.folder)
            self._take(self.lock, self.inherited.lock if self.inherited else None)
        except OSError as error:
            raise StartFailed(EXIT_USAGE, unusable("runtime_dir", error)) from None
        try:
            make_private(self.state)
            self._take(self.state_lock, self.inherited.state_lock if self.inherited else None)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise StartFailed(EXIT_USAGE, unusable("state_dir", error)) from None
            raise

    def _take(self, lock: OwnerLock, descriptor: int | None) -> None:
        if descriptor is not None:
            lock.take_over(descriptor)
            return
        try:
            lock.acquire()
        except OwnerAlive as error:
            raise StartFailed(
                EXIT_ALIVE,
                f"instance {self.config.instance_id!r} is running already, as pid {error.pid} "
                f"in {lock.path.parent}; stop it with corec-ctl stop, or choose another "
                "instance_id",
            ) from None

    def say(self, config_path: Path | None, http_url: str | None = None) -> None:
        """Who looks for this instance finds it; without ``http_url``, that it starts. After an
        upgrade it is found already, by what the code before has said: no room for it ends nothing.

        Raises OSError.
        """
        up, servers = http_url is not None, self.servers
        found = Instance(
            instance_id=self.config.instance_id,
            pid=os.getpid(),
            folder=str(self.folder),
            socket=str(self.folder / CONTROL_SOCKET),
            http_url=http_url,
            redis_url=servers.redis_shown if up else "",
            db=servers.db_shown if up else "",
            started_unix_ns=self.started_unix_ns,
            config_path=str(config_path.absolute()) if config_path else None,
            version=__version__,
            redis_password_file=servers.redis_password_file if up else None,
        )
        try:
            register(self.folder)
            write_instance(found)
        except OSError as error:
            if self.inherited is None:
                raise
            log.warning("what the code before has said of this instance stays",
                        file=INSTANCE_FILE, reason=error.strerror)  # fmt: skip

    def forget_in_child(self) -> None:
        """In a forked child: the locks are the supervisor's."""
        self.lock.close_in_child()
        self.state_lock.close_in_child()

    def close(self) -> None:
        """Stop the servers, give the lock back, remove the folder if it is empty. Harmless twice.

        A start that was refused before it served anybody leaves no server's data either.
        A world in the folder stays: it is the next start's to adopt.
        """
        if not self.lock.held:
            return
        with contextlib.suppress(OSError):  # it goes with this process, and the rest has to
            self.state_lock.release(unlink=True)
        with contextlib.suppress(EmbeddedServerError):
            self.servers.discard()
        (self.folder / INSTANCE_FILE).unlink(missing_ok=True)
        for name in ("pg", "redis"):
            with contextlib.suppress(OSError):
                (self.folder / name).rmdir()
        with contextlib.suppress(OSError):
            self.lock.release(unlink=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        unregister(self.folder)
