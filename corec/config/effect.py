"""When a changed key takes effect: one table, for the schema, the documents and every refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final


class Effect(StrEnum):
    """How a change of a key comes into force."""

    LIVE = "live (corec-ctl set) or by reload"
    RELOAD = "by reload"
    RESTART = "by a restart: stop the instance and start it again"
    ROOM = "more of it by reload or by a restart; else in a new world only"
    GROW = "more of them live (corec-ctl grow), by reload or by a restart; else in a new world only"
    NEW_WORLD = "in a new world only: start with --fresh"


_TABLE: Final = {
    "$schema": Effect.RELOAD,
    "instance_id": Effect.NEW_WORLD,
    "db_config": Effect.RESTART,
    "redis_config": Effect.RESTART,
    "bloques": Effect.NEW_WORLD,
    "bloques[].entidades": Effect.GROW,
    "bloques[].capacidad": Effect.ROOM,
    "bloques[].umbral": Effect.LIVE,
    "bloques[].umbral.inicial": Effect.NEW_WORLD,
    "bloques[].autoreparacion": Effect.LIVE,
    "bloques[].evolucion": Effect.RELOAD,
    "bloques[].collect": Effect.RELOAD,
    "bloques[].simbiosis": Effect.RELOAD,
    "bloques[].parametros": Effect.LIVE,
    "globals": Effect.LIVE,
    "schedule": Effect.RELOAD,
    "entidades_por_bloque": Effect.NEW_WORLD,
    "autoreparacion": Effect.RELOAD,
    "collect": Effect.RELOAD,
    "modules": Effect.RELOAD,
    "auditoria": Effect.RELOAD,
    "plugins": Effect.RELOAD,
    "seed": Effect.NEW_WORLD,
    "tick_hz": Effect.LIVE,
    "workers": Effect.RELOAD,
    "carga": Effect.LIVE,
    "persist": Effect.LIVE,
    "streams": Effect.LIVE,
    "alertas": Effect.RESTART,
    "tasks": Effect.RESTART,
    "http": Effect.RESTART,
    "state_dir": Effect.NEW_WORLD,
    "runtime_dir": Effect.RESTART,
    "checkpoint": Effect.LIVE,
    "log": Effect.RELOAD,
    "log.level": Effect.LIVE,
}
"""By path; a key without a row has that of the section it stands in."""


def effect_of(path: str) -> Effect:
    """When a change of the key at ``path`` (``http.port``, ``bloques[].canal``, or as an operator
    writes it, ``bloques.sensor_swarm.canal``) takes effect.

    Raises:
        KeyError: there is no such key at the top level.
    """
    path = re.sub(r"\[\d+\]", "[]", path)
    path = re.sub(r"^bloques\.[^.]+", "bloques[]", path)
    while path not in _TABLE:
        shorter = path.removesuffix("[]")
        if shorter == path:
            shorter = path.rpartition(".")[0]
        if not shorter:
            raise KeyError(path)
        path = shorter
    return _TABLE[path]


def effects() -> Mapping[str, Effect]:
    """The table."""
    return _TABLE


def is_live(path: str) -> bool:
    """Whether a reload takes a change of the key over under a living world."""
    return effect_of(path) in (Effect.LIVE, Effect.RELOAD)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of the keys whose values differ, each as deep as both have an object there."""
    for name in sorted(before.keys() | after.keys()):
        path, old, new = f"{prefix}{name}", before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed(old, new, f"{path}.")
        elif path == "bloques" and old and new and len(old) == len(new):
            for index, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from changed(one, other, f"{path}[{index}].")
        else:
            yield path
