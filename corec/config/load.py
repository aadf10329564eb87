"""File, command line and environment become one ``Config``, or one ``ConfigError`` with it all."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from corec.config import environment as env
from corec.config.checks import cross_faults
from corec.config.collecting import with_lists
from corec.config.explain import explain
from corec.config.faults import ConfigError, Fault, found_text
from corec.config.model import Config, revealed
from corec.config.original import set_aside, translated
from corec.config.parse import read_json
from corec.config.servers import DbConfig, RedisConfig
from corec.digits import whole_number
from corec.log import hide
from corec.project import project_of

_NO_OVERRIDES: Mapping[str, object] = {}
NULL: Final = object()
"""An override that is null, which one of the command line that was not given is, too."""


def load_config(
    path: Path,
    *,
    overrides: Mapping[str, object] = _NO_OVERRIDES,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Read and check the configuration file at ``path``.

    ``overrides`` are dotted paths from the command line (``tick_hz``, ``http.port``; None = not
    given) and ``scale``, which multiplies every ``entidades``. The environment beats the file.
    Raises ``ConfigError`` with every fault found.
    """
    raw = read_json(path)
    base = project_of(path, environ)
    return parse_config(raw, overrides=overrides, environ=environ, base_dir=base)


def parse_config(
    raw: Mapping[str, Any],
    *,
    overrides: Mapping[str, object] = _NO_OVERRIDES,
    environ: Mapping[str, str] | None = None,
    base_dir: Path | None = None,
) -> Config:
    """Check ``raw``, the file's plain data; like ``load_config``, without reading a file.

    ``environ`` None takes nothing from the environment; ``base_dir`` is where relative paths
    start (the current folder if None).
    """
    kept, ignored = set_aside(with_lists(translated(dict(raw))))
    faults: list[Fault] = []
    _override(kept, overrides, faults)
    _use_secrets(kept, env.read_secrets(environ or {}, faults))
    faults.extend(cross_faults(kept))
    config: Config | None = None
    try:
        config = Config.model_validate(kept)
    except ValidationError as error:
        faults.extend(_not_yet_named(explain(error, kept, Config), faults))
    except ConfigError as error:  # what shows only when the defaults are in
        faults = faults or error.faults
    if faults or config is None:
        raise ConfigError(faults)
    for secret in (*config.db.secrets(), *config.redis.secrets()):
        hide(secret)
    config._base_dir = (base_dir or Path.cwd()).absolute()
    config._ignored = ignored
    return config


def with_overrides(config: Config, overrides: Mapping[str, object]) -> Config:
    """``config`` with some dotted paths changed and checked again; raises ``ConfigError``."""
    raw = revealed(config.model_dump(by_alias=True, exclude_unset=True))
    assert isinstance(raw, dict)
    changed = parse_config(raw, overrides=overrides, base_dir=config.base_dir)
    changed._ignored = config.ignored
    return changed


def _not_yet_named(more: Any, faults: list[Fault]) -> list[Fault]:
    named = {fault.path for fault in faults}
    return [fault for fault in more if fault.path not in named]


def _use_secrets(raw: dict[str, Any], secrets: Mapping[str, str]) -> None:
    """Write the environment's ``secrets`` over what ``raw`` says of the two servers."""
    for section, model, url_name, password_name in (
        ("db_config", DbConfig, env.DB_URL, env.DB_PASSWORD),
        ("redis_config", RedisConfig, env.REDIS_URL, env.REDIS_PASSWORD),
    ):
        written = raw.get(section)
        server = dict(written) if isinstance(written, Mapping) else {}
        if url_name in secrets:
            # Only keys nobody knows are left of the section: they are still faults.
            server = {name: server[name] for name in server if name not in model.model_fields}
            server["url"] = secrets[url_name]
        if password_name in secrets and server and server.get("embedded") is not True:
            server["password"] = secrets[password_name]
        if server and (url_name in secrets or isinstance(written, Mapping)):
            raw[section] = server


def _override(raw: dict[str, Any], overrides: Mapping[str, object], faults: list[Fault]) -> None:
    """Write ``overrides`` into ``raw`` (whose nested objects are copied, never changed)."""
    for path, value in overrides.items():
        if value is None:
            continue
        value = None if value is NULL else value
        if path == "scale":
            _scale(raw, value, faults)
            continue
        if path == "workers" and isinstance(value, str):
            number = whole_number(value)
            value = value if number is None else number
        section = raw
        *parents, last = path.split(".")
        for name in parents:
            inner = section.get(name)
            section[name] = dict(inner) if isinstance(inner, Mapping) else {}
            section = section[name]
        section[last] = value


def _scale(raw: dict[str, Any], scale: object, faults: list[Fault]) -> None:
    if (
        not isinstance(scale, (int, float))
        or isinstance(scale, bool)
        or not math.isfinite(scale)
        or not 0 < scale <= 2**32
    ):
        found = found_text(scale, ("scale",))
        faults.append(Fault("scale", found, "a number greater than 0 and at most 4294967296"))
        return
    bloques = raw.get("bloques")
    if isinstance(bloques, list):
        raw["bloques"] = [_scaled(bloque, scale) for bloque in bloques]


def _scaled(bloque: object, scale: float) -> object:
    count = bloque.get("entidades") if isinstance(bloque, dict) else None
    if not isinstance(bloque, dict) or not isinstance(count, int) or isinstance(count, bool):
        return bloque
    if not 1 <= count <= 2**32:
        return bloque
    scaled = {**bloque, "entidades": max(1, round(count * Fraction(str(scale))))}
    places = bloque.get("capacidad")
    if isinstance(places, int) and not isinstance(places, bool) and count <= places <= 2**32:
        scaled["capacidad"] = max(scaled["entidades"], round(places * Fraction(str(scale))))
    return scaled
