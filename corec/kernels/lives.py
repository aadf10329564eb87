"""What births and deaths of a step leave in a block: who is active, whose failures are whose.

The kernel of the swarm has settled them in the hot copy that the step writes (``entities.lives``);
here the cold columns follow, and where there are births the genes, each in the copy that does not
count, as everything is (``block``): the worker that owns the block writes them, a redo writes them
again out of the copies that the committed words name, and nobody reads them before the commit.
"""

from __future__ import annotations

from numba import int64, uint8, uint32, uint64

from corec.kernels import desc as K
from corec.kernels.address import copy_memory, load_f4, load_u8, store_f4, store_u8, u1_at, u4_at
from corec.kernels.block_words import (
    COLD_ACTIVO,
    COLD_FALLOS,
    COLD_RACHA,
    add,
    cold_offset,
    genes_of,
    own_cold,
)
from corec.layout import (
    D_ACTIVAS,
    D_ACTIVO_SEL,
    D_BIRTHS,
    D_DEATHS,
    D_FALLOS_SEL,
    D_GENES_SEL,
    D_NO_ROOM,
    D_SICK,
    NO_RUN,
)
from shm.jit import inner


@inner
def clear(births):
    """No birth yet in this step."""
    store_u8(births, uint64(0))
    store_u8(births + 8, uint64(0))


@inner
def births_of(births):
    """How many were asked for, and have a record."""
    return int64(load_u8(births))


@inner
def take_back(births, count, homeless):
    """Only the first ``count`` were asked for, and only so many found no place."""
    store_u8(births, uint64(count))
    store_u8(births + 8, uint64(homeless))


@inner
def lost(births):
    """How many found no place."""
    return int64(load_u8(births + 8))


@inner
def no_room(births, count, mother_at):
    """The last ``count`` births find no place."""
    store_u8(births + 8, load_u8(births + 8) + uint64(count))
    store_u8(births + 16, load_u8(mother_at))


@inner
def living_only(row, copy, run):
    """Take who does not live out of ``run``; how many are left."""
    n = run.shape[0]
    vivo = u1_at(copy + row[K.W_VIVO], n)
    total = 0
    for i in range(n):
        run[i] &= uint8(vivo[i] != 0)
        total += int64(run[i])
    return total


@inner
def settle_lives(block, row, dyn, cold, old, new, held):
    """Bring activo, fallos and racha after what the copy ``new`` says and ``old`` did not.

    ``held``: the copy of fallos that the committed words name, which is not written.
    """
    n = block[K.B_N]
    add(dyn, D_NO_ROOM, lost(row[K.W_BIRTHS]))
    before, now = u1_at(old + row[K.W_VIVO], n), u1_at(new + row[K.W_VIVO], n)
    older = u4_at(old + row[K.W_GENERACION], n)
    newer = u4_at(new + row[K.W_GENERACION], n)
    changed = False
    for i in range(n):
        changed |= (before[i] != now[i]) | (older[i] != newer[i])
    if not changed:
        return
    cap = row[K.W_CAP]
    if int64(dyn[D_FALLOS_SEL]) == held:
        own_cold(cold, cap, dyn, D_FALLOS_SEL, COLD_FALLOS, n)
    own_cold(cold, cap, dyn, D_ACTIVO_SEL, COLD_ACTIVO, n)
    fallos = u4_at(cold + cold_offset(cap, COLD_FALLOS, int64(dyn[D_FALLOS_SEL])), n)
    racha = u1_at(cold + cold_offset(cap, COLD_RACHA, int64(dyn[D_FALLOS_SEL])), n)
    activo = u1_at(cold + cold_offset(cap, COLD_ACTIVO, int64(dyn[D_ACTIVO_SEL])), n)
    births = deaths = sick = activas = 0
    for i in range(n):
        if older[i] != newer[i]:
            births += 1
            deaths += int64(before[i] != 0)
            fallos[i], racha[i], activo[i] = uint32(0), uint8(NO_RUN), uint8(1)
        elif now[i] == 0 and before[i] != 0:
            deaths += 1
            activo[i] = uint8(0)
        sick += int64(racha[i] != 0)
        activas += int64(activo[i])
    dyn[D_SICK], dyn[D_ACTIVAS] = uint64(sick), uint64(activas)
    add(dyn, D_BIRTHS, births)
    add(dyn, D_DEATHS, deaths)
    if births > 0 and row[K.W_GENES] > 0:
        inherit(block, row, dyn, older, newer)


@inner
def inherit(block, row, dyn, older, newer):
    """Those whose ``generacion`` is another have the genes of their mothers, in the copy that the
    committed words do not name: the children of this step, in order of places, which is theirs."""
    old = genes_of(block, row, dyn)
    own_genes(block, row, dyn)
    new, gap = genes_of(block, row, dyn), row[K.W_GENES_BYTES] // row[K.W_GENES]
    mother_at = row[K.W_BIRTHS] + K.BIRTHS_HEAD + row[K.W_RECORD] - 8
    for i in range(older.shape[0]):
        if older[i] != newer[i]:
            mother = int64(load_u8(mother_at)) - block[K.B_FIRST]
            give_genes(row[K.W_GENES], gap, old + 4 * mother, new + 4 * i)
            mother_at += row[K.W_RECORD]


@inner
def own_genes(block, row, dyn):
    """Name the other copy of the genes, with what the one that counted has."""
    old = genes_of(block, row, dyn)
    dyn[D_GENES_SEL] = uint64(1) - dyn[D_GENES_SEL]
    copy_memory(genes_of(block, row, dyn), old, row[K.W_GENES_BYTES])


@inner
def give_genes(count, gap, source, target):
    """``count`` genes of one entity, ``gap`` bytes apart, to another."""
    for k in range(count):
        store_f4(target + k * gap, load_f4(source + k * gap))
