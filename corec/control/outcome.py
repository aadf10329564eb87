"""What became of the last change (reload, upgrade) that the supervisor was asked for.

``change.json`` in the instance's folder, written whole by the supervisor: ``{"number", "change",
"accepted", "reason"}``; ``number`` grows by one with each change, so who asks can wait for its own.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from corec.control.protocol import ControlError

CHANGE_FILE: Final = "change.json"
WAIT_SECONDS_MAX: Final = 180.0
_POLL_SECONDS: Final = 0.05


def last_change(folder: Path) -> dict[str, Any]:
    """The last change; number 0 when there was none."""
    try:
        found: dict[str, Any] = json.loads((folder / CHANGE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"number": 0, "change": None, "accepted": None, "reason": None}
    return found


def write_change(folder: Path, change: str, accepted: bool, reason: str | None) -> None:
    """Note the outcome of a change (the supervisor, alone)."""
    noted = {
        "number": int(last_change(folder)["number"]) + 1,
        "change": change,
        "accepted": accepted,
        "reason": reason,
    }
    fresh = folder / f".{CHANGE_FILE}.{os.getpid()}.new"
    fresh.write_text(json.dumps(noted), encoding="utf-8")
    fresh.replace(folder / CHANGE_FILE)


def await_change(folder: Path, before: int) -> dict[str, Any]:
    """The first change after number ``before``.

    Raises ControlError when it does not come in time.
    """
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        found = last_change(folder)
        if int(found["number"]) > before:
            return found
        time.sleep(_POLL_SECONDS)
    raise ControlError(f"no outcome after {WAIT_SECONDS_MAX:g} s; see the log", "timeout")
