"""Columns of a swarm at one tick, out of a world that may be ticking: copies, nothing is held.

Theory.  A commit word names the copies that count, and the copy that it names is written only
after the next commit (``corec.world.read``).  So: read the words of all blocks; when they are at
one tick, and none is within the next, copy the columns; read the words again.  Unchanged, every
value is that tick's; changed, all of it is thrown away (``Apart``), and the reader tries again or
asks the instance for a hold.  Readers write nothing.

The blocks of a swarm are alike and equally far apart, so one column of all of them is one strided
array, and its copy one call: a million values in a millisecond or two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.kernels.whole import gather_dynamic
from corec.kernels.windows import gather_windows
from corec.plan import Plan, Swarm, columns_of
from corec.world.read import place_of

_SAID = [L.D_TICK, L.D_STEP]


class Apart(Exception):
    """The blocks were not at rest at one tick while they were read."""


def column_names(swarm: Swarm) -> tuple[list[str], list[str]]:
    """What can be read of each entity of ``swarm``: its columns, and its histories."""
    return columns_of(swarm.processor), [ring.name for ring in swarm.processor.history]


def read_columns(
    plan: Plan, words: NDArray[np.uint64], swarm: Swarm, names: list[str], blocks: NDArray[np.int64]
) -> tuple[int, dict[str, NDArray[Any]]]:
    """(tick, name → values) of the entities in the blocks numbered ``blocks`` (ascending) of
    ``swarm``, one after the other. A history is f4[n, length], oldest first, NaN where none is yet.

    Raises:
        Apart: a block was in another tick, or committed meanwhile.
    """
    starts = plan.blocks["offset"][swarm.first_block + blocks] // 8
    dyn = np.zeros((len(blocks), L.DYN_WORDS), np.uint64)
    if gather_dynamic(words, starts, dyn):
        raise Apart
    said = dyn[:, _SAID]
    if (said[:, 0] != said[0, 0]).any() or said[:, 1].any():
        raise Apart
    rings = {ring.name: ring for ring in swarm.processor.history}
    found = {
        name: _windows(plan, words, swarm, rings[name], blocks, dyn)
        if name in rings
        else _column(plan, words, swarm, name, blocks, dyn)
        for name in names
    }
    after = np.zeros_like(dyn)
    if gather_dynamic(words, starts, after) or (after[:, _SAID] != said).any():
        raise Apart
    return int(said[0, 0]), found


def column_bytes(plan: Plan, swarm: Swarm, names: list[str], blocks: NDArray[np.int64]) -> int:
    """How much ``read_columns`` copies."""
    rings = {ring.name: 4 * ring.length for ring in swarm.processor.history}
    each = sum(
        rings[name] if name in rings else np.dtype(place_of(swarm, name).dtype).itemsize
        for name in names
    )
    return each * _entities(plan, swarm, blocks)


def _entities(plan: Plan, swarm: Swarm, blocks: NDArray[np.int64]) -> int:
    """How many the blocks hold: only the swarm's last block may not be full."""
    return int(plan.blocks["entidades"][swarm.first_block + blocks].sum())


def _rows(
    plan: Plan, words: NDArray[np.uint64], swarm: Swarm, at: int, shape: tuple[int, ...], dtype: str
) -> NDArray[Any]:
    """What lies ``at`` bytes behind the start of each block of ``swarm``, block by block."""
    first = plan.blocks[swarm.first_block]
    size = np.dtype(dtype).itemsize
    inner = [size * int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    return np.ndarray(
        (swarm.blocks, *shape), dtype, words, int(first["offset"]) + at,
        (swarm.block_bytes, *inner),
    )  # fmt: skip


def _column(
    plan: Plan, words: NDArray[np.uint64], swarm: Swarm, name: str, blocks: NDArray[np.int64],
    dyn: NDArray[np.uint64],
) -> NDArray[Any]:  # fmt: skip
    place = place_of(swarm, name)
    start = int(plan.blocks["hot"][swarm.first_block]) + place.offset
    whole = len(blocks) == swarm.blocks
    out = np.empty((len(blocks), swarm.cap), place.dtype)
    for copy in (0, 1):
        mine = dyn[:, place.selector] == copy
        if not mine.any():
            continue
        rows = _rows(plan, words, swarm, start + copy * place.between, (swarm.cap,), place.dtype)
        if whole and mine.all():
            out[:] = rows
        else:
            out[mine] = rows[blocks[mine]]
    return out.reshape(-1)[: _entities(plan, swarm, blocks)]


def _windows(
    plan: Plan, words: NDArray[np.uint64], swarm: Swarm, ring: Any, blocks: NDArray[np.int64],
    dyn: NDArray[np.uint64],
) -> NDArray[np.float32]:  # fmt: skip
    counts = _column(plan, words, swarm, ring.count_field, blocks, dyn)
    out = np.empty((len(counts), ring.length), np.float32)
    held = np.empty(len(counts), np.int64)
    start = int(plan.blocks["hist"][swarm.first_block])
    start += swarm.processor.history_offsets(swarm.cap)[ring.name]
    if ring.by_time:
        rows = _rows(plan, words, swarm, start, (ring.slots, swarm.cap), "f4").transpose(0, 2, 1)
    else:
        rows = _rows(plan, words, swarm, start, (swarm.cap, ring.slots), "f4")
    for k, block in enumerate(blocks.tolist()):
        mine = slice(k * swarm.cap, min(len(counts), (k + 1) * swarm.cap))
        table = rows[block, : mine.stop - mine.start]
        gather_windows(table, counts[mine], out[mine], held[mine])
    out[np.arange(ring.length) < ring.length - held[:, None]] = np.nan
    return out
