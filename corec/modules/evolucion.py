"""``ModuloEvolucion``: follows the generations, and tells when a swarm's evolution stands still.

The evolution itself is part of the world's ticks (``corec.world.phases``): the bloque's
``evolucion`` says whether there is one, and it goes on without this module and without a nucleus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from corec.log import get_logger
from corec.modules.base import ModuloBase

log = get_logger(__name__)

LOOK_SECONDS: Final = 1.0
PATIENCE_GENERATIONS: Final = 100
"""So many without a better best are a standstill."""
BETTER: Final = 1e-4
"""By less than this share a best is no better: what is left is polish."""


class Best(NamedTuple):
    """The best of a swarm, and since which generation it is."""

    mejor: float
    generacion: int
    told: bool


def standstill(
    known: dict[str, Best], swarms: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The swarms of ``w.evolution()`` that are to be told of now; ``known`` is brought up to
    date."""
    found: list[Mapping[str, Any]] = []
    for one in swarms:
        name, mejor, generation = str(one["id"]), one["mejor"], int(one["generacion"])
        if mejor is None or one["cada"] is None:
            known.pop(name, None)
            continue
        best = known.get(name)
        anew = best is None or generation < best.generacion
        if best is None or anew or mejor > best.mejor + BETTER * abs(best.mejor):
            known[name] = Best(mejor, generation, told=False)
        elif not best.told and generation - best.generacion >= PATIENCE_GENERATIONS:
            known[name] = best._replace(told=True)
            found.append({**one, "since": best.generacion})
    return found


class ModuloEvolucion(ModuloBase):
    """Events ``evolution_stalled``."""

    nombre = "evolucion"

    async def inicializar(self) -> None:
        self._known: dict[str, Best] = {}
        self._of_use = any(s.processor.genes for s in self.nucleus.rt.plan.swarms)

    async def ejecutar(self) -> None:
        while self._of_use:
            self.look(self.nucleus.views.totals.read().get("evolution", []))
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, swarms: Sequence[Mapping[str, Any]]) -> None:
        """Tell of a standstill."""
        for one in standstill(self._known, swarms):
            detail = {"swarm": one["id"], "generacion": one["generacion"], "since": one["since"],
                      "mejor": one["mejor"], "diversidad": one["diversidad"]}  # fmt: skip
            log.info("an evolution stands still", **detail)
            self.nucleus.events.emit("evolution_stalled", detail)
