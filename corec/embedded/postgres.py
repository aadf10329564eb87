"""A real PostgreSQL as a child process, with no set-up, no password, and no port unless asked for.

```
data_dir/            ours (0700, also where the server runs as another user: launch.py)
  owner.lock         home.Home: who may run a server here
  postgres.log       the server's own log
  postgresql.conf  pg_hba.conf  pg_ident.conf     written anew at each start; custom.conf: yours
  password           made when a port is given: for clients that come through it
  pgdata/            the server's (0700); made as pgdata.new and renamed when complete
socket_dir/pg/       the server's socket
```

Who may log in is decided by the kernel: the socket tells the server which user called (`peer`),
and only we are mapped to the role `corec`. So no password exists that a process title, an
environment or a log could show, and two instances cannot collide on a port. Who asks for a port
(clients that know no Unix sockets) gets one of 127.0.0.1, for that role and a password (`tcp`).

What a kill leaves: the server is told SIGQUIT by the kernel when its parent ends (at once, no
checkpoint: a supervisor killed at full load has no orphan two seconds later), and replays its log
at the next start. A killed initdb leaves `pgdata.new`, which the next start removes. A stale
postmaster.pid is the server's own affair, save what pidfile.py does.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from corec.embedded import pidfile, tcp
from corec.embedded.child import Child
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import (
    Home,
    User,
    make_dir,
    socket_dir,
    socket_path,
    user_of,
    write_file,
)
from corec.embedded.initdb import Initdb
from corec.embedded.providers import postgres_for
from corec.embedded.server import EmbeddedServer
from corec.embedded.users import hand_over, server_user
from corec.embedded.waiting import waited_for
from corec.libpq import shielded

ROLE = DATABASE = "corec"
_USUAL_PORT = 5432
SOCKETS = "pg"  # the folder of its socket, which is the server's user's
_SETTINGS = """\
unix_socket_permissions = 0700
max_connections = 40
max_locks_per_transaction = 256    # a question about a month of hours takes thousands
superuser_reserved_connections = 3
shared_buffers = 64MB
wal_buffers = 16MB                 # a transaction of rows is written behind, not waited for
maintenance_work_mem = 64MB
dynamic_shared_memory_type = mmap  # nothing in /dev/shm that a kill could leave there
huge_pages = off
wal_level = minimal
max_wal_senders = 0
max_logical_replication_workers = 0
max_wal_size = 4GB
checkpoint_timeout = 5min
wal_compression = on
fsync = on
synchronous_commit = on
jit = off
autovacuum = on
autovacuum_max_workers = 2
max_worker_processes = 4
max_parallel_workers = 2
password_encryption = scram-sha-256
log_destination = stderr
logging_collector = off
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_timezone = 'UTC'
timezone = 'UTC'
"""
_SETTINGS_SINCE = {18: "io_method = sync                   # no three idle I/O processes\n"}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL (``providers`` says whose) as a child of this process.

    `data_dir` and `socket_dir` are made when missing. `port` None: nothing listens on a network,
    and the socket has the usual number. As root, which PostgreSQL refuses, the server runs as
    another user (`users`).

    `start` waits until it takes connections. Who has other things to do meanwhile calls `begin`
    before them, `advance` now and then, and `start` in the end; or takes the steps of `starting`
    and `stopping` when it suits.

    All methods raise EmbeddedServerError. Start it from a thread that lives as long as the server.
    """

    _death = signal.SIGQUIT

    _making: Initdb | None = None  # while it runs
    _made = False  # the database files are new
    _ensured = False  # the database is there, as far as we know
    _sockets: Path | None = None

    @property
    def _port(self) -> int:
        return _USUAL_PORT if self._wanted_port is None else self._wanted_port

    @property
    def dsn(self) -> str:
        """Connection address for libpq; holds no secret. Valid once started, until stopped."""
        if self._sockets is None:
            raise EmbeddedServerError("PostgreSQL has not been started")
        return self._dsn_of(DATABASE, self._sockets)

    @property
    def address(self) -> str:
        """`dsn`, whether it runs or not: the same at every start."""
        place = socket_path(self._data_dir, self._wanted_socket_dir, self._longest_socket)
        return self._dsn_of(DATABASE, place / SOCKETS)

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._data_dir / "postgres.log"

    def advance(self) -> None:
        """Start the server if the initdb that was begun has ended meanwhile."""
        if self._making is not None and self._making.ended:
            with self._whole():
                self._end_initdb()

    def starting(self) -> Iterator[None]:
        """Make the database on first use, start the server; yields until it takes connections.

        When it fails, the server is left to ``stopping``.
        """
        if self._ready and self.alive():
            return
        yield from self._beginning()
        if self._making is not None:
            while not self._making.ended and not self._making.late:
                yield
            self._end_initdb()
        pid_file = self._data_dir.resolve() / "pgdata" / "postmaster.pid"
        yield from self._until(
            lambda child: pidfile.is_ready(pid_file, child.pid),
            "PostgreSQL", "took no connection", "recovering its last state",
        )  # fmt: skip
        if not self._ensured:
            self._ensure_database()
        self._ready = self._served = self._ensured = True

    def stopping(self, fast: bool = True) -> Iterator[None]:
        """Stop and clean up; yields until it is done. `fast` ends open sessions; else it waits
        20 s for them to end."""
        self._ensured = False
        if self._home is None:
            return
        if self._making is not None:
            making, self._making = self._making, None
            making.give_up()
        gentle = () if fast else ((signal.SIGTERM, 20.0),)
        yield from self._ending((*gentle, (signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0)))
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
        self._let_go()

    def restart(self, immediate: bool = False) -> None:
        """Stop and start again. `immediate` skips the checkpoint, as a crash would."""
        self._ensured = False
        if immediate:
            waited_for(self._ending(((signal.SIGQUIT, 10.0),)))
        else:
            waited_for(self._ending(((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))))
        self.start()

    def _cleaning(self, home: Home) -> Iterator[None]:
        return pidfile.removing_segment(home.path / "pgdata" / "postmaster.pid")

    def _beginning(self) -> Iterator[None]:
        if self._making is not None or self.alive():
            return
        home = self._take_home()
        pgdata = home.path / "pgdata"
        user = server_user(pgdata)
        home.server_uid = user.uid
        yield from home.ending_leftovers(self._death)
        if (pgdata / "PG_VERSION").exists():
            self._start_server(home, pgdata, hand_over(pgdata, user))
        else:
            self._progress("creating the PostgreSQL database files")
            self._making = Initdb(home, user, ROLE, postgres_for())

    def _start_server(self, home: Home, pgdata: Path, user: User) -> None:
        home.server_uid = user.uid
        postgres = postgres_for(pgdata)
        self._make_socket_dir(home, user)
        self._write_settings(home, postgres.major)
        pidfile.disarm(pgdata / "postmaster.pid")
        self._progress("starting PostgreSQL")
        assert self._sockets is not None  # made above
        self._child = Child(
            [
                str(postgres.program("postgres")),
                *("-D", str(pgdata)),
                *("-c", f"config_file={home.path / 'postgresql.conf'}"),
                *("-c", f"cluster_name={home.mark}"),
            ],
            log=home.path / "postgres.log",
            cwd=home.path,
            death_signal=self._death,
            user=user if user.uid != os.geteuid() else None,
            needs=(home.path, pgdata, self._sockets, postgres.data_file),
        )

    def _end_initdb(self) -> None:
        """The database files are complete, or soon will be: start the server on them."""
        home, making = self._home, self._making
        assert home is not None  # begun
        assert making is not None
        pgdata = making.finish()
        self._making = None
        self._made = True
        self._start_server(home, pgdata, hand_over(pgdata, server_user(pgdata)))

    def _make_socket_dir(self, home: Home, user: User) -> None:
        parent = socket_dir(self._wanted_socket_dir, home.mark, self._longest_socket)
        self._socket_parent = self._socket_parent or parent
        sockets = parent.path / SOCKETS
        if pidfile.in_use(sockets):
            raise EmbeddedServerError(
                f"another PostgreSQL already listens in {sockets}: give this one another directory"
            )
        shutil.rmtree(sockets, ignore_errors=True)  # what a killed server left
        make_dir(sockets)
        if user.uid != os.geteuid():
            os.chown(sockets, user.uid, user.gid)
        self._sockets = sockets

    def _write_settings(self, home: Home, major: int) -> None:
        port = tcp.port_to_open(self._wanted_port, needed=not self._served, tell=self._progress)
        by_port = f"host {DATABASE} {ROLE} {tcp.HOST}/32 scram-sha-256\n" if port else ""
        files = {
            "pg_hba.conf": "local all all peer map=corec\n" + by_port,
            "pg_ident.conf": f'corec "{user_of(os.geteuid()).name}" {ROLE}\n',
            "postgresql.conf": _SETTINGS
            + "".join(text for since, text in _SETTINGS_SINCE.items() if major >= since)
            + f"port = {self._port}\n"
            + f"listen_addresses = '{tcp.HOST if port else ''}'\n"
            + f"unix_socket_directories = {_quoted(self._sockets)}\n"
            + f"hba_file = {_quoted(home.path / 'pg_hba.conf')}\n"
            + f"ident_file = {_quoted(home.path / 'pg_ident.conf')}\n"
            + f"include_if_exists = {_quoted(home.path / 'custom.conf')}\n",
        }
        for name, text in files.items():
            write_file(home.path / name, text)

    def _ensure_database(self) -> None:
        import psycopg  # a twentieth of a second that need not pass before `begin`

        try:
            assert self._sockets is not None  # it runs
            with shielded(embedded=True):
                address = self._dsn_of("template1", self._sockets)
                opened = psycopg.connect(address, autocommit=True)
            with opened as connection:
                found = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
                ).fetchone()
                if found is None and self._made:
                    # initdb made an empty one that nobody asked for: to rename it takes a
                    # millisecond, to make another a quarter of a second
                    connection.execute(f"ALTER DATABASE postgres RENAME TO {DATABASE}")
                    connection.execute(f"COMMENT ON DATABASE {DATABASE} IS NULL")
                elif found is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
                if self._wanted_port is not None:
                    self._set_password(connection)
            self._made = False
        except psycopg.Error as error:
            tail = self._child.log_tail() if self._child is not None else ""
            raise EmbeddedServerError(
                f"PostgreSQL started in {self._data_dir} but refused us: "
                f"{' '.join(str(error).split())}{tail}"
            ) from error

    def _set_password(self, connection: Any) -> None:
        """Let the role log in with the password of our file; the server sees its hash alone."""
        word = tcp.password_in(self._data_dir.resolve()).encode()
        secret = connection.pgconn.encrypt_password(word, ROLE.encode(), b"scram-sha-256").decode()
        connection.execute(f"ALTER ROLE {ROLE} PASSWORD '{secret}'")

    @property
    def _longest_socket(self) -> str:
        return f"{SOCKETS}/.s.PGSQL.{self._port}.lock"

    def _dsn_of(self, database: str, sockets: Path) -> str:
        host = quote(str(sockets), safe="")
        return f"postgresql://{ROLE}@/{database}?host={host}&port={self._port}"


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("\n", "\\n")
    return "'" + text.replace("'", "''") + "'"
