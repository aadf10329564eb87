"""The configuration of a world in this process, and what of it changes while the world lives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, SupportsIndex

import numpy as np

from corec.config import Config, ConfigError, Fault, load_config, parse_config
from corec.config.change import NotLive, changed, kept_value, place_of, spelled_out, value_at
from corec.config.load import NULL
from corec.config.parse import DIGITS_MAX, read_json
from corec.entities.processor import Processor
from corec.journal.past import Growth
from corec.nucleus.loadable import module_faults
from corec.plan import Plan
from corec.plan_live import check_named, with_settings
from corec.project import HOME
from corec.view.growing import grown_to
from corec.view.reading import whole
from corec.world.live import Live, Since

NAME: Final = "world"
"""``instance_id`` where a dict has none: nobody else will see it."""
BLOQUE_KEYS: Final = ("umbral", "autoreparacion", "parametros", "entidades")
"""Of a bloque, what may be changed while its world lives."""
WHOLE_MAX: Final = 10**DIGITS_MAX - 1
WHOLE_TOLD: Final = f"whole numbers of at most {DIGITS_MAX} digits"
Asked = str | Mapping[str, Any] | None
"""What ``set`` takes first: a path, values by path, or nothing where keys are named."""


def configured(
    config: Mapping[str, Any] | str | Path, seed: SupportsIndex | None,
    changes: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, Processor]]:  # fmt: skip
    """The checked configuration, and the processors that it names and that can't be imported by
    that name. ``changes``: path → value, see ``overridden``.

    Raises ConfigError; TypeError when ``config`` is neither a dict nor a path.
    """
    processors: dict[str, Processor] = {}
    if isinstance(config, str | Path):
        raw = read_json(Path(config))
    elif isinstance(config, Mapping):
        raw = {"instance_id": NAME, **plain(config, processors)}
    else:
        found = type(config).__name__
        raise TypeError(f"config: found a {found}, expected a dict or a file's path")
    if changes is not None and not isinstance(changes, Mapping):
        raise TypeError(f"changes: found a {type(changes).__name__}, expected a dict by path")
    overrides = overridden(raw, plain(changes or {}, processors))
    if seed is not None:
        if "seed" in overrides:
            raise ConfigError([Fault("seed", "it beside seed=", "one of both")])
        overrides["seed"] = whole("seed", seed)
    if isinstance(config, str | Path):
        # of the environment, the address and the password of no server are wanted
        environ = {name: value for name, value in os.environ.items() if name == HOME}
        read = load_config(Path(config), overrides=overrides, environ=environ)
        return _loadable(read), processors
    home = os.environ.get(HOME)
    base = Path(home) if home else None  # else relative paths start in the current folder
    return _loadable(parse_config(raw, overrides=overrides, base_dir=base)), processors


def _loadable(config: Config) -> Config:
    """``config``, whose modules are there. Raises ConfigError."""
    faults = list(module_faults(config))
    if faults:
        raise ConfigError(faults)
    return config


def overridden(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What to write over ``raw``, the data of a configuration file, by keys of its top level.

    Paths of ``changes``: ``ID.NAME``, a parameter of a bloque; ``bloques.ID.KEY``, any key of one;
    else any other key, such as ``carga`` or ``persist.every_ticks``.
    """
    listed = raw.get("bloques")
    if not isinstance(listed, list | tuple):
        return dict(changes)  # the check of ``raw`` will say what is wrong with it
    bloques = [dict(one) if isinstance(one, Mapping) else one for one in listed]
    by_id = {one["id"]: one for one in bloques if isinstance(one, dict) and _named(one)}
    changes = {str(path): value for path, value in changes.items()}
    places = {path: _keys_of(path, by_id) for path in changes}
    _check_apart(places)
    found: dict[str, Any] = {}
    for path, value in changes.items():
        name, *keys = places[path]
        if not name:
            found[path] = NULL if value is None else value
            continue
        section = by_id[name]
        for key in keys[:-1]:
            section[key] = dict(section[key]) if isinstance(section.get(key), Mapping) else {}
            section = section[key]
        section[keys[-1]] = value
        found["bloques"] = bloques
    if "scale" in found:
        found["scale"] = found.pop("scale")  # behind all bloques: it multiplies what they say
    return found


def _keys_of(path: str, by_id: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys on the way to it behind the id of its bloque, or behind nothing."""
    inner = path.removeprefix("bloques.")
    ids = [name for name in by_id if inner.startswith(f"{name}.")]
    if not ids:
        return "", *path.split(".")
    name = max(ids, key=len)
    rest = inner.removeprefix(f"{name}.")
    return (name, "parametros", rest) if inner == path else (name, *rest.split("."))


def _check_apart(places: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ConfigError: two of them say the same, of which one would count, or a part of it."""
    for path, keys in places.items():
        for other, its in places.items():
            of_all = keys == ("", "bloques") and its[0] != ""
            if path != other and (of_all or its[: len(keys)] == keys):
                raise ConfigError([Fault(path, f"it beside {other}", "one of both")])


def _named(bloque: Mapping[str, Any]) -> bool:
    return isinstance(bloque.get("id"), str) and bloque["id"] != ""


def plain(value: Any, processors: dict[str, Processor]) -> Any:
    """``value`` as it would be in a file: NumPy's numbers as Python's, a processor as a name."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner, processors) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, processors) for inner in value]
    if isinstance(value, Processor):
        name = f"given_{len(processors) + 1}"
        processors[name] = value
        return name
    if isinstance(value, int) and abs(value) > WHOLE_MAX:
        raise ConfigError([Fault("config", f"a number of {value.bit_length()} bits", WHOLE_TOLD)])
    return value.item() if isinstance(value, np.generic) else value


def changes_of(plan: Plan, path: Asked, value: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """What ``set(path, value)``, ``set({path: value, …})`` or ``set(ID, NAME=value, …)`` asks for,
    as values by path. A name is a parameter of the bloque, or else a key of it; and a key of
    ``path`` where that is a section of the configuration. ``set(KEY=value, …)``, without a path:
    keys of the configuration, a section as an object.

    Raises:
        ValueError: a value and names, or nothing at all.
    """
    if path is None and value is None and named:
        return _of_top_level(named)
    if isinstance(path, Mapping):
        if value is not None or named or not path:
            raise ValueError("set: found an object, expected at least one value by path, alone")
        return {str(key): plain(one, {}) for key, one in path.items()}
    if not isinstance(path, str):
        raise ValueError(f"set: found {path!r:.80}, expected a path, or an object by path")
    if not named:
        return {path: plain(value, {})}
    if value is not None:
        raise ValueError("set: found a value and parameters, expected one of both")
    swarm = next((one for one in plan.swarms if one.id == path), None)
    if swarm is None and path in Config.model_fields:
        return {f"{path}.{key}": plain(one, {}) for key, one in named.items()}
    own = {name for name, _ in swarm.processor.params} if swarm is not None else set(BLOQUE_KEYS)
    found = {}
    for key, one in named.items():
        inner = key if key in BLOQUE_KEYS and key not in own else f"parametros.{key}"
        found[f"bloques.{path}.{inner}"] = plain(one, {})
    return found


def _of_top_level(named: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, one in named.items():
        if key in BLOQUE_KEYS:
            raise ValueError(f"set: found {key} of no bloque, expected set(ID, {key}=…)")
        if key in Config.model_fields and isinstance(one, Mapping) and one:
            found |= {f"{key}.{name}": plain(inner, {}) for name, inner in one.items()}
        else:
            found[key] = plain(one, {})
    return found


class Changed(NamedTuple):
    """What ``changed_by`` makes."""

    config: Config
    plan: Plan
    grown: bool
    """Whether ``plan`` has more entities."""
    asked: dict[str, Since]
    """What was asked for, spelled out."""
    kept: dict[str, Since]
    """What of it the entities' run reads, by the path as it is kept."""
    events: list[dict[str, Any]]


def changed_by(
    config: Config, plan: Plan, processors: Mapping[str, Processor], live: Live,
    changes: Mapping[str, Any], tick: int, coming: Sequence[Growth] = (),
) -> Changed:  # fmt: skip
    """What is after ``changes``, which count after ``tick``; nothing is changed in place.
    ``coming``: where the world is still to grow.

    Raises:
        ValueError: a key can't be changed in a living world.
        ConfigError: a value is impossible.
    """
    kept: dict[str, Since] = {}
    events = []
    later = coming[-1].plan if coming else None
    before_all, asked = plan, spelled_out(config, changes)
    for path, value in asked.items():
        place = None
        if path == "tick_hz":
            raise NotLive("path: found 'tick_hz'; this world ticks when run or tick is called")
        if path == "carga":
            now, before = value, config.carga
        else:
            place = place_of(config, path)
            if place.bloque is not None and place.grows:
                bloque = config.bloques[place.bloque]
                config, plan = grown_to(config, processors, plan, bloque, value)
                detail = {"path": path, "value": value, "before": bloque.entidades}
                events.append(_event(tick, {**detail, "after_tick": tick}))
                continue
            check_named(later or plan, place)
            before = live.value(place, tick) if place.of_world else value_at(config, place)
            # the other limit of an umbral as it counts then: the schedule may set it for that tick
            rest = live.value(place, tick + 1) if place.is_limit else before
            now = kept_value(rest, place, value)
            if place.of_world:
                kept[place.path] = Since(tick + 1, now)
        detail = {"path": path, "value": now, "before": before, "after_tick": tick}
        events.append(_event(tick, detail))
        # as it is kept: the rest of an umbral may be the schedule's
        config = changed(config, *((place.path, now) if place else (path, value)))
    with_settings(later or plan, config)  # for its faults
    since = {path: Since(tick + 1, value) for path, value in asked.items()}
    grown = plan is not before_all
    return Changed(config, with_settings(plan, config), grown, since, kept, events)


def firing_events(live: Live, tick: int) -> list[dict[str, Any]]:
    """The events of what the schedule changes for ``tick``."""
    return [
        _event(tick, {"path": one.path, "value": one.value, "before": one.before,
                      "after_tick": tick - 1, "by": "schedule"})
        for one in live.firings((tick, -1), tick)
    ]  # fmt: skip


def _event(tick: int, detail: dict[str, Any]) -> dict[str, Any]:
    return {"tick": tick, "tipo": "setting_changed", "bloque": None, "entidad": None,
            "detalle": detail}  # fmt: skip
