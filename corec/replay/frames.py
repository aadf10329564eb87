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
from corec.replay.schedule import Plan

MESSAGE_BYTES: Final = MESSAGE.itemsize


FRAME_MESSAGES_MAX: Final = 16_000
"""Messages per entry: large enough that the server's cost per entry does not count."""


class ValuesFramer:
    """Packs readings of several values: one plan for each, of series that have the same times."""

    field: Final = "v"

    def __init__(self, plans: Sequence[Plan], frame_messages: int = FRAME_MESSAGES_MAX) -> None:
        self._plans = plans
        form = [("id", ">u4"), ("values", ">f4", (len(plans),))]
        self._records = np.zeros(plans[0].entities, dtype=form)
        self._records["id"] = plans[0].ids
        self._cuts = _cuts(plans[0].entities, frame_messages)

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
        for k, plan in enumerate(self._plans):
            records["values"][:, k] = plan.values(round_, begin, end)
        if self._plans[0].has_gaps:
            records = records[~np.isnan(records["values"][:, 0])]
        return records[:readings_max].tobytes()


class Framer:
    """Packs one plan for one canal. Ids, canal and activo are laid down once; a frame only
    writes its values."""

    field: Final = "m"
    message_bytes: Final = MESSAGE_BYTES

    def __init__(self, plan: Plan, canal: int, frame_messages: int = FRAME_MESSAGES_MAX) -> None:
        self._plan = plan
        self._messages = np.zeros(plan.entities, dtype=MESSAGE)
        self._messages["id"] = plan.ids
        self._messages["canal"] = canal
        self._messages["activo"] = 1
        self._cuts = _cuts(plan.entities, frame_messages)

    @property
    def frames_per_round(self) -> int:
        return len(self._cuts)

    def frame(self, round_: int, number: int, readings_max: int | None = None) -> bytes:
        """Frame `number` of a round, at most `readings_max` messages of it; empty when all its
        entities are in a gap."""
        begin, end = self._cuts[number]
        valor = self._plan.values(round_, begin, end)
        messages = self._messages[begin:end]
        messages["valor"] = valor
        if self._plan.has_gaps:
            messages = messages[~np.isnan(valor)]
        return messages[:readings_max].tobytes()


def _cuts(entities: int, frame_messages: int) -> list[tuple[int, int]]:
    """(begin, end) of the entities of each frame of a round."""
    return [
        (begin, min(begin + frame_messages, entities))
        for begin in range(0, entities, frame_messages)
    ]
