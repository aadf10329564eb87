"""The configuration of a world in this process, and what of it changes while the world lives."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, SupportsIndex

import numpy as np

from corec.config import Config, load_config, parse_config
from corec.config.effect import effect_of
from corec.config.load import with_overrides
from corec.config.model import revealed
from corec.config.parse import read_json
from corec.entities.processor import Processor, ProcessorError
from corec.plan import Plan, with_settings
from corec.project import HOME

NAME: Final = "world"
"""``instance_id`` where a dict has none: nobody else will see it."""
_LIVE: Final = ("umbral", "umbral.min", "umbral.max", "autoreparacion.max_errores")
_ALLOWED: Final = (
    "carga, bloques.ID.umbral, bloques.ID.umbral.min, bloques.ID.umbral.max, "
    "bloques.ID.autoreparacion.max_errores or bloques.ID.parametros.NAME"
)


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
        raw = {"instance_id": NAME, **_plain(config, processors)}
    else:
        found = type(config).__name__
        raise TypeError(f"config: found a {found}, expected a dict or a file's path")
    overrides = overridden(raw, _plain(changes or {}, processors))
    if seed is not None:
        overrides["seed"] = operator.index(seed)
    if isinstance(config, str | Path):
        # of the environment, the address and the password of no server are wanted
        environ = {name: value for name, value in os.environ.items() if name == HOME}
        return load_config(Path(config), overrides=overrides, environ=environ), processors
    home = os.environ.get(HOME)
    base = Path(home) if home else None  # else relative paths start in the current folder
    return parse_config(raw, overrides=overrides, base_dir=base), processors


def overridden(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What to write over ``raw``, the data of a configuration file, by keys of its top level.

    Paths of ``changes``: ``ID.NAME``, a parameter of a bloque; ``bloques.ID.KEY``, any key of one;
    else any other key, such as ``carga`` or ``persist.every_ticks``.
    """
    found: dict[str, Any] = {}
    bloques = [dict(one) if isinstance(one, Mapping) else one for one in raw.get("bloques", ())]
    by_id = {one["id"]: one for one in bloques if isinstance(one, dict) and "id" in one}
    for path, value in changes.items():
        inner = path.removeprefix("bloques.")
        ids = [name for name in by_id if inner.startswith(f"{name}.")]
        if not ids:
            found[path] = value
            continue
        name = max(ids, key=len)
        rest = inner.removeprefix(f"{name}.")
        keys = ["parametros", rest] if inner == path else rest.split(".")
        section = by_id[name]
        for key in keys[:-1]:
            section[key] = dict(section[key]) if isinstance(section.get(key), Mapping) else {}
            section = section[key]
        section[keys[-1]] = value
        found["bloques"] = bloques
    return found


def _plain(value: Any, processors: dict[str, Processor]) -> Any:
    """``value`` as it would be in a file: NumPy's numbers as Python's, a processor as a name."""
    if isinstance(value, Mapping):
        return {name: _plain(inner, processors) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, processors) for inner in value]
    if isinstance(value, Processor):
        name = f"given_{len(processors) + 1}"
        processors[name] = value
        return name
    return value.item() if isinstance(value, np.generic) else value


def changed_by(
    config: Config, plan: Plan, path: str, value: Any, parametros: Mapping[str, Any]
) -> tuple[Config, Plan]:
    """What both are after a change; nothing is changed in place.

    Raises:
        ValueError: the key can't be changed in a living world.
        ConfigError: the value is impossible.
    """
    if parametros:
        if value is not None:
            raise ValueError("set: found a value and parameters, expected one of both")
        changes = {f"bloques.{path}.parametros.{name}": one for name, one in parametros.items()}
    else:
        changes = {path: value}
    for one_path, one in changes.items():
        config = _changed(config, one_path, _plain(one, {}))
    plan = with_settings(plan, config)
    swarms = []
    for swarm, bloque in zip(plan.swarms, config.bloques, strict=True):
        try:
            params = tuple(swarm.processor.param_values(bloque.parametros))
        except ProcessorError as error:
            raise ValueError(f"bloques.{swarm.id}.parametros.{error}") from None
        swarms.append(replace(swarm, params=params))
    return config, replace(plan, swarms=tuple(swarms))


def _changed(config: Config, path: str, value: Any) -> Config:
    if path == "carga":
        return with_overrides(config, {"carga": value if value is not None else "nothing"})
    ids = [one.id for one in config.bloques if path.startswith(f"bloques.{one.id}.")]
    if not ids:
        raise ValueError(_refusal(config, path))
    name = max(ids, key=len)
    rest = path.removeprefix(f"bloques.{name}.")
    section, _, key = rest.partition(".")
    if rest not in _LIVE and not (section == "parametros" and key):
        raise ValueError(_refusal(config, path, f"bloques[].{rest}"))
    dumped = revealed(config.model_dump(by_alias=True, exclude_unset=True))
    assert isinstance(dumped, dict)
    bloques = [dict(one) for one in dumped["bloques"]]
    index = [one.id for one in config.bloques].index(name)
    whole = config.bloques[index].model_dump(by_alias=True)  # with what the common settings gave it
    bloques[index][section] = _merged(whole.get(section), key, value) if key else value
    return with_overrides(config, {"bloques": bloques})


def _merged(section: Any, key: str, value: Any) -> dict[str, Any]:
    """``section``, an object or an umbral that does not move, with one key changed."""
    if not isinstance(section, Mapping):
        section = {"min": section, "max": section}
    return {**section, key: value}


def _refusal(config: Config, path: str, known_as: str | None = None) -> str:
    if path == "tick_hz":
        when = "this world ticks when run or tick is called"
    elif path.startswith("bloques.") and known_as is None:
        when = "the bloques are " + ", ".join(one.id for one in config.bloques)
    else:
        try:
            when = f"this key changes {effect_of(known_as or path)}"
        except KeyError:
            when = "there is no such key"
    return f"path: found {path!r}, expected {_ALLOWED}; {when}"
