"""How evolution fares, out of the words that blocks keep of their last one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.plan import Plan
from corec.world.read import dynamic_words


def evolution(
    plan: Plan, words: NDArray[np.uint64], dyn: NDArray[np.uint64] | None = None
) -> list[dict[str, Any]]:
    """Of each swarm with genes: generation, figures of the last evolution over its blocks (None
    before the first one and where nobody was active; those of a fitness also where nobody had one
    that is finite), children since tick 0, who took over in a fusion or a division among them.

    ``mejor`` is the best of its blocks, ``peor`` the worst; ``media`` and ``diversidad`` are the
    means of its blocks, by their active entities.
    """
    dyn = dynamic_words(plan, words) if dyn is None else dyn
    numbers = dyn.view(np.float64)
    found = []
    for swarm in plan.swarms:
        if not swarm.processor.genes or swarm.first_number:
            continue
        parts = [part.index for part in plan.swarms if part.bloque == swarm.bloque]
        mine = np.flatnonzero(np.isin(plan.blocks["swarm"], parts))
        generation = int(dyn[mine, L.D_GENERATION].max())
        best, worst = numbers[mine, L.D_BEST], numbers[mine, L.D_WORST]
        begun = dyn[mine, L.D_GENERATION] > 0  # not yet those that it grew by in between
        active = dyn[mine, L.D_ACTIVAS].astype(np.float64) * begun
        some = begun & np.isfinite(best)
        judged, there = active * some, bool(some.any())

        def mean(word: int, weight: NDArray[Any], mine: NDArray[Any] = mine) -> float:
            values = np.where(weight > 0, numbers[mine, word], 0.0)
            return float((values * weight).sum() / weight.sum())

        found.append(
            {
                "id": swarm.id,
                "generacion": generation,
                "mejor": float(best[some].max()) if there else None,
                "media": mean(L.D_MEAN_FITNESS, judged) if judged.any() else None,
                "peor": float(worst[some].min()) if there else None,
                "diversidad": mean(L.D_DIVERSITY, active) if active.any() else None,
                "hijos": int(dyn[mine, L.D_REBORN].sum()),
                "cada": swarm.evolucion.cada if swarm.evolucion is not None else None,
            }
        )
    return found
