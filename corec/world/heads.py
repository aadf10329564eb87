"""What the head of a checkpoint says: which world, which tick, where lanes and input stood.

``in_positions`` rows are [row of the in-position table, ms, seq, next_msg, last]: of the canal
``row`` (its low 8 bits), the stream entry the world had applied last, the next message in it, and
whether the entry ends there. A canal without a row has had no input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from corec import layout as L
from corec.process.runtime import Runtime
from corec.version import __version__
from corec.world.counts import by_slot
from corec.world.packing import shape_of
from corec.world.settings import in_head, set_in_head


class Applied(NamedTuple):
    """The last stream entry of a canal that a world had applied."""

    ms: int
    seq: int
    next_msg: int
    last: int

    @property
    def entry(self) -> str:
        """Its id."""
        return f"{self.ms}-{self.seq}"

    @property
    def needed_from(self) -> str:
        """The lowest id that is to be kept: what is below may be trimmed.

        It is the last entry applied, even when it is through: as long as that one is there, the
        broker sees that nothing behind it is gone.
        """
        return self.entry


def checkpoint_head(rt: Runtime, tick: int) -> dict[str, Any]:
    """The head of a checkpoint of ``tick``, but for what only its writing brings."""
    return {
        "version": __version__,
        "layout": L.LAYOUT_VERSION,
        "instance_id": rt.config.instance_id,
        "epoch": rt.epoch,
        "fingerprint": rt.get(L.C_CONFIG_HASH),
        "seed": rt.config.seed,
        "entidades": rt.plan.entidades,
        "tick": tick,
        "follow": rt.get(L.C_FOLLOW),
        "swarms": shape_of(rt.plan),
        "in_positions": _in_positions(rt, tick),
        "counts": by_slot(rt),
        "settings": in_head(rt),
        "set": set_in_head(rt),
        "revision": rt.get(L.C_SETTINGS),
        "lanes": {
            "in": rt.inbox.head,
            "out": [lane.head for lane in rt.out],
            "rows": [lane.head for lane in rt.rows],
            "events": {role: lane.head for role, lane in rt.events.items()},
        },
    }


def _in_positions(rt: Runtime, tick: int) -> list[list[int]]:
    """What the world has applied up to ``tick``, which is committed everywhere.

    A leader that was killed on its way to the next tick may have left that tick's table behind: in
    the other copy (see ``corec.worker.leader``).
    """
    size = L.CANALES * L.IN_POS_WORDS
    start = L.C_IN_POS + (tick & 1) * size
    table = rt.control[start : start + size].reshape(L.CANALES, L.IN_POS_WORDS)
    rows = np.flatnonzero(table.any(axis=1))
    return [[int(row), *(int(word) for word in table[row])] for row in rows]


def positions_of(head: dict[str, Any]) -> dict[int, Applied]:
    """What the world of ``head`` had applied, by canal."""
    return {
        int(row) - 256 * (int(row) > 127): Applied(*(int(word) for word in words))
        for row, *words in head["in_positions"]
    }


def lowest_positions(heads: Iterable[dict[str, Any]]) -> dict[int, Applied]:
    """By canal the lowest position of all ``heads``; a canal that one of them has not is left out:
    a world that goes on from there reads it from its beginning."""
    tables = [positions_of(head) for head in heads]
    if not tables:
        return {}
    common = set.intersection(*(set(table) for table in tables))
    return {canal: min(table[canal] for table in tables) for canal in sorted(common)}
