"""The built-in task ``command``: a program with the notice on its standard input.

It went well when it exits with 0; what it printed then, if anything, is JSON: answers. It ends with
the process that started it, and what it has started itself ends with it when it takes too long: a
call that is made again must not meet the one before it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import subprocess
import time
from typing import Any, Final

import orjson

from corec.notices import Notice, Task, without_secrets
from corec.proc import die_with

SAID_MAX: Final = 1000
KEPT_BYTES: Final = 4 * SAID_MAX
READ_BYTES: Final = 65_536
PRINTED_MAX: Final = 1 << 24
"""Bytes: a program that prints without end is not to fill the machine."""


class Failed(Exception):
    """It exited otherwise than with 0."""


def _talk(process: subprocess.Popen[bytes], notice: bytes, seconds: float) -> tuple[bytes, bytes]:
    """What it printed, and the end of what it complained of, once it has ended.

    Raises:
        TimeoutExpired: it has not. Failed: it prints without end.
    """
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it does not want to know
        process.stdin.write(notice)  # which a pipe has room for
        process.stdin.close()
    until = time.monotonic() + seconds
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, said in ((process.stdout, out), (process.stderr, err)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, said)
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, seconds)
            for key, _ in selector.select(left):
                part = os.read(key.fd, READ_BYTES)
                if not part:
                    selector.unregister(key.fileobj)
                key.data.extend(part)
            if len(out) > PRINTED_MAX:
                raise Failed(f"it prints more than {PRINTED_MAX} bytes")
            del err[:-KEPT_BYTES]
    process.wait(max(0.0, until - time.monotonic()))
    return bytes(out), bytes(err)


def execute(notice: Notice, options: dict[str, Any]) -> Any:
    """One call. ``options``: ``command`` and ``timeout_seconds``.

    Raises:
        Failed, OSError: it can't be started or says no. TimeoutExpired. JSONDecodeError: what it
            printed is no JSON.
    """
    with subprocess.Popen(
        options["command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**without_secrets(os.environ), "COREC_NOTICE": notice.key}, start_new_session=True,
        preexec_fn=functools.partial(die_with, os.getpid()),
    ) as process:  # fmt: skip
        try:
            seconds = float(options["timeout_seconds"])
            out, err = _talk(process, orjson.dumps(notice.as_dict()), seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        said = err.decode("utf-8", "replace").strip()[-SAID_MAX:]
        raise Failed(f"exit {process.returncode}{f': {said}' if said else ''}")
    return orjson.loads(out) if out.strip() else None


command = Task("command", execute, is_async=False, takes_options=True)
