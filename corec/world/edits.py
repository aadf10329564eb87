"""State that is written from outside between two ticks, checked and stored.

Who writes: whoever owns the blocks, while no tick runs: a world in this process at once, the
nucleus of an instance while it holds the world, its workers in a phase (``corec.world.writes``).
Values are stored into the copies that count, in place: what is written twice is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.entities.fields import VIVO
from corec.kernels.whole import settle_edited
from corec.plan import Plan, Swarm
from corec.world.read import BlockView, place_of
from corec.world.tables import Tables
from shm.killpoint import kill_point, register

register("write.block")


class Edit(NamedTuple):
    """Checked values of some entities of a bloque, by field, in the order in which they count."""

    swarm: str
    entities: NDArray[np.int64]
    values: dict[str, NDArray[Any]]


def summary(edit: Edit) -> dict[str, Any]:
    """What an event says of it."""
    return {"swarm": edit.swarm, "fields": list(edit.values), "entidades": len(edit.entities)}


def checked(
    plan: Plan, name: str | None, ids: Iterable[int] | None, given: Mapping[str, Any]
) -> Edit:  # fmt: skip
    """What is to be written. Raises ValueError: there is no such swarm, field or id, or a value
    does not fit its field."""
    swarm, entities = _spread(plan, name, ids)
    found = {field: _check_field(swarm, field, given[field], len(entities)) for field in given}
    who_lives_first = sorted(found, key=lambda field: field != VIVO)
    return Edit(swarm.id, entities, {field: found[field] for field in who_lives_first})


def within(edit: Edit, first_id: int, end_id: int) -> Edit:
    """What of it is written into the entities from ``first_id`` on, before ``end_id``."""
    mine = (edit.entities >= first_id) & (edit.entities < end_id)
    values = {name: column[mine] for name, column in edit.values.items()}
    return Edit(edit.swarm, edit.entities[mine], values)


def apply(
    plan: Plan, tables: Tables, edits: Sequence[Edit], blocks: Callable[[BlockView], bool]
) -> None:
    """Store them, the last of them over the others, into those of their blocks that ``blocks``
    takes, and what they say of their entities. Whoever sees a block in which they were before sees
    nothing else: each column is stored once, as it is after the last of them."""
    memory: NDArray[np.uint8] = tables.keep[0]
    words = memory.view(np.uint64)
    edits = [edit for edit in edits if len(edit.entities)]
    parts = [_by_block(plan, edit) for edit in edits]
    for block in sorted(set().union(*parts)):
        view = BlockView(plan, words, block)
        if not blocks(view):
            continue
        columns: dict[str, NDArray[Any]] = {}
        for edit, part in zip(edits, parts, strict=True):
            if block in part:
                local, order = part[block]
                for name, values in edit.values.items():
                    _write(view, columns, name, local, values[order])
        for name, column in columns.items():
            view.column(name)[:] = column
        kill_point("write.block")
        settle_edited(tables.blocks, tables.swarms, block)


def _by_block(plan: Plan, edit: Edit) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Of each block that it writes into: the places there, and where in its columns their values
    are."""
    firsts = plan.blocks["first_id"]
    number = np.searchsorted(firsts, edit.entities, "right") - 1
    order = np.argsort(number, kind="stable")
    touched, starts = np.unique(number[order], return_index=True)
    local = (edit.entities - firsts[number])[order]
    ends = [*starts[1:].tolist(), len(order)]
    return {
        block: (local[start:end], order[start:end])
        for block, start, end in zip(touched.tolist(), starts.tolist(), ends, strict=True)
    }


def _write(
    view: BlockView, columns: dict[str, NDArray[Any]], name: str, places: NDArray[np.int64],
    values: NDArray[Any],
) -> None:  # fmt: skip
    """Into copies of the block's columns, which it makes."""

    def copied(name: str) -> NDArray[Any]:
        if name not in columns:
            columns[name] = view.column(name).copy()
        return columns[name]

    copied(name)[places] = values
    if view.swarm.processor.mortal and name in (VIVO, "activo"):
        alive, active = copied(VIVO)[places] != 0, copied("activo")
        # who does not live is none that can be switched on
        active[places] = alive if name == VIVO else active[places] & alive


def find_swarm(plan: Plan, name: str | None) -> Swarm:
    """The swarm of that name, or the only one. Raises ValueError."""
    known = list(dict.fromkeys(swarm.id for swarm in plan.swarms))
    names = ", ".join(known)
    if name is None:
        if len(known) > 1:
            raise ValueError(f"swarm: found none, expected one of {names}")
        return plan.swarms[0]
    for swarm in plan.swarms:
        if swarm.id == name:
            return swarm  # the first part of one that has grown
    raise ValueError(f"swarm: found {name!r:.80}, expected one of {names}")


def parts_of(plan: Plan, name: str | None) -> list[Swarm]:
    """The bloque of that name, or the only one, as its parts. Raises ValueError."""
    one = find_swarm(plan, name)
    return [part for part in plan.swarms if part.bloque == one.bloque]


def unmasked(where: str, given: Any) -> Any:
    """``given``, an array or what becomes one. Raises ValueError: some of it is masked, and what
    lies under a mask is nobody's number."""
    if np.ma.is_masked(given):
        count = int(np.count_nonzero(np.ma.getmaskarray(given)))
        raise ValueError(
            f"{where}: found {count} masked, expected numbers: fill them (.filled), or leave them"
            " out by ids"
        )
    return given


def checked_ids(parts: Sequence[Swarm], ids: Iterable[int]) -> NDArray[np.int64]:
    """``ids`` as i8[n], all of the bloque with these parts. Raises ValueError."""
    ids = unmasked("ids", ids)
    try:
        given = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
    except (TypeError, ValueError):  # lists of different lengths, too
        raise ValueError(f"ids: found {ids!r:.80}, expected a list of whole ids") from None
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"ids: found {given.dtype} of {given.ndim} dimensions, expected whole ids")
    there = np.zeros(len(given), np.bool_)
    for part in parts:
        there |= (given >= part.first_id) & (given < part.end_id)
    if not there.all():
        ranges = " and ".join(f"{part.first_id} to {part.end_id - 1}" for part in parts)
        raise ValueError(f"ids: found {given[~there][0]}, expected ids of {parts[0].id}: {ranges}")
    return given.astype(np.int64)


def _spread(
    plan: Plan, name: str | None, ids: Iterable[int] | None
) -> tuple[Swarm, NDArray[np.int64]]:
    """The swarm, and the ids that are written. Raises ValueError."""
    parts = parts_of(plan, name)
    swarm = parts[0]
    if ids is None:
        return swarm, np.concatenate([np.arange(part.first_id, part.end_id) for part in parts])
    found = checked_ids(parts, ids)
    numbers, counts = np.unique(found, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"ids: found {numbers[counts > 1][0]} twice, expected each once")
    return swarm, found


def refused_of(swarm: Swarm, name: str, held: NDArray[Any]) -> tuple[NDArray[np.bool_], str]:
    """Which values of a field its entities can't have though its type has them, and what they can:
    a position lies on the plane, and one lives or does not."""
    if (room := _room(swarm, name)) is not None:
        below = held < room[0] if room[1] else held <= room[0]
        return ~((held >= 0) & below), f"a number from 0 to {room[0]:g}"
    if name == VIVO and swarm.processor.mortal:
        return held > 1, "1 or 0"
    return np.zeros(len(held), np.bool_), ""


def _room(swarm: Swarm, name: str) -> tuple[np.float32, bool] | None:
    """How long the plane is along a field that is a position, and whether that is 0 again."""
    plane = swarm.meeting.plane if swarm.meeting is not None else None
    if plane is None or name not in plane.position:
        return None
    return np.float32(plane.size[plane.position.index(name)]), plane.wrap


def _check_field(swarm: Swarm, name: str, given: Any, n: int) -> NDArray[Any]:
    """``n`` values of the field's type. Raises ValueError."""
    fields = ["valor", "activo", *(field.name for field in swarm.processor.state)]
    if name not in fields:
        raise ValueError(f"field: found {name!r:.80}, expected one of {', '.join(fields)}")
    dtype = np.dtype(np.bool_ if name == "activo" else place_of(swarm, name).dtype)
    given = unmasked(name, given)
    try:
        values = np.asarray(given)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{name}: found {given!r:.80}, expected {n} numbers") from None
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found {values.dtype}, expected numbers")
    if values.ndim == 0:
        values = np.full(n, values)
    if values.shape != (n,):
        raise ValueError(f"{name}: found an array of shape {values.shape}, expected {n} numbers")
    with np.errstate(all="ignore"):
        held = values.astype(dtype)
        refused, narrower = refused_of(swarm, name, held)
        if dtype.kind == "f":
            wrong, allowed = ~np.isfinite(held), "a finite number"
        else:
            wrong, allowed = held != values, f"a whole number of type {dtype}"
        wrong, allowed = wrong | refused, narrower or allowed
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{name}: found {values[k]} at place {k}, expected {allowed}")
    return held
