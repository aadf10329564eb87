"""What goes into a world in this process from outside: readings for a tick, state between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.entities.fields import VIVO
from corec.kernels.whole import settle_edited
from corec.plan import Plan, Swarm
from corec.view.reading import Words, checked_ids, find_swarm
from corec.world.read import BlockView, place_of
from corec.world.tables import Tables

Readings = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]


def readings_of(plan: Plan, given: Any) -> Readings | None:
    """Ids, values and ``activo`` of all readings of a tick, each entity's in order of arrival; None
    when there are none. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError(f"readings: found {given!r}, expected a dict of swarms")
    found = [_readings(parts_of(plan, name), value) for name, value in given.items()]
    if not sum(len(one[0]) for one in found):
        return None
    ids, values, active = zip(*found, strict=True)
    wide = [np.zeros((len(one), plan.width), np.float32) for one in values]
    for room, one in zip(wide, values, strict=True):
        room[:, : one.shape[1]] = one
    return np.concatenate(ids), np.concatenate(wide), np.concatenate(active)


def parts_of(plan: Plan, name: str | None) -> list[Swarm]:
    """The bloque of that name, or the only one, as its parts. Raises ValueError."""
    one = find_swarm(plan, name)
    return [part for part in plan.swarms if part.bloque == one.bloque]


def _readings(parts: list[Swarm], given: Any) -> Readings:
    """Values f4[n, width of the swarm's readings]."""
    swarm = parts[0]
    everybody = np.concatenate([np.arange(part.first_id, part.end_id) for part in parts])
    where = f"readings of {swarm.id}"
    if not swarm.processor.values and isinstance(given, Mapping):
        given = (list(given), list(given.values()))  # values by id
    if isinstance(given, tuple):
        if len(given) not in (2, 3):
            expected = "expected (ids, values) or (ids, values, activo)"
            raise ValueError(f"{where}: found {len(given)} things, {expected}")
        ids = checked_ids(parts, given[0])
        values = _numbers(swarm, where, given[1], len(ids))
        active = _as_many(where, given[2] if len(given) == 3 else True, len(ids)) != 0
    else:
        values = _numbers(swarm, where, given, len(everybody))
        there = ~np.isnan(values).all(axis=1)
        ids, values = everybody[there], values[there]
        active = np.ones(len(ids), np.bool_)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(single))
    if wrong.size:
        k, a = wrong[0]
        what = f" as {swarm.processor.values[a]}" if swarm.processor.values else ""
        raise ValueError(
            f"{where}: found {values[k, a]}{what} for entity {ids[k]}, "
            "expected a finite float32 number"
        )
    return ids.astype(np.int64), single, active.astype(np.uint8)


def _numbers(swarm: Swarm, where: str, given: Any, n: int) -> NDArray[np.float64]:
    """f8[n, width]: of several values a mapping of their names, or columns in their order."""
    names = swarm.processor.values
    if not names:
        return _as_many(where, given, n)[:, None]
    if isinstance(given, Mapping):
        if given.keys() != set(names):
            found = ", ".join(map(str, given)) or "nothing"
            raise ValueError(f"{where}: found {found}, expected {', '.join(names)}")
        columns = [_as_many(f"{where}: {name}", given[name], n) for name in names]
        return np.stack(columns, axis=1)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (n, len(names)):
        found = f"an array of shape {values.shape}" if values.ndim else f"{given!r}"
        expected = f"{{{', '.join(map(repr, names))}}} or an array of shape {(n, len(names))}"
        raise ValueError(f"{where}: found {found}, expected {expected}")
    return values


def _as_many(where: str, given: Any, n: int) -> NDArray[np.float64]:
    """One number for each of ``n``, or the same for all."""
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        found = type(given).__name__
        raise ValueError(f"{where}: found a {found}, expected {n} numbers") from None
    if values.ndim == 0:
        return np.full(n, values)
    if values.shape != (n,):
        raise ValueError(f"{where}: found an array of shape {values.shape}, expected {n} numbers")
    return values


def asked_to_write(
    swarm: Any, which: Any, ids: Any, fields: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """The swarm, the ids and the fields that ``write`` was given: a dict in place of the name or of
    the ids is fields. Raises ValueError: something was given twice."""
    given: list[Mapping[str, Any]] = [fields]
    if isinstance(swarm, Mapping):
        given.append(swarm)
        swarm = None
    if isinstance(which, Mapping):
        given.append(which)
    elif which is not None:
        if ids is not None:
            raise ValueError("ids: found two lists of ids, expected one")
        ids = which
    if swarm is None and isinstance(fields.get("swarm"), str):  # its name by keyword
        swarm = fields["swarm"]
        given[0] = {name: one for name, one in fields.items() if name != "swarm"}
    found: dict[str, Any] = {}
    for part in given:
        for name, value in part.items():
            if name in found:
                raise ValueError(f"{name}: found it twice, expected each field once")
            found[name] = value
    if not found:
        raise ValueError("write: found no field, expected at least one, such as valor=1.0")
    return swarm, ids, found


def spread(
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


def _room(swarm: Swarm, name: str) -> tuple[np.float32, bool] | None:
    """How long the plane is along a field that is a position, and whether that is 0 again."""
    plane = swarm.meeting.plane if swarm.meeting is not None else None
    if plane is None or name not in plane.position:
        return None
    return np.float32(plane.size[plane.position.index(name)]), plane.wrap


def check_field(swarm: Swarm, name: str, given: Any, n: int) -> NDArray[Any]:
    """``n`` values of the field's type. Raises ValueError."""
    fields = ["valor", "activo", *(field.name for field in swarm.processor.state)]
    if name not in fields:
        raise ValueError(f"field: found {name!r}, expected one of {', '.join(fields)}")
    dtype = np.dtype(np.bool_ if name == "activo" else place_of(swarm, name).dtype)
    values = np.asarray(given)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name}: found {values.dtype}, expected numbers")
    if values.ndim == 0:
        values = np.full(n, values)
    if values.shape != (n,):
        raise ValueError(f"{name}: found an array of shape {values.shape}, expected {n} numbers")
    with np.errstate(all="ignore"):
        held = values.astype(dtype)
        if dtype.kind == "f":
            wrong, allowed = ~np.isfinite(held), "a finite number"
            if (room := _room(swarm, name)) is not None:
                below = held < room[0] if room[1] else held <= room[0]
                wrong, allowed = ~((held >= 0) & below), f"a number from 0 to {room[0]:g}"
        else:
            wrong, allowed = held != values, f"a whole number of type {dtype}"
            if name == VIVO and swarm.processor.mortal:
                wrong, allowed = wrong | (held > 1), "1 or 0"
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{name}: found {values[k]} at place {k}, expected {allowed}")
    return held


def write_field(
    plan: Plan, words: Words, tables: Tables, swarm: Swarm, name: str,
    entities: NDArray[np.int64], values: NDArray[Any],
) -> None:  # fmt: skip
    """Store checked values into the copies that count, and what the blocks say of them."""
    if not len(entities):
        return
    firsts = plan.blocks["first_id"]
    number = np.searchsorted(firsts, entities, "right") - 1
    order = np.argsort(number, kind="stable")
    touched, starts = np.unique(number[order], return_index=True)
    local = (entities - firsts[number])[order]
    ends = [*starts[1:].tolist(), len(order)]
    for block, start, end in zip(touched.tolist(), starts.tolist(), ends, strict=True):
        view = BlockView(plan, words, block)
        view.column(name)[local[start:end]] = values[order[start:end]]
        if swarm.processor.mortal:
            alive = view.column(VIVO)[local[start:end]] != 0
            if name == VIVO:
                view.activo[local[start:end]] = alive
            elif name == "activo":  # who does not live is none that can be switched on
                view.activo[local[start:end]] &= alive
        if name in ("activo", VIVO) or name in (*swarm.processor.means, *swarm.processor.public):
            settle_edited(tables.blocks, tables.swarms, view.index)
