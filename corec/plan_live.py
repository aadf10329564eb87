"""What of a plan may change while its world lives: parameters, globals, umbral, repair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from corec.config import Config, ConfigError, Fault
from corec.config.change import NotLive, Place, changed, follows, place_of, plain, value_at
from corec.config.umbral import is_limit, limits_of
from corec.entities.numbers import number_faults, numbers
from corec.suiting import suiting_faults
from corec.swarm import Plan, Swarm

_SECTIONS: Final = ("umbral", "autoreparacion", "parametros")
IN_SCHEDULE: Final = "globals.NAME, or parametros.NAME, umbral or autoreparacion.KEY of bloques.ID"


def with_settings(plan: Plan, config: Config) -> Plan:
    """``plan`` with what of ``config`` may change under a living world (``config.effect``).

    Raises:
        ConfigError: a parameter or a global that a processor can't take.
    """
    faults = [
        fault
        for swarm in plan.swarms
        if not swarm.first_number
        for fault in number_faults(config, swarm.processor, swarm.bloque)
    ]
    if faults:
        raise ConfigError(faults)
    swarms = []
    for swarm in plan.swarms:
        bloque = config.bloques[swarm.bloque]
        swarms.append(
            replace(
                swarm, max_errores=bloque.repair.max_errores,
                min_fitness=bloque.repair.min_fitness, umbral=bloque.umbral.limits,
                params=numbers(config, swarm.processor, swarm.bloque), evolucion=bloque.evolucion,
                symbiosis=symbiosis_of(config, swarm.bloque),
                collect=config.collected(swarm.bloque),
            )
        )  # fmt: skip
    if faults := [fault for swarm in swarms for fault in suiting_faults(swarm)]:
        raise ConfigError(faults)
    return replace(plan, swarms=tuple(swarms))


def symbiosis_of(config: Config, bloque: int) -> str:
    """What becomes of the weak blocks of a bloque."""
    on = "sincronizacion" in config.modules
    return config.bloques[bloque].simbiosis if on else "ninguna"


def schedule_faults(config: Config, plan: Plan) -> Iterator[Fault]:
    """What is wrong with the values of ``schedule``, those of an entry together."""
    # without the schedule itself: each change is a check of the whole configuration
    alone = config.model_copy(update={"schedule": ()})
    for index, entry in enumerate(config.schedule):
        one, limits = alone, set[str]()
        for path, value in entry.sets.items():
            where = f"schedule[{index}].set[{json.dumps(path)}]"
            try:
                place, now = place_of(one, path), value
                if not place.of_world:
                    raise NotLive(f"path: found {path!r:.80}, expected {IN_SCHEDULE}")
                if is_limit(value) and place.is_limit and place.path not in limits:
                    # the other one follows, whatever counts by then: somebody may have set it
                    path, now = place.path, follows(plain(value_at(one, place)), place, value)
                    limits.add(place.path)
                with_settings(plan, fresh := changed(one, path, now))
                one = fresh
            except NotLive as error:
                found, _, allowed = str(error).removeprefix("path: found ").partition(", expected ")
                yield Fault(where, found, allowed)
            except ConfigError as error:
                for fault in error.faults:
                    yield Fault(where, fault.found, fault.allowed)


def check_named(plan: Plan, place: Place) -> None:
    """Raise NotLive for a parameter that the swarm's processor has not. ``plan``: with the bloques
    that are still to come."""
    if place.bloque is None or place.keys[0] != "parametros":
        return
    processor = next((s.processor for s in plan.swarms if s.bloque == place.bloque), None)
    if processor is None:
        raise NotLive(f"path: found {place.path!r:.80}, expected it once the world has grown by it")
    known = [name for name, _ in processor.params]
    if place.keys[1] not in known:
        raise NotLive(
            f"path: found {place.path!r:.80}; {place.keys[1]:.80}: not a parameter of"
            f" {processor.name} (it has: {', '.join(known) or 'none'})"
        )


def with_setting(plan: Plan, path: str, value: Any) -> Plan:
    """``plan`` with one setting changed that was checked before (``config.change``), its path as
    it is kept; as it is where the bloque is still to come (``Runtime.whole_plan``)."""
    if path.startswith("globals."):
        name = path.removeprefix("globals.")
        swarms = [_with_global(swarm, name, float(value)) for swarm in plan.swarms]
        return replace(plan, swarms=tuple(swarms))
    ids = [s.id for s in plan.swarms if path.startswith(f"bloques.{s.id}.")]
    name = max(ids, key=len, default="")
    section, _, key = path.removeprefix(f"bloques.{name}.").partition(".")
    if not name or section not in _SECTIONS:
        return plan
    swarms = [
        _with(swarm, section, key, value) if swarm.id == name else swarm for swarm in plan.swarms
    ]
    return replace(plan, swarms=tuple(swarms))


def _with(swarm: Swarm, section: str, key: str, value: Any) -> Swarm:
    if section == "umbral":
        return replace(swarm, umbral=limits_of(value))
    if section == "autoreparacion":
        changes: dict[str, Any] = {key: float(value)}
        return replace(swarm, **changes)
    place = [known for known, _ in swarm.processor.params].index(key)
    params = (*swarm.params[:place], float(value), *swarm.params[place + 1 :])
    return replace(swarm, params=params)


def _with_global(swarm: Swarm, name: str, value: float) -> Swarm:
    if name not in swarm.processor.globals:
        return swarm
    place = len(swarm.processor.params) + swarm.processor.globals.index(name)
    return replace(swarm, params=(*swarm.params[:place], value, *swarm.params[place + 1 :]))
