"""Between two ticks, now and then: what the kernels noted of failed entities, into a file.

The kernels leave one record for each of K.TOLD_PLACES groups of blocks (``corec.entities.told``) in
this process' own memory; a later failure overwrites an earlier one. So this is a sample: how often
entities fail is counted in the blocks. The file and its readers: ``corec.control.errors``.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.control.errors import KINDS_MAX, kind_of, read_errors, worker_file, write_errors
from corec.entities.told import WORDS, read
from corec.kernels import desc as K
from corec.runtime import Runtime
from corec.world.tables import Tables

LOOK_SECONDS: Final = 0.5


class Telling:
    """Worker ``k``'s kinds of failures since its world began."""

    def __init__(self, rt: Runtime, tables: Tables, k: int) -> None:
        self.rt, self.tables = rt, tables
        self.epoch = rt.get(L.C_WORLD_EPOCH)
        self.path = worker_file(rt.folder, k)
        start = tables.scratch_address - int(tables.scratch.ctypes.data)
        start += int(tables.scratch_offsets[K.S_TOLD])
        records = tables.scratch[start : start + K.TOLD_PLACES * K.TOLD_BYTES]
        self.records: NDArray[np.int64] = records.view(np.int64).reshape(K.TOLD_PLACES, WORDS)
        earlier = read_errors(self.path, self.epoch)
        self.kinds: dict[str, dict[str, Any]] = {kind_of(e): e for e in earlier.get("kinds", ())}
        self.more = int(earlier.get("more", 0))
        self._due = 0.0
        self._unwritten = False

    def look(self, now: float) -> None:
        """Take what the kernels left since the last look, and tell it; cheap when there is none."""
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        if self.records[:, 0].any():
            for record in self.records[self.records[:, 0] != 0]:
                self._note(record)
            self.records[:, 0] = 0
            self._unwritten = True
        if self._unwritten:
            content = {"kinds": list(self.kinds.values()), "more": self.more}
            self._unwritten = not write_errors(self.path, self.epoch, content)

    def _note(self, record: NDArray[np.int64]) -> None:
        block = self.rt.plan.block_of(int(record[1]))
        if block is None:
            return
        swarm = self.rt.plan.swarms[int(self.rt.plan.blocks["swarm"][block])]
        failure = read(record, self.tables.kernels[swarm.index].sites)
        if failure is None:
            return
        entry: dict[str, Any] = {
            "bloque": swarm.id, "procesador": swarm.processor.name, "error": failure.kind,
            "text": failure.text, "file": failure.file, "line": failure.line,
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
