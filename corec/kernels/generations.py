"""What an evolution says of a block: a frame of the rows lane, published before its commit.

Who writes: the worker that owns the block, into its own rows lane, behind the genes and the state
and before the dynamic words (``evolution``). A kill between publish and commit publishes the same
frame again; the persister drops the repeat by its key (``corec.layout.frames``).
"""

from __future__ import annotations

from typing import Any

from numba import int64, uint32, uint64

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels import evolution_desc as E
from corec.kernels import evolving as V
from corec.kernels.address import load_f4, store_f4, store_f8, store_u4, store_u8, u4_at
from corec.kernels.block_words import get_f
from corec.kernels.genes import four_words
from corec.layout.frames import generation_bytes, genes_bytes, row_word
from corec.layout.generation import BORN_CHILD, BORN_MIGRANT
from shm.jit import inner
from shm.ring import frame_payload_offset, frame_write_header, lane_publish, lane_reserve

HEAD_BYTES = L.GENERATION.itemsize
RECORD_BYTES = L.LINEAGE.itemsize
_FIELDS: Any = L.GENERATION.fields
assert [at for _, at in _FIELDS.values()] == [0, 8, 16, 24, 32, 40, 48, 52, 56, 60]


@inner
def listed_of(block, rule, after, seed, count, kids, listed):
    """Which of ``count`` kids are listed, by chance: their places in the list; how many."""
    below = uint64(rule[E.E_LISTED_BELOW])
    if below == uint64(0):
        return 0
    found = 0
    for k in range(count):
        drawn = four_words(block[K.B_FIRST] + int64(kids[k]), V.NORMAL_GROUP - 1, after, seed)
        if (drawn[1] & uint64(0xFFFFFFFF)) < below:
            listed[found] = uint32(k)
            found += 1
    return found


@inner
def copy_genes(at, home, gap, count):
    """The genes of one entity, the first of which is at ``home``, to ``at``."""
    for j in range(count):
        store_f4(at + 4 * j, load_f4(home + j * gap))


@inner
def parents_of(block, row, rule, k, migrants, work):
    """The ids of the mother and the father of the k-th of the new ones: the same where it had one
    parent."""
    if k < migrants:
        one = int64(u4_at(work[E.A_MIGRANT_ID], migrants)[k])
        return one, one
    who = u4_at(work[E.A_WHO], 1)
    first = row[K.W_FIRST_ID] if rule[E.E_SWARM] != 0 else block[K.B_FIRST]
    mother, father = u4_at(work[E.A_MOTHER], k + 1)[k], u4_at(work[E.A_FATHER], k + 1)[k]
    return first + int64(who[mother]), first + int64(who[father])


@inner
def tell(
    rows, block, row, rule, dyn, step, targs, best, active, old, new, count, migrants, work,
):  # fmt: skip
    """Publish the frame of a generation, if one is due; false: the lane has no room.

    ``old``, ``new``: addresses of the genes before and after.
    """
    generation = int64(dyn[L.D_GENERATION])
    kids, listed = u4_at(work[E.A_KIDS], count), u4_at(work[E.A_LIST], count)
    after, seed = targs[K.T_TICK] - 1, targs[K.T_SEED]
    records = listed_of(block, rule, after, seed, count, kids, listed)
    told = rule[E.E_TOLD]
    if records == 0 and (told == 0 or (generation != 1 and generation % told != 0)):
        return True
    ctl, data = rows
    genes = row[K.W_GENES]
    gap = row[K.W_GENES_BYTES] // genes
    size = generation_bytes(genes, records)
    position = lane_reserve(ctl, data, size)
    if position < 0:
        return False
    frame_write_header(
        data, position, size, L.KIND_GENERATION_FRAME, 0, block[K.B_INDEX], records,
        uint64(targs[K.T_TICK]), uint64(row_word(step, 0)),
    )  # fmt: skip
    at = data[frame_payload_offset(data, position) :].ctypes.data
    store_u8(at, uint64(targs[K.T_UNIX_NS]))
    store_u8(at + 8, uint64(generation))
    store_f8(at + 16, get_f(dyn, L.D_BEST))
    store_f8(at + 24, get_f(dyn, L.D_MEAN_FITNESS))
    store_f8(at + 32, get_f(dyn, L.D_WORST))
    store_f8(at + 40, get_f(dyn, L.D_DIVERSITY))
    store_u4(at + 48, uint32(active))
    store_u4(at + 52, uint32(count))
    store_u4(at + 56, uint32(block[K.B_FIRST] + best) if best >= 0 else uint32(0))
    store_u4(at + 60, uint32(genes if best >= 0 else 0))
    store_u8(at + HEAD_BYTES + genes_bytes(genes) - 8, uint64(0))
    copy_genes(at + HEAD_BYTES, old + 4 * max(best, 0), gap, genes)
    at += HEAD_BYTES + genes_bytes(genes)
    for m in range(records):
        k = int64(listed[m])
        mother, father = parents_of(block, row, rule, k, migrants, work)
        store_u4(at, uint32(block[K.B_FIRST] + int64(kids[k])))
        store_u4(at + 4, uint32(mother))
        store_u4(at + 8, uint32(father))
        store_u4(at + 12, uint32(BORN_MIGRANT if k < migrants else BORN_CHILD))
        store_u8(at + RECORD_BYTES + genes_bytes(genes) - 8, uint64(0))
        copy_genes(at + RECORD_BYTES, new + 4 * int64(kids[k]), gap, genes)
        at += RECORD_BYTES + genes_bytes(genes)
    lane_publish(ctl, data, position, size)
    return True
