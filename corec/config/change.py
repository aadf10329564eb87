"""One key of a configuration changed, as an operator, a program or a schedule asks for it.

A path is as an operator writes it: ``globals.beta``, ``bloques.ID.parametros.NAME``,
``bloques.ID.umbral``, ``persist.spool_max_mb``; ``ID.NAME`` is short for a parameter. What may be
changed under a living world is what ``effect`` says is live; everything else is refused with how it
does take effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel

from corec.config.effect import Effect, effect_of
from corec.config.load import with_overrides
from corec.config.model import Config, revealed
from corec.config.swarm import BloqueConfig
from corec.config.umbral import UMBRAL_MAX, UMBRAL_MIN

SHOWN: Final = (
    "tick_hz, carga, globals.NAME, bloques.ID.parametros.NAME, bloques.ID.umbral, "
    "bloques.ID.autoreparacion.KEY, persist.KEY, streams.KEY, checkpoint.KEY or log.level"
)


class NotLive(ValueError):
    """A key that can't be changed in a living world; the text says how it can be."""


class Place(NamedTuple):
    """A key that may be changed."""

    path: str
    """As it is kept: of an umbral always the whole of it."""
    bloque: int | None
    """Index in ``bloques``; None: it is none of a bloque's."""
    keys: tuple[str, ...]
    """The names on the way to it, in the bloque or in the configuration."""

    @property
    def of_world(self) -> bool:
        """Whether the blocks' kernels read it: it then changes at a tick, in all blocks."""
        of_bloque = self.bloque is not None and not self.grows
        return of_bloque or self.keys[0] == "globals"

    @property
    def grows(self) -> bool:
        """Whether it is the number of a bloque's entities."""
        return self.bloque is not None and self.keys == ("entidades",)

    @property
    def is_limit(self) -> bool:
        """Whether it is one limit of an umbral, which is kept with the other one."""
        return self.bloque is not None and self.keys[0] == "umbral" and len(self.keys) > 1


def full_path(config: Config, path: str) -> str:
    """``path``, that of a parameter spelled out where it is given as ``ID.NAME``."""
    name, _, key = path.rpartition(".")
    if path.partition(".")[0] in Config.model_fields or not any(
        one.id == name for one in config.bloques
    ):
        return path
    return f"bloques.{name}.parametros.{key}"


def spelled_out(config: Config, changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes``, path → value, with full paths, and key by key what is given as an object of
    ``globals``, or of ``parametros`` or ``autoreparacion`` of a bloque; both limits of an umbral
    together. Raises NotLive: one key is there in two spellings."""
    found: dict[str, Any] = {}
    for path, value in changes.items():
        inner = path.startswith("bloques.") and path.endswith((".parametros", ".autoreparacion"))
        whole = {full_path(config, path): value}
        if isinstance(value, Mapping) and value and (inner or path == "globals"):
            whole = {f"{path}.{key}": one for key, one in value.items()}
        for key in whole.keys() & found.keys():
            raise NotLive(f"path: found {key!r:.80} in two spellings, expected it once")
        found |= whole
    for bloque in config.bloques:
        _umbral_at_once(bloque, found)
    return found


def _umbral_at_once(bloque: BloqueConfig, changes: dict[str, Any]) -> None:
    """Of ``changes``, both limits of its umbral as the whole of it: one by one the first may stand
    on the wrong side of what the second was."""
    path = f"bloques.{bloque.id}.umbral"
    if path in changes and (twice := {f"{path}.min", f"{path}.max"} & changes.keys()):
        raise NotLive(f"path: found {path!r:.80} beside {min(twice)!r:.80}, expected one of both")
    if {f"{path}.min", f"{path}.max"} <= changes.keys():
        whole = bloque.model_dump(mode="json")["umbral"]
        for limit in ("min", "max"):
            whole = _merged(whole, limit, changes.pop(f"{path}.{limit}"))
        changes[path] = whole


def place_of(config: Config, path: object) -> Place:
    """The key at ``path``. Raises NotLive."""
    if not isinstance(path, str):
        raise NotLive(f"path: found {path!r:.80}, expected {SHOWN}")
    path = full_path(config, path)
    ids = [one.id for one in config.bloques if path.startswith(f"bloques.{one.id}.")]
    if not ids:
        return _top_level(config, path)
    name = max(ids, key=len)
    rest = path.removeprefix(f"bloques.{name}.")
    keys = tuple(rest.split("."))
    known = (
        (keys[0] == "parametros" and len(keys) == 2)
        or rest in ("umbral", "umbral.min", "umbral.max")
        or rest in ("autoreparacion.max_errores", "autoreparacion.min_fitness", "entidades")
    )
    if not known:
        raise NotLive(_refusal(path, f"bloques[].{rest}"))
    if keys[0] == "umbral":
        path = f"bloques.{name}.umbral"
    return Place(path, [one.id for one in config.bloques].index(name), keys)


def _top_level(config: Config, path: str) -> Place:
    keys = tuple(path.split("."))
    if path.startswith("bloques."):
        known = ", ".join(one.id for one in config.bloques)
        raise NotLive(f"path: found {path!r:.80}, expected {SHOWN}; the bloques are {known}")
    try:
        live = effect_of(path) is Effect.LIVE
    except KeyError:
        raise NotLive(_refusal(path, path)) from None
    if keys[0] == "globals" and len(keys) == 2 and keys[1] not in config.globals:
        known = ", ".join(config.globals) or "none"
        raise NotLive(f"path: found {path!r:.80}, expected one of the globals, which are: {known}")
    if not live or isinstance(_found(config, keys), Mapping | BaseModel | _Missing):
        raise NotLive(_refusal(path, path))
    return Place(path, None, keys)


class _Missing:
    """There is no such key."""


def _found(config: Config, keys: tuple[str, ...]) -> Any:
    found: Any = config
    for name in keys:
        if isinstance(found, Mapping):
            found = found.get(name, _Missing())
        elif isinstance(found, BaseModel) and name in type(found).model_fields:
            found = getattr(found, name)
        else:
            return _Missing()
    return found


def _refusal(path: str, known_as: str) -> str:
    try:
        effect = effect_of(known_as)
        when = f"this key changes {effect}"
        if effect is Effect.LIVE:
            when = "name one key that is there"
    except KeyError:
        when = "there is no such key"
    if path == "workers":
        when = "their number changes by: corec-ctl workers N"
    return f"path: found {path!r:.80}, expected {SHOWN}; {when}"


def value_at(config: Config, place: Place) -> Any:
    """What ``config`` has there; None for a parameter that it leaves to its default."""
    if place.bloque is None:
        found = _found(config, place.keys)
        return None if isinstance(found, _Missing) else found
    bloque = config.bloques[place.bloque]
    if place.keys[0] == "parametros":
        return bloque.parametros.get(place.keys[1])
    if place.grows:
        return bloque.entidades
    if place.keys[0] == "autoreparacion":
        return getattr(bloque.repair, place.keys[1])
    return bloque.model_dump(mode="json")["umbral"]


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return orjson.loads(orjson.dumps(value))


def kept_value(before: Any, place: Place, value: Any) -> Any:
    """``value`` as it is kept at ``place.path``: an umbral's ``min`` within the whole of it, which
    is ``before``."""
    if not place.is_limit:
        return value
    if isinstance(before, Mapping):  # as it was written: one of both may be the default
        before = {"min": UMBRAL_MIN, "max": UMBRAL_MAX, **before}
    return _merged(before, place.keys[1], value)


def follows(before: Any, place: Place, value: Any) -> Any:
    """``kept_value`` of what is set by itself, where nobody can be refused: an umbral's other limit
    follows where it would stand on the wrong side, or is none."""
    kept = kept_value(before, place, value)
    if not place.is_limit:
        return kept
    other = "max" if place.keys[1] == "min" else "min"
    there = kept.get(other)
    if not isinstance(there, int | float) or kept["min"] > kept["max"]:
        kept[other] = value
    return kept


def changed(config: Config, path: object, value: Any) -> Config:
    """``config`` with one key changed, checked whole.

    Raises:
        NotLive: the key can't be changed in a living world.
        ConfigError: the value is impossible.
    """
    if path in ("tick_hz", "carga"):
        return with_overrides(config, {str(path): value if value is not None else "nothing"})
    place = place_of(config, path)
    if place.bloque is None:
        return _rewritten(config, place.keys, value)
    dumped = revealed(config.model_dump(by_alias=True, exclude_unset=True))
    assert isinstance(dumped, dict)
    bloques = [dict(one) for one in dumped["bloques"]]
    section, *key = place.keys
    whole = config.bloques[place.bloque].model_dump(by_alias=True)  # what the common settings gave
    if key:
        value = _merged(whole.get(section), key[0], value)
    bloques[place.bloque][section] = value
    return with_overrides(config, {"bloques": bloques})


def _rewritten(config: Config, keys: tuple[str, ...], value: Any) -> Config:
    """The whole section, since an override that is null counts as not given."""
    section, name = keys
    whole = _found(config, (section,))
    data = whole.model_dump(exclude_unset=True) if isinstance(whole, BaseModel) else dict(whole)
    return with_overrides(config, {section: {**data, name: value}})


def _merged(section: Any, key: str, value: Any) -> dict[str, Any]:
    """``section``, an object or an umbral that does not move, with one key changed."""
    if not isinstance(section, Mapping):
        section = {"min": section, "max": section}
    found = {**section, key: value}
    limits = [found.get(name) for name in ("min", "inicial", "max")]
    numbers = [one for one in limits if isinstance(one, int | float)]
    if len(numbers) == len(limits) and numbers != sorted(numbers):
        del found["inicial"]  # of a new world alone: it is in nobody's way now
    return found
