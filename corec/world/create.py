"""Making the world: headers and initial state of every block, before anyone ticks."""

from __future__ import annotations

from collections.abc import Callable

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.fields import VIVO
from corec.entities.processor import ProcessorError
from corec.entities.told import read
from corec.kernels.desc import TOLD_WORDS
from corec.kernels.public import show_range
from corec.kernels.whole import init_range, settle_edited
from corec.plan import Plan, block_layout_hash
from corec.world.read import BlockView
from corec.world.tables import Tables

CHUNK_BLOCKS = 64


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


def copy_blocks(plan: Plan, world: NDArray[np.uint8], to: NDArray[np.uint8]) -> None:
    """Copy every block that stands still between two ticks into another, zeroed world: all but the
    room that nothing has been written to."""
    for index in range(plan.n_blocks):
        place = plan.blocks[index]
        start = int(place["offset"])
        end = start + plan.swarms[int(place["swarm"])].block_bytes
        kept = int(BlockView(plan, world.view(np.uint64), index).dyn[L.D_LOG_N])
        logged = start + int(place["log"]) + kept * L.LOG_DTYPE.itemsize
        hist = start + int(place["hist"])
        to[start:logged] = world[start:logged]
        to[hist:end] = world[hist:end]


def first_genes(plan: Plan, tables: Tables, first: int, seed: int) -> None:
    """Genes of the blocks from ``first`` on, before their initial state, which may read them."""
    if any(swarm.processor.genes for swarm in plan.swarms):
        from corec.kernels.genes import draw_genes  # compiled for those worlds alone

        draw_genes(tables.blocks, tables.swarms, first, plan.n_blocks, np.uint64(seed))


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
    first_genes(plan, tables, 0, seed)
    done = 0
    told = np.zeros(TOLD_WORDS, np.int64)
    for lo in range(0, plan.n_blocks, CHUNK_BLOCKS):
        hi = min(lo + CHUNK_BLOCKS, plan.n_blocks)
        arguments = (tables.blocks, tables.swarms, lo, hi, np.uint64(seed), told.ctypes.data)
        faults = int(init_range(*arguments))
        if faults:
            raise ProcessorError(_init_text(plan, tables, told, faults))
        for index in range(lo, hi):
            free_at_first(plan, world, tables, index)
        done += int(plan.blocks["entidades"][lo:hi].sum())
        progress(done, plan.entidades)
    show_range(tables.blocks, tables.swarms, 0, plan.n_blocks)


def free_at_first(plan: Plan, world: NDArray[np.uint8], tables: Tables, index: int) -> None:
    """Of a block of mortals: some places are free at first, evenly spread over the swarm."""
    swarm = plan.swarms[int(plan.blocks["swarm"][index])]
    if not swarm.processor.mortal or swarm.living == swarm.entidades:
        return
    view = BlockView(plan, world.view(np.uint64), index)
    first = int(plan.blocks["first_id"][index]) - swarm.first_id
    place = np.arange(first, first + view.activo.size + 1) * swarm.living // swarm.entidades
    leave_free(view, tables, np.diff(place) > 0)


def leave_free(view: BlockView, tables: Tables, lives: NDArray[np.bool_] | int) -> None:
    """Of a block of mortals: only ``lives`` do, and the other places are free."""
    view.column(VIVO)[:] = lives
    view.activo[:] = lives
    settle_edited(tables.blocks, tables.swarms, view.index)


def _init_text(plan: Plan, tables: Tables, told: NDArray[np.int64], faults: int) -> str:
    entity = int(told[1])
    swarm = plan.swarms[int(plan.blocks["swarm"][plan.block_of(entity)])]
    failure = read(told, tables.kernels[swarm.index].sites)
    assert failure is not None  # one of the faults left it
    return f"{swarm.processor.name}: its init fails for {faults} entities, {entity}: {failure.what}"
