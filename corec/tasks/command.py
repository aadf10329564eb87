"""The built-in task ``command``: a program with the notice on its standard input.

It went well when it exits with 0; what it printed then, if anything, is JSON: answers.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Final

import orjson

from corec.notices import Notice, Task

SAID_MAX: Final = 1000


class Failed(Exception):
    """It exited otherwise than with 0."""


def execute(notice: Notice, options: dict[str, Any]) -> Any:
    """One call. ``options``: ``command`` and ``timeout_seconds``. Raises Failed, OSError."""
    done = subprocess.run(
        options["command"], input=orjson.dumps(notice.as_dict()), capture_output=True, check=False,
        timeout=float(options["timeout_seconds"]),
        env={**os.environ, "COREC_NOTICE": notice.key},
    )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-SAID_MAX:]
        raise Failed(f"exit {done.returncode}{f': {said}' if said else ''}")
    return orjson.loads(done.stdout) if done.stdout.strip() else None


command = Task("command", execute, is_async=False, takes_options=True)
