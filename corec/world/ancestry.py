"""Ancestors of an entity, out of what was told of births and of blocks that took over others'.

A place is reborn again and again; each step takes what came into it last before the step before. Of
one tick, an evolution comes before a fusion or a division (``corec.world.phases``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final, Protocol

from corec.plan import Plan

FOR_EVER: Final = (1 << 63) - 1
"""No tick is later."""
Event = Mapping[str, Any]
"""As in the table ``eventos``: tick, tipo, bloque, entidad, detalle."""


class Told(Protocol):
    """Who knows the events."""

    def birth(self, place: int, upto: int) -> Event | None:
        """The last birth in a place up to a tick."""

    def takeover(self, bloque: str, places: str, whole: bool, upto: int) -> Event | None:
        """The last time up to a tick that a block took over these ``places`` (``even``, ``odd``) of
        another, or, if ``whole``, all of it."""


class Remembered:
    """Events that are in memory, in any order."""

    def __init__(self, births: Iterable[Event], takeovers: Iterable[Event]) -> None:
        self._births: dict[int, list[Event]] = {}
        self._takeovers: dict[tuple[str, str | None], list[Event]] = {}
        tick = itemgetter("tick")
        for event in sorted(births, key=tick):
            self._births.setdefault(int(event["entidad"]), []).append(event)
        for event in sorted(takeovers, key=tick):
            key = event["bloque"], event["detalle"].get("places")
            self._takeovers.setdefault(key, []).append(event)

    def birth(self, place: int, upto: int) -> Event | None:
        """As ``Told``."""
        return _last(self._births.get(place, []), upto)

    def takeover(self, bloque: str, places: str, whole: bool, upto: int) -> Event | None:
        """As ``Told``."""
        kinds = (places, None) if whole else (places,)
        some = (_last(self._takeovers.get((bloque, kind), []), upto) for kind in kinds)
        return max((one for one in some if one is not None), key=itemgetter("tick"), default=None)


def _last(events: list[Event], upto: int) -> Event | None:
    at = bisect_right(events, upto, key=itemgetter("tick"))
    return events[at - 1] if at else None


def ancestors(told: Told, entity: int, plan: Plan, limit: int) -> list[dict[str, Any]]:
    """The mothers of an entity, itself first, as far as they are known and ``limit`` at most: what
    came into its place last, then into that of the mother before it, and so on.

    A fusion is not followed where there are genes: it hands on none.
    """
    found: list[dict[str, Any]] = []
    place, tick, behind = entity, FOR_EVER, 0
    while len(found) < limit and (block := plan.block_of(place)) is not None:
        number = place - int(plan.blocks["first_id"][block])
        genes = plan.swarms[int(plan.blocks["swarm"][block])].processor.genes
        half = "odd" if number % 2 else "even"
        birth = told.birth(place, tick - 1 + behind)
        event = told.takeover(plan.block_id(block), half, not genes, tick - 1)
        if event is not None and (birth is None or event["tick"] >= birth["tick"]):
            one, behind = _taken(plan, event, place, number), 1
        else:
            one, behind = None if birth is None else _born(birth), 0
        if one is None:
            break
        found.append(one)
        place, tick = one["madre"], one["tick"]
    return found


def _born(event: Event) -> dict[str, Any]:
    return {"hijo": int(event["entidad"]), "tick": int(event["tick"]), **event["detalle"]}


def _taken(plan: Plan, event: Event, place: int, number: int) -> dict[str, Any] | None:
    """What a fusion or a division made of the entity, as a birth; None: of whom is not known."""
    donor = plan.block_index(event["detalle"]["donor"])
    if donor is None:
        return None
    mother = plan.blocks[donor]
    return {
        "hijo": place, "padre": None, "generacion": None, "how": event["tipo"], "genes": None,
        "madre": int(mother["first_id"]) + number % int(mother["entidades"]),
        "tick": int(event["tick"]),
    }  # fmt: skip
