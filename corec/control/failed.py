"""What the kernels noted of failed entities, gathered by kind.

The kernels leave one record for each of K.TOLD_PLACES groups of blocks (``corec.entities.told``) in
their process' own memory; a later failure overwrites an earlier one. So this is a sample: how often
entities fail is counted in the blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.control.errors import KINDS_MAX, described, kind_of
from corec.control.outcome import shortened
from corec.entities.told import read
from corec.kernels import desc as K
from corec.plan import Plan
from corec.world.tables import Tables


def as_told(text: str) -> str:
    """What was raised as JSON and a lane can carry it: half of a surrogate pair, which a literal
    may hold, as its number, and no more than somebody reads."""
    return shortened(text.encode("utf-8", "backslashreplace").decode())


class Failed:
    """The kinds of failures in one process' blocks; ``earlier``: those that are known already;
    ``others``: tables of its other threads."""

    def __init__(
        self, plan: Plan, tables: Tables, earlier: Iterable[Mapping[str, Any]] = (), more: int = 0,
        others: Iterable[Tables] = (),
    ) -> None:  # fmt: skip
        self.plan, self.tables = plan, tables
        self._records = [_records(one) for one in (tables, *others)]
        self.kinds: dict[str, dict[str, Any]] = {kind_of(e): dict(e) for e in earlier}
        self.more = more
        """How many were seen of kinds beyond the first KINDS_MAX."""

    def look(self) -> bool:
        """Take what the kernels left since the last look; whether there was something."""
        found = False
        for records in self._records:
            there = records[:, 0] != 0
            if there.any():
                found = True
                for record in records[there]:
                    self._note(record)
                records[:, 0] = 0
        return found

    def told(self) -> list[dict[str, Any]]:
        """The kinds as they are shown, the latest first."""
        kinds = sorted(self.kinds.values(), key=lambda one: -int(one["last_unix_ns"]))
        return [
            {**{name: one[name] for name in one if name != "last_unix_ns"}, "what": described(one)}
            for one in kinds
        ]

    def _note(self, record: NDArray[np.int64]) -> None:
        block = self.plan.block_of(int(record[1]))
        if block is None:
            return
        swarm = self.plan.swarms[int(self.plan.blocks["swarm"][block])]
        failure = read(record, self.tables.kernels[swarm.index].sites)
        if failure is None:
            return
        entry: dict[str, Any] = {
            "bloque": swarm.id, "procesador": swarm.processor.name, "error": failure.kind,
            "text": as_told(failure.text), "file": failure.file, "line": failure.line,
            "function": failure.function, "first_tick": failure.tick,
            "first_entity": failure.entity, "seen": 0,
        }  # fmt: skip
        name = kind_of(entry)
        if name not in self.kinds and len(self.kinds) >= KINDS_MAX:
            self.more += 1
            return
        one = self.kinds.setdefault(name, entry)
        one["seen"] += 1
        one["last_tick"], one["last_entity"] = failure.tick, failure.entity
        one["last_unix_ns"] = time.time_ns()


def _records(tables: Tables) -> NDArray[np.int64]:
    start = tables.scratch_address - int(tables.scratch.ctypes.data)
    start += int(tables.scratch_offsets[K.X_TOLD])
    records = tables.scratch[start : start + K.TOLD_PLACES * K.TOLD_BYTES]
    return records.view(np.int64).reshape(K.TOLD_PLACES, K.TOLD_WORDS)
