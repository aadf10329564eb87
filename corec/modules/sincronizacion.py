"""``ModuloSincronizacion``: weak blocks, and who gives to them.

That a weak block takes over the state of a strong one is part of the world's ticks: the workers do
it, between two of them (``corec.world.fusion``), where this module's name is in ``modules``, and it
goes on without a nucleus. Here is told what they can't help: a block that is weak while no strong
one may give to it stays as it is until somebody looks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.log import get_logger
from corec.modules.base import ModuloBase
from corec.world.fusion import donors, kinds_of
from corec.world.read import dynamic_words

log = get_logger(__name__)

LOOK_SECONDS: Final = 2.0
TOLD_MAX: Final = 10
"""Blocks of one look that are told of one by one; the last says how many more there are."""


def left_alone(
    fitness: NDArray[np.float64], least: NDArray[np.float64], kind: NDArray[np.int64]
) -> set[int]:
    """The weak blocks without a donor, of those that might have one (as ``donors`` takes them)."""
    weak = np.flatnonzero((fitness < least) & (kind >= 0)).tolist()
    return set(weak) - donors(fitness, least, kind).keys()


class ModuloSincronizacion(ModuloBase):
    """Events ``weak_block``, each block's once until it is strong again or has a donor."""

    nombre = "sincronizacion"

    async def inicializar(self) -> None:
        self._told: set[int] = set()

    async def ejecutar(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell of who is newly left alone."""
        rt = self.nucleus.rt
        kind = kinds_of(rt.plan)
        if not (kind >= 0).any():
            return
        now = self.nucleus.commands.settings.plan_now()  # a schedule sets it, too
        of_swarm = np.array([swarm.min_fitness for swarm in now.swarms])
        if not of_swarm.any():
            return
        try:
            dyn = dynamic_words(rt.plan, rt.world.words)
        except RuntimeError:
            return  # a block never held still: at the next look
        least = of_swarm[rt.plan.blocks["swarm"]]
        fitness = dyn.view(np.float64)[:, L.D_FITNESS]
        alone = left_alone(fitness, least, kind)
        news = sorted(alone - self._told, key=lambda block: float(fitness[block]))
        self._told = alone
        for place, block in enumerate(news[:TOLD_MAX]):
            detail: dict[str, Any] = {"fitness": float(fitness[block]),
                                      "min_fitness": float(least[block])}  # fmt: skip
            if place == TOLD_MAX - 1 and len(news) > TOLD_MAX:
                detail["more"] = len(news) - TOLD_MAX
            bloque, tick = rt.plan.block_id(block), int(dyn[block, L.D_TICK])
            log.warning("a weak block has no strong one to take from", bloque=bloque, **detail)
            self.nucleus.events.emit("weak_block", detail, bloque=bloque, tick=tick)
