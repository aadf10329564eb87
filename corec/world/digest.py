"""The digest: BLAKE2b-128 over the committed state of all entities at one tick, in id order.

Per block, in order of ids: valor, the state fields, activo, fallos, racha, and of each history how
many values are held and the values, oldest first. Ids, canal and counts enter as the block's
header. Equal digests mean bit-identical entities; which worker ticked a block does not enter.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from corec.plan import Plan
from corec.runtime import Runtime
from corec.world.read import BlockView

DIGEST_BYTES = 16


class WorldMoved(RuntimeError):
    """The world ticked while it was read as a whole: no hold was in force."""


def digest_of(plan: Plan, words: NDArray[np.uint64]) -> tuple[int, str]:
    """(tick, hex digest) of a world that stands still.

    Raises:
        WorldMoved: blocks of different ticks, or a commit while reading.
    """
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    tick = -1
    for index in range(plan.n_blocks):
        view = BlockView(plan, words, index)
        if tick not in (-1, view.tick):
            raise WorldMoved(f"found a block at tick {view.tick} beside one at tick {tick}")
        tick = view.tick
        total.update(struct.pack("<IiI", view.first_id, view.swarm.canal, view.n))
        total.update(view.column("valor").data)
        for field in view.swarm.processor.state:
            total.update(view.column(field.name).data)
        total.update(view.activo.data)
        total.update(view.fallos.data)
        total.update(view.racha.data)
        for ring in view.swarm.processor.history:
            values, held = view.history(ring.name)
            total.update(held.data)
            if held.any():
                total.update(np.ascontiguousarray(values).data)
        if view.commit_word() != view.word:
            raise WorldMoved(f"block {index} committed while it was read")
    return tick, total.hexdigest()


def world_digest(rt: Runtime) -> tuple[int, str]:
    """``digest_of`` the running instance; the caller holds the ticks."""
    return digest_of(rt.plan, rt.world.words)
