"""PostgreSQL's database files, made once: as ``pgdata.new``, renamed when complete.

A kill leaves ``pgdata.new``, which the next `begin` removes. initdb syncs what it made before it
ends, and the rename is synced here, so the name says that the files are whole.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from corec.durable import sync_folder
from corec.embedded.child import Child
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import Home, User
from corec.embedded.providers import Postgres

_WAIT_S = 120.0
_BUILTIN_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
"""From PostgreSQL 17 on; before, upper and lower know ASCII only."""
_STOP_STEPS = ((signal.SIGTERM, 5.0),)


class Initdb:
    """One run of initdb for ``home``, as ``user``, whose role is ``role``."""

    def __init__(self, home: Home, user: User, role: str, postgres: Postgres) -> None:
        """Start that of ``postgres``, and do not wait. Raises EmbeddedServerError."""
        self._home = home
        self._deadline = time.monotonic() + _WAIT_S
        self._fresh = home.path / "pgdata.new"
        self._pgdata = home.path / "pgdata"
        self._clear()
        self._fresh.mkdir(mode=0o700)
        if user.uid != os.geteuid():
            os.chown(self._fresh, user.uid, user.gid)
        self._child = Child(
            [
                *(str(postgres.program("initdb")), "-D", str(self._fresh), "-U", role),
                *("--auth=peer", "--encoding=UTF8", "--locale=C", "--no-instructions"),
                *(_BUILTIN_LOCALE if postgres.major >= 17 else ()),
            ],
            log=home.path / "postgres.log",
            cwd=home.path,
            death_signal=signal.SIGTERM,
            user=user if user.uid != os.geteuid() else None,
            needs=(home.path, self._fresh, postgres.data_file),
        )

    def _clear(self) -> None:
        """Remove what an earlier run left unfinished."""
        if self._pgdata.exists() and not (self._pgdata / "PG_VERSION").exists():
            shutil.rmtree(self._pgdata)
        if self._fresh.exists():
            shutil.rmtree(self._fresh)

    @property
    def ended(self) -> bool:
        """Whether ``finish`` will not wait."""
        return self._child.exit_code is not None

    @property
    def late(self) -> bool:
        """Whether it takes too long; ``finish`` then ends it and says so."""
        return time.monotonic() > self._deadline

    def finish(self) -> Path:
        """Wait for its end, and give the files their name, which is returned.

        Raises EmbeddedServerError when it failed, or takes too long.
        """
        ended = self._child.wait(max(0.0, self._deadline - time.monotonic()))
        self._child.stop(_STOP_STEPS)
        if not ended or self._child.exit_code != 0:
            raise EmbeddedServerError(
                f"PostgreSQL's initdb failed in {self._home.path}{self._child.log_tail()}"
            )
        self._fresh.rename(self._pgdata)
        sync_folder(self._home.path)
        return self._pgdata

    def give_up(self) -> None:
        """Stop it and remove what it made so far. Raises EmbeddedServerError."""
        self._child.stop(_STOP_STEPS)
        shutil.rmtree(self._fresh, ignore_errors=True)
