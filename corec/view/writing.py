"""What goes into a world in this process from outside: readings for a tick, state between two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.plan import Plan, Swarm
from corec.process.events import WRITTEN
from corec.world.edits import Edit, checked_ids, parts_of, summary, unmasked

Readings = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]


def readings_of(plan: Plan, given: Any) -> Readings | None:
    """Ids, values and ``activo`` of all readings of a tick, each entity's in order of arrival; None
    when there are none. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError(f"readings: found {given!r:.80}, expected a dict of swarms")
    found = [_readings(parts_of(plan, name), value) for name, value in given.items()]
    if not sum(len(one[0]) for one in found):
        return None
    ids, values, active = zip(*found, strict=True)
    wide = [np.zeros((len(one), plan.width), np.float32) for one in values]
    for room, one in zip(wide, values, strict=True):
        room[:, : one.shape[1]] = one
    return np.concatenate(ids), np.concatenate(wide), np.concatenate(active)


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
        active = _as_many(where, given[2] if len(given) == 3 else True, len(ids))
        if (odd := active[~np.isin(active, (0.0, 1.0))]).size:
            raise ValueError(f"{where}: found {odd[0]} as activo, expected True or False")
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
    given = unmasked(where, given)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.shape != (n, len(names)):
        found = f"an array of shape {values.shape}" if values.ndim else f"{given!r}"
        expected = f"{{{', '.join(map(repr, names))}}} or an array of shape {(n, len(names))}"
        raise ValueError(f"{where}: found {found}, expected {expected}")
    return values


def _as_many(where: str, given: Any, n: int) -> NDArray[np.float64]:
    """One number for each of ``n``, or the same for all."""
    given = unmasked(where, given)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
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


def written_event(edit: Edit, tick: int) -> dict[str, Any]:
    """The event of a write after ``tick``."""
    return {"tick": tick, "tipo": WRITTEN, "bloque": None, "entidad": None,
            "detalle": {**summary(edit), "after_tick": tick}}  # fmt: skip
