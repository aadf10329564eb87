"""Work that may take long, fail or hang, done in a process beside the watch loop, with a deadline.

The supervisor has one thread and must go on watching, so it forks. ``Work`` is a function of this
code, whose result comes back through an unnamed file in memory (no disk that may be full, no pipe
that may be); ``Command`` another program, whose complaints are kept the same way. Both are
generators in the sense of ``corec.embedded.waiting``: they yield while there is nothing to do but
wait, and ``finally`` leaves no process behind.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, TypeVar

from corec.proc import die_with
from corec.supervisor.signals import stops_later, unblocked

TAIL_BYTES: Final = 64 * 1024
TRIAL_SECONDS_MAX: Final = 10.0
_T = TypeVar("_T")
Asked = Generator[None, None, _T]
"""What yields while there is nothing to do but wait, and returns what came of it."""


class Failed(Exception):
    """It did not end well; the text says why."""


def work(
    function: Callable[[], _T], what: str, seconds: float, forget: Callable[[], None]
) -> Generator[None, None, _T]:
    """What ``function`` returns, in a forked child that first calls ``forget``.

    Raises Failed with what ``function`` raised, when it takes longer than ``seconds``, or when its
    process dies; OSError when there is no process to be had.
    """
    result = os.memfd_create("corec", os.MFD_CLOEXEC)
    pid = -1
    try:
        parent = os.getpid()
        with stops_later():
            pid = os.fork()
            if pid == 0:
                _child(function, result, parent, forget)
        deadline = time.monotonic() + seconds
        while (code := _reaped(pid)) is None:
            if time.monotonic() > deadline:
                raise Failed(f"{what} takes longer than {seconds:g} s")
            yield
        pid = -1
        answer = os.pread(result, os.fstat(result).st_size, 0)
        if code != 0 or not answer:
            raise Failed(f"{what} ended its process: {exit_text(code)}")
    finally:
        os.close(result)
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    good, value = pickle.loads(answer)
    if not good:
        raise Failed(value)
    return value  # type: ignore[no-any-return]  # what the child made of the same function


def trial(forget: Callable[[], None]) -> Generator[None, None, None]:
    """Find out whether there is a process to be had, before others are ended that could then not be
    started again. Raises OSError: there is none. Failed."""
    yield from work(lambda: None, "a process", TRIAL_SECONDS_MAX, forget)


def _child(
    function: Callable[[], object], result: int, parent: int, forget: Callable[[], None]
) -> None:
    code = 1
    try:
        if die_with(parent):
            unblocked()
            forget()
            try:
                answer: tuple[bool, object] = (True, function())
            except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
                answer = (False, str(error) or repr(error))
            whole = pickle.dumps(answer)
            while whole:
                whole = whole[os.write(result, whole) :]
            code = 0
    except BaseException:  # noqa: BLE001 - sys.exit of a user's module included: the code says it
        code = 1
    finally:
        os._exit(code)


def command(
    words: Sequence[str], what: str, seconds: float, environ: Mapping[str, str] | None = None
) -> Generator[None, None, tuple[int, str]]:
    """Exit code and standard error of another program; ``environ``: None: this one's.

    Raises Failed when it takes longer than ``seconds``, OSError when it cannot be started.
    """
    said = os.memfd_create("corec", os.MFD_CLOEXEC)
    parent = os.getpid()

    def alone() -> None:
        unblocked()
        die_with(parent)

    try:
        running = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True, preexec_fn=alone, env=environ,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + seconds
            while running.poll() is None:
                if time.monotonic() > deadline:
                    raise Failed(f"{what} takes longer than {seconds:g} s")
                yield
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        size = os.fstat(said).st_size
        text = os.pread(said, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace")
        return int(running.returncode), text.strip()
    finally:
        os.close(said)


def exit_text(code: int) -> str:
    """``exit code 1`` or ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _reaped(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found == pid else None
