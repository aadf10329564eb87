"""``python -m tests.support.fork_server MODULE``: hands out processes that have imported already.

Most of what a command costs is importing, and loading compiled kernels: this process does both
once, in the state in which ``python -m MODULE`` does them (one thread, one BLAS thread, nothing
open), and then forks one child for each request. The child takes the request's arguments,
environment, folder, umask and standard streams, closes everything else and runs the module as
``__main__``: from there on it is what ``python -m MODULE ARGUMENTS`` is after its imports. It
unwinds to the top of this file first, so that the interpreter ends it as it ends any program.

What the kernel shows of a process is written over, too: tests find the processes of an instance by
``/proc/PID/environ``. Asked by ``tests.support.forked``, which says what is asked for here and what
gets an interpreter of its own.

The socket (standard input) carries one datagram a request: JSON, and four descriptors: standard
input, output, error, and the socket for the answers: ``{"pid": …}`` from the child when it is what
was asked for, ``{"code": …}`` from here when it has ended.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Any, Final

import setproctitle

ROOM_VARIABLE: Final = "ROOM_FOR_THE_ENVIRONMENT"
ROOM_BYTES: Final = 16_384
"""As long is that variable's value here: a child's environment and arguments take its place."""
REQUEST_BYTES_MAX: Final = 131_072
_IMPORTED: Final = {
    "corec": ("corec.cli.main", "corec.supervisor.begin", "corec.supervisor.main", "numpy.ma"),
    "corec.control.ctl": ("corec.control.ctl", "psycopg", "redis"),
}
"""What each module has imported when its work begins, or imports for many commands;
``numpy.ma`` is what Numba imports for the first array."""


@dataclass(frozen=True)
class _Shown:
    """Where what ``/proc`` shows as arguments and environment of this process lies."""

    arguments: tuple[int, int]
    environment: tuple[int, int]

    @classmethod
    def find(cls) -> _Shown:
        """Reads ``/proc/self/stat``: fields 48 to 51, the first after the name is field 3."""
        with open("/proc/self/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        a, b, c, d = map(int, words[45:49])
        return cls((a, b), (c, d))

    def write(self, arguments: list[str], environment: dict[str, str]) -> None:
        """The arguments as far as there is room, the environment whole."""
        words = b"\0".join(map(os.fsencode, arguments)) + b"\0"
        texts = b"".join(os.fsencode(f"{name}={value}") + b"\0"
                         for name, value in environment.items())  # fmt: skip
        for (begin, end), new in ((self.arguments, words), (self.environment, texts)):
            ctypes.memmove(begin, new[: end - begin - 1].ljust(end - begin, b"\0"), end - begin)


@dataclass
class _Server:
    """The children that run, by the descriptor that becomes readable when one ends."""

    asked: socket.socket
    shown: _Shown
    path: list[str]
    children: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)

    def next_child(self) -> None:
        """Serve until a child is forked; returns in the child, which is what was asked for."""
        waiting = select.poll()
        waiting.register(self.asked, select.POLLIN)
        while True:
            for descriptor, _ in waiting.poll():
                if descriptor != self.asked.fileno():
                    waiting.unregister(descriptor)
                    self._ended(descriptor)
                    continue
                text, passed = _received(self.asked)
                if not text:
                    os._exit(0)  # the tests' process is gone
                child = os.fork()
                if not child:
                    self._close()
                    return _become(json.loads(text), passed, self.shown, self.path)
                watched = os.pidfd_open(child)
                waiting.register(watched, select.POLLIN)
                self.children[watched] = child, socket.socket(fileno=passed.pop())
                for one in passed:
                    os.close(one)

    def _ended(self, watched: int) -> None:
        child, answers = self.children.pop(watched)
        os.close(watched)
        _, status = os.waitpid(child, 0)
        _say(answers, {"code": os.waitstatus_to_exitcode(status)})
        answers.close()

    def _close(self) -> None:
        """In a child: nothing of the server's is open any more."""
        self.asked.close()
        for watched, (_, answers) in self.children.items():
            os.close(watched)
            answers.close()


def _received(asked: socket.socket) -> tuple[bytes, list[int]]:
    text, more, _, _ = asked.recvmsg(REQUEST_BYTES_MAX, socket.CMSG_SPACE(4 * 4))
    passed = array.array("i")
    for _, _, data in more:
        passed.frombytes(data)
    return text, passed.tolist()


def _say(answers: socket.socket, what: dict[str, int]) -> bool:
    """Whether somebody asks still."""
    try:
        answers.send(json.dumps(what).encode())
    except OSError:
        return False
    return True


def _stream(number: int, old: Any) -> io.TextIOWrapper:
    """A standard stream as the interpreter makes it; the server's knew what its file could do."""
    reads = number == 0
    buffering = -1 if reads or not old.write_through else 0
    raw = open(number, "rb" if reads else "wb", buffering, closefd=False)  # noqa: SIM115  # it stays
    return io.TextIOWrapper(
        raw, old.encoding, old.errors, None if reads else "\n", raw.isatty() or old.line_buffering,
        old.write_through,
    )  # fmt: skip


def _become(request: dict[str, Any], passed: list[int], shown: _Shown, path: list[str]) -> None:
    """Take over what makes this process the one that was asked for, and say so."""
    *streams, answers = passed
    for number, given in enumerate(streams):
        os.dup2(given, number)
        os.close(given)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment: dict[str, str] = request["environment"]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    arguments = [sys.executable, "-m", request["module"], *request["arguments"]]
    shown.write(arguments, environment)
    sys.orig_argv[:] = arguments
    sys.argv[:] = ["-m", *request["arguments"]]
    sys.path[:] = [request["cwd"], *path[1:]]
    importlib.invalidate_caches()
    killpoint = sys.modules.get("shm.killpoint")
    if killpoint and environment.get(killpoint.ENVIRONMENT):  # what it does when it is imported
        killpoint.DEATHS[:] = killpoint.parse_deaths(environment[killpoint.ENVIRONMENT])
        if not killpoint.DEATHS[0].role:
            killpoint.arm(killpoint.DEATHS[0].name, killpoint.DEATHS[0].passes)
    with socket.socket(fileno=answers) as told:
        if not _say(told, {"pid": os.getpid()}):
            os._exit(1)  # who asked has given up: nobody would look after what it does


def _prepare(module: str) -> None:
    """Import what ``module`` imports, and check that a fork is as good as a start."""
    for name in _IMPORTED[module]:
        importlib.import_module(name)
    if module in sys.modules and module != "corec":  # it is to be run, not to be found
        package, _, name = module.rpartition(".")
        del sys.modules[module]
        delattr(sys.modules[package], name)
    setproctitle.getproctitle()  # it looks for the place of the title by the first environment
    gc.collect()
    gc.freeze()  # a child's collector would touch, and so copy, all of it
    threads = os.listdir("/proc/self/task")
    opened = [int(name) for name in os.listdir("/proc/self/fd")]
    assert len(threads) == 1, f"threads after the imports: {threads}"
    assert max(opened) <= 4, f"open after the imports: {opened}"  # 3, and the one of listdir


def main() -> str:
    """Serve; returns in each child the name of the module it is to run."""
    module = sys.argv[1]
    asked = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.closerange(4, 64)
    _prepare(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the tests and what they started
    _say(asked, {"pid": os.getpid()})
    _Server(asked, _Shown.find(), list(sys.path)).next_child()
    return module


if __name__ == "__main__":
    runpy.run_module(main(), run_name="__main__", alter_sys=True)
