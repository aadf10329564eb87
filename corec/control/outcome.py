"""What became of the last changes (reload, upgrade, workers) that the supervisor was asked for.

``change.json`` in the instance's folder has one writer, the supervisor, and is one JSON object,
padded with spaces to ``RECORD_BYTES``: ``{"number", "outcomes": [{"number", "change", "accepted",
"reason"}, …], "end"}``. Numbers grow by one with each change, so who asks can wait for its own. Its
room is taken when the instance starts and it is written in place: an answer must not need room on a
tmpfs that is full. ``number`` is repeated as ``end``; who reads while it is written sees two that
differ, or no JSON, and reads again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from corec.control.protocol import ControlError

CHANGE_FILE: Final = "change.json"
RECORD_BYTES: Final = 8192
OUTCOMES_KEPT: Final = 8
REASON_CHARS_MAX: Final = 1000
WAIT_SECONDS_MAX: Final = 180.0
_POLL_SECONDS: Final = 0.05
_NONE: Final[dict[str, Any]] = {"number": 0, "change": None, "accepted": None, "reason": None}


def shortened(text: str, chars: int = REASON_CHARS_MAX) -> str:
    """``text``, or its beginning and how much there was."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def _outcomes(folder: Path) -> list[dict[str, Any]]:
    for _ in range(20):
        try:
            found = json.loads((folder / CHANGE_FILE).read_bytes())
            if found["number"] == found["end"]:
                return list(found["outcomes"])
        except (ValueError, KeyError, TypeError):
            pass  # it is being written, or nothing was written yet
        except OSError:
            return []
    return []


def last_change(folder: Path) -> dict[str, Any]:
    """The last change; number 0 when there was none."""
    outcomes = _outcomes(folder)
    return outcomes[-1] if outcomes else dict(_NONE)


class ChangeFile:
    """The writer's end: the supervisor's. Room and descriptor are taken at once; an answer must
    not need either when there is none left."""

    def __init__(self, folder: Path) -> None:
        """Outcomes of before stay. Raises OSError."""
        self._outcomes = _outcomes(folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(folder / CHANGE_FILE, flags, 0o600)
        os.posix_fallocate(self._descriptor, 0, RECORD_BYTES)
        os.ftruncate(self._descriptor, RECORD_BYTES)

    def write(self, change: str, accepted: bool, reason: str | None) -> None:
        """Note the outcome of a change. Raises OSError."""
        number = int(self._outcomes[-1]["number"]) + 1 if self._outcomes else 1
        short = None if reason is None else shortened(reason)
        outcome = {"number": number, "change": change, "accepted": accepted, "reason": short}
        self._outcomes = [*self._outcomes, outcome][-OUTCOMES_KEPT:]
        while len(record := _record(number, self._outcomes)) > RECORD_BYTES:
            del self._outcomes[0]
        os.pwrite(self._descriptor, record.ljust(RECORD_BYTES), 0)

    def close(self) -> None:
        """Close it; the file stays."""
        os.close(self._descriptor)


def _record(number: int, outcomes: list[dict[str, Any]]) -> bytes:
    text = json.dumps({"number": number, "outcomes": outcomes, "end": number}, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def await_change(folder: Path, before: int, change: str) -> dict[str, Any]:
    """The outcome of the first ``change`` after number ``before``.

    Raises ControlError when it does not come in time.
    """
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        for found in _outcomes(folder):
            if int(found["number"]) > before and found["change"] == change:
                return found
        time.sleep(_POLL_SECONDS)
    raise ControlError(f"no outcome after {WAIT_SECONDS_MAX:g} s; see the log", "timeout")
