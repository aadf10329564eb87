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
    before the first one and where nobody was active; those of a fitness also where nobody had one
    that is finite), children since tick 0.

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


def ancestors(
    births: Iterable[Mapping[str, Any]], entity: int, plan: Plan,
    takeovers: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """The mothers of an entity, itself first: what came into its place last, then into that of the
    mother before it, and so on, as far as it is known.

    ``births``: hijo, madre, padre, generacion, how, genes, tick, in any order. ``takeovers``:
    events of fusions and divisions. A fusion is not followed where there are genes: it hands on
    none.
    """
    by_place: dict[int, list[Mapping[str, Any]]] = {}
    for birth in births:
        by_place.setdefault(int(birth["hijo"]), []).append(birth)
    by_block: dict[int, list[Mapping[str, Any]]] = {}
    for event in takeovers:
        index = plan.block_index(event["bloque"])
        if index is not None:
            by_block.setdefault(index, []).append(event)
    found: list[dict[str, Any]] = []
    place, before = entity, (1 << 63, 0)
    while True:
        block = plan.block_of(place)
        events = by_block.get(-1 if block is None else block, ())
        taken = (_taken(plan, event, place) for event in events)
        came = [((int(b["tick"]), 0), b) for b in by_place.get(place, ())]
        came += [((int(b["tick"]), 1), b) for b in taken if b is not None]  # behind an evolution
        earlier = [one for one in came if one[0] < before]
        if not earlier:
            return found
        before, birth = max(earlier, key=lambda one: one[0])
        found.append(dict(birth))
        place = int(birth["madre"])


def _taken(plan: Plan, event: Mapping[str, Any], place: int) -> dict[str, Any] | None:
    """What a fusion or a division made of an entity of its block, as a birth; None: nothing."""
    weak, donor = (plan.block_index(one) for one in (event["bloque"], event["detalle"]["donor"]))
    assert weak is not None
    if donor is None:
        return None
    number = place - int(plan.blocks["first_id"][weak])
    places = event["detalle"].get("places")
    genes = plan.swarms[int(plan.blocks["swarm"][weak])].processor.genes
    if (places is None and genes) or (places is not None and number % 2 != (places == "odd")):
        return None
    mother = plan.blocks[donor]
    return {
        "hijo": place, "padre": None, "generacion": None, "how": event["tipo"], "genes": None,
        "madre": int(mother["first_id"]) + number % int(mother["entidades"]),
        "tick": int(event["tick"]),
    }  # fmt: skip
