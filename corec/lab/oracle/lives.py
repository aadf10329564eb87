"""Births, deaths and moves as docs/rules.md gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corec.lab.oracle.block import Block
from corec.lab.oracle.held import Entity
from corec.lab.oracle.philox import word

TURN: Final = 2**32 - 1
"""The draw that decides whose turn it is to move, and which cell is whose."""


def lives_at_first(place: int, entidades: int, places: int) -> bool:
    """Whether somebody lives at a place of a swarm in which ``entidades`` of ``places`` do."""
    return (place + 1) * entidades // places > place * entidades // places


def settle(blocks: Sequence[Block], after: int) -> None:
    """Behind tick ``after``, in one bloque: children without a place, then who wants to move."""
    homes = {entity.id: block for block in blocks for entity in block.entities}
    free = [entity for block in blocks for entity in block.free_places()]
    moving = [e for block in blocks for e in block.done.moving if e.state["vivo"]]
    genes = {entity.id: entity.genes for block in blocks for entity in block.entities}
    concerned = set()
    for block in blocks:
        for given, mother in block.done.homeless:
            if not free:
                block.no_room += 1
                continue
            place = free.pop(0)
            homes[place.id].born_at(place, given, genes[mother.id])
            concerned.add(place.id)
    seed = blocks[0].seed

    def turn(entity: Entity) -> tuple[int, int]:
        return word(seed, entity.id, after, TURN), entity.id

    pairs = list(zip(sorted(moving, key=turn), sorted(free, key=turn), strict=False))
    for old, new in pairs:
        _move(old, new)
        new.genes = dict(genes[old.id])
        homes[new.id].moves += 1
        concerned |= {old.id, new.id}
    for block in blocks:
        if concerned & {entity.id for entity in block.entities}:
            block.take_means()


def _move(old: Entity, new: Entity) -> None:
    generacion = new.state["generacion"] + 1
    new.state = {**old.state, "generacion": generacion}
    new.activo, new.fallos = old.activo, old.fallos
    new.running_failures, new.ran_well = old.running_failures, old.ran_well
    old.state = {**old.state, "vivo": 0}
    old.activo = False
