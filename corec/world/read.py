"""Reading the committed world while it ticks.

A reader looks at a block's commit word, reads the copies it names, and looks again: the copy a
word names is written only after the *next* commit, so an unchanged word means an untorn read.
Readers write nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.kernels.whole import gather_dynamic
from corec.kernels.windows import gather_windows
from corec.plan import Plan, Swarm
from shm.atomics import read_word


def dynamic_words(plan: Plan, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """u64[blocks, DYN_WORDS]: the committed dynamic words of every block, each row untorn.

    ``words`` is the world segment as u64. Raises RuntimeError when a block never holds still.
    """
    out = np.zeros((plan.n_blocks, L.DYN_WORDS), np.uint64)
    starts = (plan.blocks["offset"] // 8).astype(np.int64)
    torn = gather_dynamic(words, starts, out)
    if torn:
        raise RuntimeError(f"{torn} blocks could not be read without a commit in between")
    return out


class BlockView:
    """The committed copy of one block, as NumPy views (not copies)."""

    def __init__(self, plan: Plan, words: NDArray[np.uint64], index: int) -> None:
        place = plan.blocks[index]
        self.index = index
        self.swarm: Swarm = plan.swarms[int(place["swarm"])]
        self.n = int(place["entidades"])
        self.first_id = int(place["first_id"])
        self._words = words
        self._base = int(place["offset"]) // 8
        self._bytes = words.view(np.uint8)
        self._start = int(place["offset"])
        self._place = place
        self.word = self.commit_word()
        copy = self._base + L.OFF_DYN[self.word & 1] // 8
        self.dyn = words[copy : copy + L.DYN_WORDS].copy()

    def commit_word(self) -> int:
        """The commit word as it is now; equal to ``word`` while the view is true."""
        return int(read_word(self._words, self._base + L.OFF_COMMIT // 8))

    @property
    def tick(self) -> int:
        """The committed tick."""
        return self.word >> 16

    def number(self, word: int) -> float:
        """Dynamic word ``word`` as a float64."""
        return float(self.dyn[word : word + 1].view(np.float64)[0])

    def column(self, name: str) -> NDArray[Any]:
        """``valor`` or a state field: n values of its dtype."""
        processor, cap = self.swarm.processor, self.swarm.cap
        dtype = "f4" if name == "valor" else next(
            f.dtype for f in processor.fields if f.name == name
        )  # fmt: skip
        start = self._start + int(self._place["hot"])
        start += int(self.dyn[L.D_HOT_SEL]) * processor.copy_bytes(cap)
        start += processor.field_offsets(cap)[name]
        return self._typed(start, dtype)

    def _typed(self, start: int, dtype: str) -> NDArray[Any]:
        size = np.dtype(dtype).itemsize * self.n
        return self._bytes[start : start + size].view(dtype)

    def _cold(self, at: int, dtype: str) -> NDArray[Any]:
        cap = self.swarm.cap
        start = self._start + int(self._place["hot"]) + 2 * self.swarm.processor.copy_bytes(cap)
        return self._typed(start + at, dtype)

    @property
    def activo(self) -> NDArray[np.uint8]:
        """u8[n]."""
        return self._cold(int(self.dyn[L.D_ACTIVO_SEL]) * L.column_bytes(self.swarm.cap, 1), "u1")

    @property
    def fallos(self) -> NDArray[np.uint32]:
        """u32[n]: failures of each entity since tick 0."""
        cap = self.swarm.cap
        sel = int(self.dyn[L.D_FALLOS_SEL])
        return self._cold(2 * L.column_bytes(cap, 1) + sel * L.column_bytes(cap, 4), "u4")

    @property
    def racha(self) -> NDArray[np.uint8]:
        """u8[n]: failed runs since the last good one, L.NO_RUN before the first run."""
        cap = self.swarm.cap
        sel = int(self.dyn[L.D_FALLOS_SEL])
        at = 2 * L.column_bytes(cap, 1) + 2 * L.column_bytes(cap, 4)
        return self._cold(at + sel * L.column_bytes(cap, 1), "u1")

    def history(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(f32[n, length] oldest first and padded with 0 in front, int64[n] how many are held)."""
        processor, cap = self.swarm.processor, self.swarm.cap
        ring = next(r for r in processor.history if r.name == name)
        start = self._start + int(self._place["hist"]) + processor.history_offsets(cap)[name]
        table = self._bytes[start : start + self.n * ring.slots * 4].view("f4")
        rows = table.reshape(self.n, ring.slots)
        values = np.empty((self.n, ring.length), np.float32)
        held = np.empty(self.n, np.int64)
        gather_windows(rows, self.column(ring.count_field), values, held)
        return values, held
