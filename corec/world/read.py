"""Reading the committed world while it ticks.

A reader looks at a block's commit word, reads the copies it names, and looks again: the copy a
word names is written only after the *next* commit, so an unchanged word means an untorn read.
Readers write nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.post import children_at, moves_at, post_bytes, post_offset, record_bytes
from corec.kernels.whole import gather_dynamic
from corec.kernels.windows import gather_windows
from corec.layout.post import POST_BORN, POST_HEAD_BYTES, POST_MOVES, POST_SENT, SEND
from corec.placing import cold_bytes
from corec.plan import Plan, Swarm
from corec.world.commits import copy_in, tick_in
from shm.atomics import read_again


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


class Place(NamedTuple):
    """Where a column lies in a block, from its first hot copy on: that of the entity ``i`` is at
    ``offset + dyn[selector] · between + i · itemsize``."""

    dtype: str
    offset: int
    between: int
    selector: int


def place_of(swarm: Swarm, name: str) -> Place:
    """``valor``, a state field, a gene, ``activo``, ``fallos`` or ``racha``. Raises KeyError."""
    processor, cap = swarm.processor, swarm.cap
    cold = 2 * processor.copy_bytes(cap)
    one, four = L.column_bytes(cap, 1), L.column_bytes(cap, 4)
    if name == "activo":
        return Place("u1", cold, one, L.D_ACTIVO_SEL)
    if name == "fallos":
        return Place("u4", cold + 2 * one, four, L.D_FALLOS_SEL)
    if name == "racha":
        return Place("u1", cold + 2 * one + 2 * four, one, L.D_FALLOS_SEL)
    genes = processor.gene_offsets(cap)
    if name in genes:
        offset = cold + 2 * (3 * one + four) + genes[name]
        return Place("f4", offset, processor.gene_bytes(cap), L.D_GENES_SEL)
    dtypes = {"valor": "f4"} | {f.name: f.dtype for f in processor.fields}
    offset = processor.field_offsets(cap)[name]
    return Place(dtypes[name], offset, processor.copy_bytes(cap), L.D_HOT_SEL)


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
        copy = self._base + L.OFF_DYN[copy_in(self.word)] // 8
        self.dyn = words[copy : copy + L.DYN_WORDS].copy()

    def commit_word(self) -> int:
        """The commit word as it is now; equal to ``word`` while the view is true."""
        return int(read_again(self._words, self._base + L.OFF_COMMIT // 8))

    @property
    def tick(self) -> int:
        """The committed tick."""
        return int(tick_in(self.word))

    def number(self, word: int) -> float:
        """Dynamic word ``word`` as a float64."""
        return float(self.dyn[word : word + 1].view(np.float64)[0])

    def column(self, name: str) -> NDArray[Any]:
        """``valor`` or a state field: n values of its dtype."""
        place = place_of(self.swarm, name)
        start = self._start + int(self._place["hot"])
        start += place.offset + int(self.dyn[place.selector]) * place.between
        size = np.dtype(place.dtype).itemsize * self.n
        return self._bytes[start : start + size].view(place.dtype)

    @property
    def activo(self) -> NDArray[np.uint8]:
        """u8[n]."""
        return self.column("activo")

    @property
    def fallos(self) -> NDArray[np.uint32]:
        """u32[n]: failures of each entity since tick 0."""
        return self.column("fallos")

    @property
    def racha(self) -> NDArray[np.uint8]:
        """u8[n]: failed runs since the last good one, L.NO_RUN before the first run."""
        return self.column("racha")

    @property
    def log(self) -> NDArray[Any]:
        """LOG_DTYPE[log_cap]: the messages since the last row come first."""
        start = self._start + int(self._place["log"])
        size = int(self._place["log_cap"]) * L.LOG_DTYPE.itemsize
        return self._bytes[start : start + size].view(L.LOG_DTYPE)

    @property
    def post(self) -> NDArray[np.uint8]:
        """What the committed tick left to the next."""
        return self.post_of(self.tick)

    def post_of(self, tick: int) -> NDArray[np.uint8]:
        """The copy, ``corec.layout.post``, that ``tick`` writes; empty, if the swarm has none."""
        processor, cap = self.swarm.processor, self.swarm.cap
        size = post_bytes(processor, cap)
        start = self._start + int(self._place["hot"]) + (tick & 1) * size
        start += post_offset(processor, cap, cold_bytes(cap))
        return self._bytes[start : start + size]

    @property
    def sent(self) -> NDArray[Any]:
        """SEND[…]: what was sent in the committed tick."""
        if not self.post.size:
            return np.zeros(0, SEND)
        count = int(self.post[POST_SENT : POST_SENT + 8].view("<u8")[0])
        return self.post[POST_HEAD_BYTES : POST_HEAD_BYTES + SEND.itemsize * count].view(SEND)

    @property
    def children(self) -> NDArray[np.uint64]:
        """u8[…, state fields + 1]: children of the committed tick without a place, as
        ``corec.layout.post`` says."""
        processor = self.swarm.processor
        if not self.post.size:
            return np.zeros((0, len(processor.state) + 1), np.uint64)
        count = int(self.post[POST_BORN : POST_BORN + 8].view("<u8")[0])
        at, record = children_at(processor, self.swarm.cap), record_bytes(processor)
        return self.post[at : at + record * count].view(np.uint64).reshape(count, record // 8)

    @property
    def moves(self) -> NDArray[np.uint32]:
        """u4[…]: places in the block of who wanted to move in the committed tick."""
        if not self.post.size:
            return np.zeros(0, np.uint32)
        count = int(self.post[POST_MOVES : POST_MOVES + 8].view("<u8")[0])
        at = moves_at(self.swarm.processor, self.swarm.cap)
        return self.post[at : at + 4 * count].view(np.uint32)

    def ring(self, name: str) -> NDArray[np.float32]:
        """f32[n, slots]: a history as it lies there."""
        processor, cap = self.swarm.processor, self.swarm.cap
        ring = next(r for r in processor.history if r.name == name)
        start = self._start + int(self._place["hist"]) + processor.history_offsets(cap)[name]
        table = self._bytes[start : start + cap * ring.slots * 4].view("f4")
        if ring.by_time:
            return table.reshape(ring.slots, cap).T[: self.n]
        return table.reshape(cap, ring.slots)[: self.n]

    def history(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(f32[n, length] oldest first and padded with 0 in front, int64[n] how many are held)."""
        ring = next(r for r in self.swarm.processor.history if r.name == name)
        rows = self.ring(name)
        values = np.empty((self.n, ring.length), np.float32)
        held = np.empty(self.n, np.int64)
        gather_windows(rows, self.column(ring.count_field), values, held)
        return values, held
