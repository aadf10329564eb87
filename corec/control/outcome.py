"""What became of the last changes (reload, upgrade, workers) that the supervisor was asked for.

``change.json`` in the instance's folder has one writer, the supervisor, and is one JSON object,
padded with spaces to ``RECORD_BYTES``: ``{"number", "outcomes": [{"number", "change", "accepted",
"reason"}, …], "doing", "end"}``; an outcome has ``tick``, too, where a change came behind one.
Numbers grow by one with each change, so who asks can wait for its own; ``doing`` is the change that
is being made now, since one may wait minutes for another (an upgrade compiles what is new first).
Its room is taken when the instance starts, and it is mapped and written in place: an answer must
not need room on a tmpfs that is full, nor a system call that may be refused, since who asked would
wait for it in vain. ``number`` is repeated as ``end``; who reads while it is written sees two that
differ, or no JSON, and reads again.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec.control.protocol import ControlError

CHANGE_FILE: Final = "change.json"
RECORD_BYTES: Final = 8192
SET_SIGNAL: Final = signal.SIGRTMIN
"""To the supervisor, by its nucleus: take over what was set of the keys that processes read when
they start. Its outcome is that of the change ``set``."""
MIGRATE_SIGNAL: Final = signal.SIGRTMIN + 1
"""To the supervisor: as SIGUSR2, and values of fields that the new code has no more may go."""
OUTCOMES_KEPT: Final = 8
REASON_CHARS_MAX: Final = 1000
WAIT_SECONDS_MAX: Final = 900.0
"""Above what the longest change may take, and one that it waits for."""
_POLL_SECONDS: Final = 0.05
_LIVES_SECONDS: Final = 0.5
_NONE: Final[dict[str, Any]] = {"number": 0, "change": None, "accepted": None, "reason": None}


def shortened(text: str, chars: int = REASON_CHARS_MAX) -> str:
    """``text``, or its beginning and how much there was."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def _read(folder: Path) -> dict[str, Any]:
    for _ in range(20):
        try:
            found = json.loads((folder / CHANGE_FILE).read_bytes())
            if found["number"] == found["end"]:
                return {"outcomes": list(found["outcomes"]), "doing": found["doing"]}
        except (ValueError, KeyError, TypeError):
            pass  # it is being written, or nothing was written yet
        except FileNotFoundError:
            break
    return {"outcomes": [], "doing": None}


def last_change(folder: Path) -> dict[str, Any]:
    """The last change; number 0 when there was none. Raises OSError: nobody can say."""
    outcomes = _read(folder)["outcomes"]
    return outcomes[-1] if outcomes else dict(_NONE)


def asked_behind(folder: Path) -> int:
    """The number behind which the outcome comes of what is asked for from now on: that of the last
    change, or of the one that is being made, since it began before. Raises OSError."""
    found = _read(folder)
    last = int(found["outcomes"][-1]["number"]) if found["outcomes"] else 0
    return last + (found["doing"] is not None)


def said_of(folder: Path, before: int, change: str) -> dict[str, Any] | None:
    """The outcome of the first ``change`` after number ``before``; None: there is none yet. Raises
    OSError."""
    for found in _read(folder)["outcomes"]:
        if int(found["number"]) > before and found["change"] == change:
            return dict(found)
    return None


def doing(folder: Path) -> str | None:
    """The change that is being made now; None: none is. Raises OSError."""
    found: str | None = _read(folder)["doing"]
    return found


class ChangeFile:
    """The writer's end: the supervisor's. Room, descriptor and mapping are taken at once; an answer
    must not need any when there is none left."""

    def __init__(self, folder: Path, *, goes_on: bool = False) -> None:
        """Outcomes of before stay. ``goes_on``: so does what is being made, an upgrade; what a
        killed supervisor was at gets none. Raises OSError."""
        before = _read(folder)
        self._outcomes: list[dict[str, Any]] = before["outcomes"]
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(folder / CHANGE_FILE, flags, 0o600)
        found = os.fstat(self._descriptor)
        if found.st_size != RECORD_BYTES or found.st_blocks * 512 < RECORD_BYTES:
            # not of one that is there: an instance that takes on newer code must not end for it
            os.posix_fallocate(self._descriptor, 0, RECORD_BYTES)
            os.ftruncate(self._descriptor, RECORD_BYTES)
        self._record = mmap.mmap(self._descriptor, RECORD_BYTES)
        if before["doing"] is not None and not goes_on:
            self._write(None)

    def write(
        self, change: str, accepted: bool, reason: str | None, tick: int | None = None
    ) -> None:
        """Note the outcome of a change, which came behind ``tick``. Raises OSError."""
        number = int(self._outcomes[-1]["number"]) + 1 if self._outcomes else 1
        short = None if reason is None else shortened(reason)
        outcome = {"number": number, "change": change, "accepted": accepted, "reason": short}
        if tick is not None:
            outcome["tick"] = tick
        self._outcomes = [*self._outcomes, outcome][-OUTCOMES_KEPT:]
        self._write(None)

    def begin(self, change: str) -> None:
        """Note what is being done from now until its outcome. Raises OSError."""
        self._write(change)

    def _write(self, change: str | None) -> None:
        while len(record := _record(self._outcomes, change)) > RECORD_BYTES:
            del self._outcomes[0]
        if os.fstat(self._descriptor).st_size < RECORD_BYTES:  # somebody has cut it: no page behind
            os.posix_fallocate(self._descriptor, 0, RECORD_BYTES)
        self._record[:] = record.ljust(RECORD_BYTES)

    def close(self) -> None:
        """Close it; the file stays."""
        self._record.close()
        os.close(self._descriptor)


def _record(outcomes: list[dict[str, Any]], change: str | None) -> bytes:
    number = int(outcomes[-1]["number"]) if outcomes else 0
    found = {"number": number, "outcomes": outcomes, "doing": change, "end": number}
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace")


def await_change(
    folder: Path, before: int, change: str, lives: Callable[[], bool]
) -> dict[str, Any]:
    """The outcome of the first ``change`` after number ``before``. ``lives``: whether there is
    anybody who could still say it.

    Raises ControlError when it does not come in time, or the instance is gone; OSError: it can't be
    looked for.
    """
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    look_at = time.monotonic() + _LIVES_SECONDS
    while True:
        now = time.monotonic()
        # before its answer is looked for: it may answer and leave at once
        gone = now > look_at and not lives()
        if (found := said_of(folder, before, change)) is not None:
            return found
        if gone:
            kept = "what was set or grown by is kept, and made at the next start, or refused there"
            text = kept if change == "set" else "see its log"
            raise ControlError(
                f"the instance is gone, and has not said what became of the {change}; {text}",
                "refused",
            )
        if now > deadline:
            busy = doing(folder)
            raise ControlError(
                f"no outcome after {WAIT_SECONDS_MAX:g} s"
                + (f", the instance being at this change: {busy}" if busy else "")
                + "; it may still come: see the log",
                "timeout",
            )
        if now > look_at:
            look_at = now + _LIVES_SECONDS
        time.sleep(_POLL_SECONDS)
