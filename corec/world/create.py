"""Making the world: headers and initial state of every block, before anyone ticks."""

from __future__ import annotations

from collections.abc import Callable

import google_crc32c
import numpy as np
from numba import int64, njit, types, uint64

from corec import layout as L
from corec.entities.processor import ProcessorError
from corec.kernels import desc as K
from corec.kernels.address import call_kernel, u1_at, u8_at
from corec.kernels.block_words import COLD_ACTIVO, cold_offset, set_f
from corec.plan import Plan, block_layout_hash
from corec.world.tables import Tables
from shm.atomics import store_release

CHUNK_BLOCKS = 64


@njit(
    types.int64(types.int64[:, ::1], types.int64[:, ::1], types.int64, types.int64, types.uint64),
    cache=True,
    nogil=True,
)
def init_range(blocks, swarms, lo, hi, seed):  # type: ignore[no-untyped-def]  # numba types it
    """Initial state of the blocks ``lo … hi−1``, committed as tick 0; returns failed inits."""
    faults = 0
    for b in range(lo, hi):
        block = blocks[b]
        row = swarms[block[K.B_SWARM]]
        n = block[K.B_N]
        faults += call_kernel(
            row[K.W_INIT],
            (block[K.B_HOT], block[K.B_HIST], block[K.B_FIRST], int64(seed), row[K.W_PARAMS], 0, n),
        )
        cold = block[K.B_HOT] + row[K.W_COLD]
        activo = u1_at(cold + cold_offset(row[K.W_CAP], COLD_ACTIVO, 0), n)
        for i in range(n):
            activo[i] = 1
        dyn = u8_at(block[K.B_BASE] + L.OFF_DYN[0], L.DYN_WORDS)
        set_f(dyn, L.D_UMBRAL, 0.5)
        set_f(dyn, L.D_FITNESS, 1.0)
        dyn[L.D_ACTIVAS] = uint64(n)
        store_release(u8_at(block[K.B_BASE], L.OFF_COMMIT // 8 + 1), L.OFF_COMMIT // 8, uint64(0))
    return faults


def write_headers(plan: Plan, world: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    """The static header of every block: what it is, and a checksum over that."""
    for index in range(plan.n_blocks):
        place = plan.blocks[index]
        swarm = plan.swarms[int(place["swarm"])]
        header = np.zeros(1, L.BLOCK_STATIC)
        header["magic"] = L.BLOCK_MAGIC
        header["layout_hash"] = block_layout_hash(swarm)
        header["index"], header["swarm"] = index, swarm.index
        header["number"] = index - swarm.first_block
        header["entidades"], header["first_id"] = place["entidades"], place["first_id"]
        header["cap"], header["canal"] = swarm.cap, swarm.canal
        header["kind"] = L.KIND_MICRO if swarm.processor.kind == "micro" else L.KIND_CELU
        header["block_bytes"] = swarm.block_bytes
        for name in ("hot", "log", "model", "hist"):
            header[f"{name}_off"] = place[name]
        header["log_cap"], header["model_bytes"] = place["log_cap"], place["model_bytes"]
        header["crc32c"] = google_crc32c.value(header.tobytes()[:-8])
        start = int(place["offset"])
        world[start : start + L.BLOCK_STATIC.itemsize] = np.frombuffer(header.tobytes(), np.uint8)


def create_world(
    plan: Plan,
    world: np.ndarray[tuple[int], np.dtype[np.uint8]],
    tables: Tables,
    seed: int,
    progress: Callable[[int, int], None],
) -> None:
    """Fill a zeroed world; ``progress(done, total)`` is called with counts of entities.

    Raises:
        ProcessorError: an ``init`` function failed (raised, or returned a non-finite value).
    """
    write_headers(plan, world)
    done = 0
    for lo in range(0, plan.n_blocks, CHUNK_BLOCKS):
        hi = min(lo + CHUNK_BLOCKS, plan.n_blocks)
        faults = int(init_range(tables.blocks, tables.swarms, lo, hi, np.uint64(seed)))
        if faults:
            name = plan.swarms[int(plan.blocks["swarm"][lo])].processor.name
            raise ProcessorError(f"{name}: its init fails for {faults} of the first entities")
        done += int(plan.blocks["entidades"][lo:hi].sum())
        progress(done, plan.entidades)
