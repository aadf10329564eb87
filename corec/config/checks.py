"""Faults that concern several keys at once; a pure function over plain data.

It runs on the file as it was written, wrong types and all, so that one bad key does not hide
these faults from the list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import SecretStr

from corec.config.acting import task_faults
from corec.config.collecting import swarm_faults
from corec.config.evolucion import evolucion_faults
from corec.config.faults import Fault, found_text
from corec.config.module_names import module_faults
from corec.config.schedule import entry_faults
from corec.config.servers import (
    DB_SCHEMES,
    DB_URL_ALLOWED,
    REDIS_SCHEMES,
    REDIS_URL_ALLOWED,
    known_url,
)
from corec.config.space_faults import space_faults
from corec.config.swarm import ENTITIES_MAX
from corec.config.umbral import umbral_faults

TICK_HZ_MIN: Final = 1e-6
"""A tick in eleven days."""
TICK_HZ_MAX: Final = 1_000_000
RATE_ALLOWED: Final = "0 (as fast as possible), or a number from 0.000001 to 1000000"


def cross_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Every fault between keys in ``raw``, which need not be valid otherwise."""
    return [
        *_home_faults(raw),
        *_rate_faults(raw.get("tick_hz")),
        *_bloque_faults(raw.get("bloques")),
        *swarm_faults(raw.get("collect"), raw.get("bloques")),
        *entry_faults(raw.get("schedule")),
        *module_faults(raw.get("modules")),
        *task_faults(raw.get("tasks"), raw.get("bloques")),
        *_server_faults(
            "db_config", raw, ("dbname", "user", "host"), (), DB_SCHEMES, DB_URL_ALLOWED
        ),
        *_server_faults(
            "redis_config", raw, ("host",), ("username",), REDIS_SCHEMES, REDIS_URL_ALLOWED
        ),
    ]


def _home_faults(raw: Mapping[str, Any]) -> Iterator[Fault]:
    """Paths that begin in the home of a user whom the system does not know: taken as they stand,
    they would be folders called ``~name``."""
    log = raw.get("log")
    paths = {name: raw.get(name) for name in ("state_dir", "runtime_dir")}
    paths["log.file"] = log.get("file") if isinstance(log, Mapping) else None
    for name, path in paths.items():
        if isinstance(path, str) and path.startswith("~") and os.path.expanduser(path) == path:
            home = path.partition("/")[0]
            found = f"{found_text(path, (name,))}, and no home for {home}"
            yield Fault(name, found, "a path that begins in the home of a user there is, or in /")


def rate_allowed(value: float) -> bool:
    """Whether ``tick_hz`` may be ``value``: a rate so low that no tick is ever due is none."""
    return value == 0 or TICK_HZ_MIN <= value <= TICK_HZ_MAX


def _rate_faults(value: object) -> Iterator[Fault]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value < TICK_HZ_MIN:  # type: ignore[operator]  # it is a number
        yield Fault("tick_hz", found_text(value, ("tick_hz",)), RATE_ALLOWED)


def _bloque_faults(bloques: object) -> Iterator[Fault]:
    if not isinstance(bloques, (list, tuple)):
        return
    first: dict[str, int] = {}
    total = 0
    over = False
    for index, bloque in enumerate(bloques):
        if not isinstance(bloque, Mapping):
            continue
        name = bloque.get("id")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield Fault(
                f"bloques[{index}].id",
                found_text(name, ("bloques", index, "id")),
                f"a name of its own (bloques[{first[name]}] has this one)",
            )
        at = ("bloques", index, "umbral")
        yield from umbral_faults(bloque.get("umbral"), at, f"bloques[{index}].umbral")
        at = ("bloques", index, "evolucion")
        yield from evolucion_faults(bloque.get("evolucion"), at, f"bloques[{index}].evolucion")
        count, places = bloque.get("entidades"), bloque.get("capacidad")
        key = "entidades" if places is None else "capacidad"
        if isinstance(places, int) and isinstance(count, int):
            if places < count:
                yield Fault(f"bloques[{index}].capacidad", str(places), f"at least {count}")
            count = places
        yield from space_faults(bloque.get("space"), count, f"bloques[{index}].space", key)
        if isinstance(count, int) and 1 <= count <= ENTITIES_MAX:
            total += count
            if total > ENTITIES_MAX and not over:
                over = True
                yield Fault(
                    f"bloques[{index}].entidades",
                    f"{count}, which makes {total} in all",
                    f"at most {ENTITIES_MAX} entities in all bloques together",
                )


def _server_faults(
    section: str,
    raw: Mapping[str, Any],
    needed: tuple[str, ...],
    optional: tuple[str, ...],
    schemes: tuple[str, ...],
    url_allowed: str,
) -> Iterator[Fault]:
    server = raw.get(section)
    if not isinstance(server, Mapping):
        return
    url = server.get("url")
    if isinstance(url, SecretStr):
        url = url.get_secret_value()
    given = [name for name in (*needed, *optional, "url") if server.get(name) is not None]
    if server.get("embedded") is True:
        for name in [*given, *(["password"] if server.get("password") is not None else [])]:
            yield Fault(
                f"{section}.{name}",
                "a server's address beside embedded: true",
                f'either "embedded": true or a server ({", ".join(needed)})',
            )
    elif url is not None:
        if isinstance(url, str) and not known_url(url, schemes):
            yield Fault(f"{section}.url", "a string that is no such URL", url_allowed)
        for name in given:
            if name != "url":
                yield Fault(f"{section}.{name}", "a value beside url", "the url alone, or no url")
    else:
        for name in needed:
            if name not in given:
                yield Fault(
                    f"{section}.{name}",
                    "nothing",
                    f'a value here, or "embedded": true in {section}',
                )
