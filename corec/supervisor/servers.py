"""PostgreSQL and Redis: the embedded ones started and kept alive, the configured ones reached.

An instance is not started without them (``start``). Once its world ticks, none of them ends it:
who does not come up is told and tried again, later each time (``go_on`` after an upgrade,
``keep_alive`` from then on), whatever the reason, a full disk or no memory included.

The clients' libraries are imported where they are used: the embedded servers are begun before.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from corec.config import Config
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.postgres import EmbeddedPostgres
from corec.embedded.valkey import EmbeddedValkey
from corec.embedded.waiting import LOOK_SECONDS, side_by_side, waited_for
from corec.exits import EXIT_ALIVE, EXIT_USAGE, StartFailed
from corec.libpq import shielded
from corec.log import get_logger, mask
from corec.supervisor.restarts import Restarts

if TYPE_CHECKING:  # servers are begun before anything heavy is loaded
    from corec.process.runtime import Owner

log = get_logger("corec.supervisor")

CONNECT_SECONDS = 5
GO_ON_SECONDS = 10.0


class ServerUnreachable(Exception):
    """A configured server doesn't answer; the text has host, port and reason, never a password."""


def reason_of(error: Exception) -> str:
    """``error`` in one line: an OSError without its number, with its file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def held_elsewhere(instance_id: str, where: str, holder: str) -> StartFailed:
    """Another live instance writes under this instance_id."""
    return StartFailed(
        EXIT_ALIVE,
        f"instance {instance_id!r} is held on {where} by another live instance ({holder}); stop "
        "that one, choose another instance_id, or take over with --take-over: it stops then",
    )


class Servers:
    """The two servers of one instance. ``embedded`` ones are children of this process."""

    def __init__(self, config: Config, socket_dir: Path, progress: Callable[[str], None]) -> None:
        self.config = config
        data = self._data = config.state_folder
        self._made = [path for path in (data, *data.parents) if not path.exists()]
        self._served = False
        self.owner: Owner | None = None
        """Who holds the servers' leases; set before ``reach``."""
        self.take_over = False
        """Whether a lease of another live instance is taken from it."""
        self._wanted = True
        self._reached = -math.inf
        self._reviving: dict[str, Generator[None, None, None]] = {}
        self._due: dict[str, float] = {}
        self._deaths = {name: Restarts() for name in ("postgres", "valkey")}
        self.postgres: EmbeddedPostgres | None = None
        self.valkey: EmbeddedValkey | None = None
        if config.db.embedded:
            self.postgres = EmbeddedPostgres(
                data / "postgres", socket_dir / "pg", port=config.db.own_port, progress=progress
            )
        if config.redis.embedded:
            self.valkey = EmbeddedValkey(
                data / "valkey", socket_dir / "redis", port=config.redis.own_port, progress=progress
            )

    def discard(self) -> None:
        """Stop; and where nobody was served, remove the folders if this start has made them."""
        self.stop()
        if self._served or self._data not in self._made:
            return
        shutil.rmtree(self._data, ignore_errors=True)
        with contextlib.suppress(OSError):
            for path in self._made[1:]:
                path.rmdir()

    def begin(self) -> None:
        """Start the embedded ones and do not wait for them. Raises EmbeddedServerError."""
        if self.postgres is not None:
            self.postgres.begin()
        if self.valkey is not None:
            self.valkey.begin()

    def advance(self) -> None:
        """Go on with what has been begun, without waiting. Raises EmbeddedServerError."""
        if self.postgres is not None:
            self.postgres.advance()

    def reach(self) -> None:
        """Reach those configured, see whether they are fit, and claim or renew their leases.

        Raises:
            ServerUnreachable: one can't be reached. StartFailed: it is unfit, or another live
            instance holds this instance_id there.
        """
        if self.postgres is None:
            self._reach_postgres()
        if self.valkey is None:
            self._reach_redis()
        self._reached = time.monotonic()

    def start(self) -> None:
        """Reach those configured, if that was not a moment ago, and wait until the embedded ones
        take connections.

        Raises:
            ServerUnreachable, StartFailed: as ``reach``.
            EmbeddedServerError: an embedded one does not come up.
        """
        from corec.process.runtime import RENEW_SECONDS

        if time.monotonic() - self._reached > RENEW_SECONDS:
            self.reach()
        if self.postgres is not None:
            self.postgres.start()
        if self.valkey is not None:
            self.valkey.start()
        self._served = True

    def go_on(self) -> None:
        """``start``, while the processes of the code before tick on: nothing that fails ends them.

        Embedded ones are waited for ``GO_ON_SECONDS`` at most and then left to ``keep_alive``.
        Those configured are reached by the processes that need them.
        """
        if self.postgres is None:
            self._told(self._reach_postgres)
        if self.valkey is None:
            self._told(self._reach_redis)
        deadline = time.monotonic() + GO_ON_SECONDS
        for name, server in self._both():
            self._reviving[name], self._due[name] = self._bring_back(server), deadline
        while self._reviving and time.monotonic() < deadline:
            self._told(self.keep_alive)
            time.sleep(LOOK_SECONDS)
        if self._reviving:
            log.warning("not up yet; the world goes on", servers=sorted(self._reviving))
        self._served = True

    def _told(self, what: Callable[[], object]) -> None:
        try:
            what()
        except (ServerUnreachable, StartFailed, EmbeddedServerError) as error:
            log.error("a server is not there, and is tried again; the world goes on",
                      reason=str(error))  # fmt: skip

    @property
    def db_conninfo(self) -> str:
        """For libpq; may hold the password."""
        return self.postgres.address if self.postgres else self.config.db.conninfo()

    @property
    def redis_url(self) -> str:
        """For redis-py; may hold the password."""
        return self.valkey.address if self.valkey else self.config.redis.connection_url()

    @property
    def db_shown(self) -> str:
        """Without password."""
        return self.postgres.address if self.postgres else self.config.db.shown()

    @property
    def redis_shown(self) -> str:
        """Without password."""
        return self.valkey.shown if self.valkey else self.config.redis.shown()

    @property
    def redis_password_file(self) -> str | None:
        """Where the embedded Valkey's password lies, if it asks for one."""
        path = self.valkey.password_file if self.valkey else None
        return str(path) if path else None

    def _reach_postgres(self) -> None:
        import psycopg

        from corec.persister.owner import HeldElsewhere, claim
        from corec.persister.preflight import unfit

        where, instance_id = f"PostgreSQL at {self.config.db.shown()}", self.config.instance_id
        try:
            with shielded(embedded=False):
                opened = psycopg.connect(
                    self.config.db.conninfo(), connect_timeout=CONNECT_SECONDS,
                    client_encoding="UTF8",
                )  # fmt: skip
            with opened as connection:
                reason = unfit(connection)
                if reason is None and self.owner is not None:
                    claim(connection, instance_id, self.owner, take_over=self.take_over)
        except HeldElsewhere as error:
            raise held_elsewhere(instance_id, where, str(error)) from None
        except psycopg.Error as error:
            reason = mask(" ".join(str(error).split()))
            raise ServerUnreachable(f"{where} can't be reached: {reason}") from None
        if reason is not None:
            raise StartFailed(EXIT_USAGE, f"{where} can't be used: {reason}")

    def _reach_redis(self) -> None:
        from corec.broker import entry, owner

        redis, instance_id = self.config.redis, self.config.instance_id
        try:
            entry.enter(
                redis.connection_url(), instance_id, cluster=redis.cluster,
                owner=self.owner, take_over=self.take_over,
            )  # fmt: skip
        except entry.SinkAway as error:
            reason = mask(" ".join(str(error).split()))
            raise ServerUnreachable(
                f"Redis at {redis.shown()} can't be reached: {reason}"
            ) from None
        except entry.Unfit as error:
            raise StartFailed(EXIT_USAGE, f"Redis at {redis.shown()}: {error}") from None
        except owner.HeldElsewhere as error:
            raise held_elsewhere(instance_id, f"Redis at {redis.shown()}", str(error)) from None

    def _both(self) -> list[tuple[str, EmbeddedPostgres | EmbeddedValkey]]:
        found: list[tuple[str, EmbeddedPostgres | EmbeddedValkey]] = []
        if self.postgres is not None:
            found.append(("postgres", self.postgres))
        if self.valkey is not None:
            found.append(("valkey", self.valkey))
        return found

    def keep_alive(self) -> list[str]:
        """One look, and one step of bringing back what died; never waits for a server.

        Returns the names of those that take connections again. Raises EmbeddedServerError when
        one did not come up: it is tried again, later each time.
        """
        revived: list[str] = []
        now = time.monotonic()
        for name, server in self._both() if self._wanted else ():
            steps = self._reviving.get(name)
            if steps is None:
                if server.alive():
                    continue
                due = self._due.get(name)
                if due is None:  # it has just died
                    due = self._due[name] = self._deaths[name].died(now)
                if now < due:
                    continue
                steps = self._reviving[name] = self._bring_back(server)
            try:
                next(steps)
            except StopIteration:
                self._settled(name)
                revived.append(name)
            except Exception:
                self._settled(name)
                raise
        return revived

    def _bring_back(self, server: EmbeddedPostgres | EmbeddedValkey) -> Generator[None, None, None]:
        """Raises EmbeddedServerError, whatever it was: the next try is due then."""
        try:
            yield from server.starting()
        except Exception as error:
            yield from server.stopping()
            if isinstance(error, EmbeddedServerError):
                raise
            named = f"{server.log_path.parent}: {reason_of(error)}"
            raise EmbeddedServerError(f"cannot use {named}") from error

    def _settled(self, name: str) -> None:
        del self._reviving[name], self._due[name]
        self._deaths[name].start(time.monotonic())

    def forgive(self) -> None:
        """Something has changed: what waits for its next try is tried now."""
        for name in self._due:
            self._due[name] = self._deaths[name].started
            self._deaths[name].forgive(self._deaths[name].started)

    @property
    def reviving(self) -> bool:
        """Whether one is being brought back: there is a step to take soon."""
        return bool(self._reviving)

    def stopping(self) -> Iterator[None]:
        """Stop the embedded servers; yields until they have. Raises EmbeddedServerError."""
        self._wanted = False
        self._forget()
        yield from side_by_side(*(server.stopping() for _name, server in self._both()))

    def keep(self) -> None:
        """They are wanted after all: ``keep_alive`` starts them again."""
        self._wanted = True

    def stop(self) -> None:
        """``stopping``, waited for."""
        waited_for(self.stopping())

    def _forget(self) -> None:
        for steps in self._reviving.values():
            steps.close()
        self._reviving.clear()
        self._due.clear()
