"""How evolution fares, out of the words that blocks keep of their last one; and ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    before the first one, and for a fitness that is no number), children since tick 0.

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
        some = np.isfinite(best) & (generation > 0)
        active = dyn[mine, L.D_ACTIVAS].astype(np.float64) * some
        there = bool(active.sum())

        def mean(word: int, mine: NDArray[Any] = mine, active: NDArray[Any] = active) -> float:
            values = np.where(active > 0, numbers[mine, word], 0.0)
            return float((values * active).sum() / active.sum())

        found.append(
            {
                "id": swarm.id,
                "generacion": generation,
                "mejor": float(best[some].max()) if there else None,
                "media": mean(L.D_MEAN_FITNESS) if there else None,
                "peor": float(worst[some].min()) if there else None,
                "diversidad": mean(L.D_DIVERSITY) if there else None,
                "hijos": int(dyn[mine, L.D_REBORN].sum()),
                "cada": swarm.evolucion.cada if swarm.evolucion is not None else None,
            }
        )
    return found


def ancestors(births: Iterable[Mapping[str, Any]], entity: int) -> list[dict[str, Any]]:
    """The mothers of an entity, itself first: the latest birth in its place, then that of the
    mother before it, and so on, as far as births are known.

    ``births``: hijo, madre, padre, generacion, how, genes and more, in any order.
    """
    by_place: dict[int, list[Mapping[str, Any]]] = {}
    for birth in births:
        by_place.setdefault(int(birth["hijo"]), []).append(birth)
    found: list[dict[str, Any]] = []
    place, before = entity, 1 << 63
    while True:
        earlier = [b for b in by_place.get(place, ()) if int(b["generacion"]) < before]
        if not earlier:
            return found
        birth = max(earlier, key=lambda b: int(b["generacion"]))
        found.append(dict(birth))
        place, before = int(birth["madre"]), int(birth["generacion"])
