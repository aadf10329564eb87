"""The built-in task ``command``: a program with the notice on its standard input.

It went well when it exits with 0; what it printed then, if anything, is JSON: answers. It ends with
the process that started it, and what it has started itself ends with it when it takes too long: a
call that is made again must not meet the one before it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
from typing import Any, Final

import orjson

from corec.notices import Notice, Task, without_secrets
from corec.proc import die_with

SAID_MAX: Final = 1000


class Failed(Exception):
    """It exited otherwise than with 0."""


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
            out, err = process.communicate(orjson.dumps(notice.as_dict()), seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        said = err.decode("utf-8", "replace").strip()[-SAID_MAX:]
        raise Failed(f"exit {process.returncode}{f': {said}' if said else ''}")
    return orjson.loads(out) if out.strip() else None


command = Task("command", execute, is_async=False, takes_options=True)
