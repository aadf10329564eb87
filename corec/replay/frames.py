"""The bytes of stream entries: messages end to end, packed without a Python loop.

A reading of several values is an id and a float32 for each, all big endian (field ``v``).

One message is 10 bytes, `struct` format `!Ibf?`:

    byte   0         4       5             9
           │ id      │ canal │ valor       │ activo │
           │ u32 BE  │ i8    │ f32 BE      │ 1 byte │
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from corec.layout import MESSAGE
from corec.replay.schedule import Playback

MESSAGE_BYTES: Final = MESSAGE.itemsize


FRAME_MESSAGES_MAX: Final = 16_000
"""Messages per entry: large enough that the server's cost per entry does not count."""


class ValuesFramer:
    """Packs readings of several values: a playback for each, of series with the same times."""

    field: Final = "v"

    def __init__(
        self, playbacks: Sequence[Playback], frame_messages: int = FRAME_MESSAGES_MAX
    ) -> None:
        self._playbacks = playbacks
        form = [("id", ">u4"), ("values", ">f4", (len(playbacks),))]
        self._records = np.zeros(playbacks[0].entities, dtype=form)
        self._records["id"] = playbacks[0].ids
        self._cuts = _cuts(playbacks[0].entities, frame_messages)

    @property
    def frames_per_round(self) -> int:
        return len(self._cuts)

    @property
    def message_bytes(self) -> int:
        return self._records.dtype.itemsize

    def frame(self, round_: int, number: int, readings_max: int | None = None) -> bytes:
        """As ``Framer.frame``."""
        begin, end = self._cuts[number]
        records = self._records[begin:end]
        for k, playback in enumerate(self._playbacks):
            records["values"][:, k] = playback.values(round_, begin, end)
        if self._playbacks[0].has_gaps:
            records = records[~np.isnan(records["values"][:, 0])]
        return records[:readings_max].tobytes()


class Framer:
    """Packs one playback for one canal. Ids, canal and activo are laid down once; a frame only
    writes its values."""

    field: Final = "m"
    message_bytes: Final = MESSAGE_BYTES

    def __init__(
        self, playback: Playback, canal: int, frame_messages: int = FRAME_MESSAGES_MAX
    ) -> None:
        self._playback = playback
        self._messages = np.zeros(playback.entities, dtype=MESSAGE)
        self._messages["id"] = playback.ids
        self._messages["canal"] = canal
        self._messages["activo"] = 1
        self._cuts = _cuts(playback.entities, frame_messages)

    @property
    def frames_per_round(self) -> int:
        return len(self._cuts)

    def frame(self, round_: int, number: int, readings_max: int | None = None) -> bytes:
        """Frame `number` of a round, at most `readings_max` messages of it; empty when all its
        entities are in a gap."""
        begin, end = self._cuts[number]
        valor = self._playback.values(round_, begin, end)
        messages = self._messages[begin:end]
        messages["valor"] = valor
        if self._playback.has_gaps:
            messages = messages[~np.isnan(valor)]
        return messages[:readings_max].tobytes()


def _cuts(entities: int, frame_messages: int) -> list[tuple[int, int]]:
    """(begin, end) of the entities of each frame of a round."""
    return [
        (begin, min(begin + frame_messages, entities))
        for begin in range(0, entities, frame_messages)
    ]
