"""The digest: BLAKE2b-128 over the committed state of all entities at one tick, in id order.

Per block, in order of ids: valor, the state fields, the genes, activo, fallos, racha, and of each
history how many values are held and the values, oldest first; where entities send or are mortal,
what was sent in that tick, the children that have no place yet, who wants to move. Ids, canal and
counts enter as the block's header. Equal digests mean bit-identical entities; which worker ticked a
block does not enter.

It is one hash over all of it in one order, a second for each gigabyte, so it is never taken of a
world that is held: a running world's is that of a snapshot (``corec.world.snapshot``).
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from corec.entities.post import has_post
from corec.plan import Plan
from corec.world.read import BlockView

DIGEST_BYTES = 16


class WorldMoved(RuntimeError):
    """The world ticked while it was read as a whole: no hold was in force."""


class Digest:
    """The digest of a world that stands still, taken piece by piece in order of ids."""

    def __init__(self) -> None:
        self._total = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.tick = -1
        """The tick of the blocks so far; -1 before the first."""

    def add(self, plan: Plan, words: NDArray[np.uint64]) -> None:
        """Take in every block of ``plan``; ``words`` is its world as u64.

        Raises:
            WorldMoved: blocks of different ticks, or a commit while reading.
        """
        for index in range(plan.n_blocks):
            view = BlockView(plan, words, index)
            if self.tick not in (-1, view.tick):
                raise WorldMoved(f"found a block at tick {view.tick} beside one at {self.tick}")
            self.tick = view.tick
            self._add(view)
            if view.commit_word() != view.word:
                raise WorldMoved(f"block {index} committed while it was read")

    def _add(self, view: BlockView) -> None:
        update = self._total.update
        update(struct.pack("<IiI", view.first_id, view.swarm.canal, view.n))
        update(view.column("valor").data)
        for field in view.swarm.processor.state:
            update(view.column(field.name).data)
        for gene in view.swarm.processor.genes:
            update(view.column(gene.name).data)
        update(view.activo.data)
        update(view.fallos.data)
        update(view.racha.data)
        for ring in view.swarm.processor.history:
            values, held = view.history(ring.name)
            update(held.data)
            if held.any():
                update(values.data)
        if has_post(view.swarm.processor):
            for left in (view.sent, view.children, view.moves):
                update(struct.pack("<I", len(left)))
                update(left.tobytes())

    def hexdigest(self) -> str:
        """What was taken in so far, as 32 hex digits."""
        return self._total.hexdigest()


def digest_of(plan: Plan, words: NDArray[np.uint64]) -> tuple[int, str]:
    """(tick, hex digest) of a world that stands still.

    Raises:
        WorldMoved: blocks of different ticks, or a commit while reading.
    """
    digest = Digest()
    digest.add(plan, words)
    return digest.tick, digest.hexdigest()
