"""Dead letters: what came in and could not be understood, as entries of ``…:dead``.

A dead letter carries the original fields, then ``reason`` (plain English), ``source`` (the entry's
id) and ``stream`` (its key). Of an ``m`` that is good in part only the bad messages are kept.
Fields are cut to a size, and the reason says so: garbage must not fill the server's memory twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from corec.broker.outgoing import Command
from corec.broker.positions import EntryId, Keys
from corec.broker.readings import GOOD, MESSAGE_BYTES, VALUE_BYTES
from corec.broker.values import Values

FIELD_BYTES_MAX: Final = 65_536
FIELDS_MAX: Final = 32
NAME_BYTES_MAX: Final = 256
_OWN: Final = (b"reason", b"source", b"stream")


@dataclass(frozen=True)
class DeadLetter:
    """One entry of the dead stream."""

    source: EntryId
    fields: tuple[tuple[bytes, bytes], ...]
    reason: str
    messages: int
    """How many messages it stands for (1 when the entry as a whole made no sense)."""

    @property
    def size(self) -> int:
        """Bytes of its fields, about."""
        return sum(len(name) + len(value) for name, value in self.fields) + 256

    def command(self, keys: Keys, stream: str, maxlen: int) -> Command:
        """The XADD."""
        original = [part for pair in self.fields for part in pair]
        return (
            "XADD", keys.dead, "MAXLEN", "~", maxlen, "*", *original,
            "reason", self.reason, "source", str(self.source), "stream", stream,
        )  # fmt: skip


def whole_entry(source: EntryId, flat: Sequence[bytes], reason: str) -> DeadLetter:
    """A letter for an entry none of which was used; ``flat`` is name, value, name, value …"""
    fields = []
    notes = []
    for name, value in list(zip(flat[::2], flat[1::2], strict=False))[:FIELDS_MAX]:
        shown = name[:NAME_BYTES_MAX]
        if len(name) > NAME_BYTES_MAX:
            notes.append(f"a field name cut from {len(name)} bytes")
        if shown in _OWN:
            shown = b"original_" + shown
        if len(value) > FIELD_BYTES_MAX:
            notes.append(f"{_readable(shown)} cut from {len(value)} bytes to {FIELD_BYTES_MAX}")
        fields.append((shown, value[:FIELD_BYTES_MAX]))
    if len(flat) > 2 * FIELDS_MAX:
        notes.append(f"{len(flat) // 2 - FIELDS_MAX} more fields left out")
    return DeadLetter(source, tuple(fields), "; ".join([reason, *notes]), 1)


def bad_messages(
    source: EntryId,
    messages: NDArray[np.uint8],
    verdict: NDArray[np.uint8],
    count: int,
    values: Values,
) -> DeadLetter:
    """A letter for the bad ones of an entry's messages (uint8[n, message_bytes], and uint8[n] of
    BAD_*), which came with ``count`` values each, 0 in an ``m``."""
    bad = np.flatnonzero(verdict != GOOD)
    kept = bad[: FIELD_BYTES_MAX // max(MESSAGE_BYTES, 4 + VALUE_BYTES * count)]
    codes, firsts, counts = np.unique(verdict[bad], return_index=True, return_counts=True)
    texts = [
        values.reason(code, messages[bad[first]], count)
        for code, first in zip(codes.tolist(), firsts.tolist(), strict=True)
    ]
    if verdict.size == 1:
        reason = texts[0]
    else:
        kinds = [f"{many} {text}" for many, text in zip(counts.tolist(), texts, strict=True)]
        reason = f"{bad.size} of {verdict.size} messages: " + ", ".join(kinds)
    if kept.size < bad.size:
        reason += f"; {'v' if count else 'm'} cut to the first {kept.size} of them"
    return DeadLetter(source, (values.original(messages[kept], count),), reason, int(bad.size))


def _readable(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
