"""Commands of the tests, forked from a process that has imported already (``fork_server``).

``start`` and ``run`` do what ``subprocess.Popen`` and ``subprocess.run`` do for ``python -m corec``
and ``python -m corec.control.ctl``. Without its imports a start costs a fifth of a second of CPU
instead of one and a half, a ``corec-ctl`` a twentieth instead of a third, and the suite has many
hundreds of both.

Who asks for anything that a fork can't have gets an interpreter of its own: another module, an
environment that differs from this process's in other variables than those of ``_READ_LATE`` (they
are read when they are needed, not while something is imported). So does every test that is about
the start itself; those say so (``Instance.fresh_interpreter``), or call ``subprocess`` themselves,
as those of the command line (``tests/control/test_ctl.py``, ``test_anywhere.py``,
``tests/e2e/test_command_line.py``, ``test_life.py``, ``tests/docs/test_blocks.py``) do for every
kind of command.

One server a module and a process of pytest; it ends with that process. A server that dies fails
the test that asks it, by name; the next one that asks gets another.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import corec  # noqa: F401  # it chooses the cache, which is part of the environment
from tests.support.fork_server import REQUEST_BYTES_MAX, ROOM_BYTES, ROOM_VARIABLE
from tests.support.processes import patient, umask_now

REPO: Final = Path(__file__).resolve().parents[2]
TAKEN_OUT: Final = ("COREC_", "POSTGRES_", "REDIS_", "PG", "CREDENTIALS_DIRECTORY")
"""What of this process's environment no instance of the tests is given."""
_READ_LATE: Final = (
    "COREC_HOME", "COREC_RUNTIME_BASE", "COREC_DB_URL", "COREC_REDIS_URL", "COREC_CRASH",
    "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE",
    "CREDENTIALS_DIRECTORY", "PYTEST_CURRENT_TEST",
)  # fmt: skip
_MODULES: Final = ("corec", "corec.control.ctl")
_START_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 60.0


def plain_environment() -> dict[str, str]:
    """What instances of the tests are given of this process's environment, and their checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(TAKEN_OUT)}
    return kept | {"PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}


_ORDINARY: Final = plain_environment()  # before any test could change it


def _told_apart(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _READ_LATE}


class Server:
    """One fork server, as its user sees it."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", module],
                cwd=REPO, env=_told_apart(_ORDINARY) | {ROOM_VARIABLE: "x" * ROOM_BYTES},
                stdin=its.fileno(), stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._mine.settimeout(_START_SECONDS)
        assert self._mine.recv(REQUEST_BYTES_MAX), f"no fork server for {module}: its stderr says"

    @property
    def descriptor(self) -> int:
        """The socket's, open as long as this process lives."""
        return self._mine.fileno()

    def close(self) -> None:
        """It ends; what it has forked goes on."""
        self._mine.close()
        self.process.wait(_ANSWER_SECONDS)

    def _ends(self) -> None:
        """It has closed its sockets: a moment later it is gone, and ``_server`` makes another."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)

    def ask(self, request: bytes, streams: Sequence[int]) -> tuple[int, socket.socket]:
        """A new process: its number, and the socket that tells how it ends."""
        answers, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            passed = array.array("i", [*streams, its.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
            try:
                self._mine.sendmsg([request], rights)
            except OSError as error:
                answers.close()
                self._ends()
                raise AssertionError(f"the fork server for {self.module} is gone") from error
        try:
            answers.settimeout(_ANSWER_SECONDS)
            told = json.loads(answers.recv(REQUEST_BYTES_MAX) or "{}")
        except BaseException:
            answers.close()  # a child that comes after all finds nobody to tell, and ends
            raise
        if "pid" not in told:
            answers.close()
            if not told:
                self._ends()
            raise AssertionError(
                f"no process of the fork server for {self.module}: {told}, {self.process.poll()}"
            )
        return int(told["pid"]), answers


_servers: dict[str, Server] = {}
_starting = threading.Lock()


def _server(module: str) -> Server:
    with _starting:
        if module in _servers and _servers[module].process.poll() is not None:
            gone = _servers.pop(module)
            atexit.unregister(gone.close)
            gone.close()
        if module not in _servers:
            _servers[module] = Server(module)
            atexit.register(_servers[module].close)
        return _servers[module]


def own_processes() -> set[int]:
    """The fork servers: no test's leak."""
    return {server.process.pid for server in _servers.values()}


def own_descriptors() -> set[str]:
    """What is open for them here: no test's leak."""
    return {str(server.descriptor) for server in _servers.values()}


class Forked:
    """A process of a fork server, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, arguments: Sequence[str], pid: int, answers: socket.socket) -> None:
        self.args, self.pid, self._answers = list(arguments), pid, answers
        self.returncode: int | None = None
        self._asking = threading.Lock()

    def _await(self, seconds: float | None) -> int | None:
        with self._asking:
            if self.returncode is None:
                self._answers.settimeout(seconds)
                try:
                    text = self._answers.recv(REQUEST_BYTES_MAX)
                except (TimeoutError, BlockingIOError):
                    return None
                self._answers.close()
                assert text, f"nobody knows how process {self.pid} ended: its fork server is gone"
                self.returncode = int(json.loads(text)["code"])
            return self.returncode

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._await(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        code = self._await(None if timeout is None else patient(timeout))
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it ended meanwhile

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Forked


def start(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    fresh_interpreter: bool = False,
) -> Process:
    """``python -m MODULE ARGUMENTS``, not waited for; its standard input is empty."""
    words = [sys.executable, "-m", module, *arguments]
    request = json.dumps(
        {"module": module, "arguments": list(arguments), "cwd": str(cwd), "umask": umask_now(),
         "environment": dict(environment)}
    ).encode()  # fmt: skip
    if (
        fresh_interpreter
        or module not in _MODULES
        or _told_apart(environment) != _told_apart(_ORDINARY)
        or _length(environment) > _length(_ORDINARY) + ROOM_BYTES
        or len(request) > REQUEST_BYTES_MAX
    ):
        return subprocess.Popen(
            words, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=stderr,
        )  # fmt: skip
    with open(os.devnull, "rb") as empty:
        streams = [one if isinstance(one, int) else one.fileno() for one in (stdout, stderr)]
        return Forked(words, *_server(module).ask(request, [empty.fileno(), *streams]))


def _length(environment: Mapping[str, str]) -> int:
    """How much room it takes in a process."""
    return sum(len(os.fsencode(name + value)) + 2 for name, value in environment.items())


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(
    module: str, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str],
    seconds: float, fresh_interpreter: bool = False,
) -> Done:  # fmt: skip
    """``start``, and its end with everything it said. Raises subprocess.TimeoutExpired."""
    deadline = time.monotonic() + patient(seconds)
    said: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    with selectors.DefaultSelector() as selector:
        ends = []
        for name in said:
            ours, its = os.pipe()
            selector.register(ours, selectors.EVENT_READ, name)
            ends.append(its)
        try:
            process = start(
                module, arguments, cwd=cwd, environment=environment, stdout=ends[0],
                stderr=ends[1], fresh_interpreter=fresh_interpreter,
            )  # fmt: skip
        finally:
            for its in ends:
                os.close(its)
        try:
            while selector.get_map():
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    more = os.read(key.fd, 65_536)
                    said[key.data] += more
                    if not more:
                        selector.unregister(key.fileobj)
                        os.close(key.fd)
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired(list(arguments), seconds)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            for key in list(selector.get_map().values()):
                os.close(key.fd)
    return Done(code, said["out"].decode(), said["err"].decode())
