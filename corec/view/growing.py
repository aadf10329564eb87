"""Which entities a world in this process has: at first, as its instance grew, and by ``grow``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, SupportsIndex

from corec.config import Config
from corec.config.change import NotLive, changed
from corec.config.swarm import BloqueConfig
from corec.entities.processor import Processor
from corec.journal.past import Growth, Past
from corec.plan import Plan, make_plan
from corec.plan_live import with_settings
from corec.view.reading import whole
from corec.view.recorded import Recorded
from corec.world.checkpoint import Checkpoint, CheckpointRefused
from corec.world.grown import growths, larger, parts_at_first
from corec.world.live import Live, Since
from corec.world.packing import parts_of
from corec.world.past import UNLIKE, same_rules, settled_head
from corec.world.settings import Entries, effective, entries_in
from corec.world.shape import differences, shape
from corec.world.tables import Tables

Processors = Mapping[str, Processor]


def plan_at_first(
    config: Config, processors: Processors, found: Checkpoint | None, past: Past | None
) -> Plan:
    """The plan of a world of ``config`` that begins at the checkpoint ``found``, or at tick 0, and
    follows ``past``.

    Raises:
        CheckpointRefused: it is not ``config``'s. ConfigError.
    """
    if found is None:
        parts = parts_at_first(past) if past is not None else ()
        return make_plan(config, processors, parts, grow=not parts)
    whole_config, _ = effective(config, entries_in(settled_head(found.head, past)))
    wanted = shape(make_plan(whole_config, processors), config.seed)
    if differs := differences(found.head, wanted, growing=True):
        told = "; ".join(differs)
        raise CheckpointRefused(f"{found.path}: does not fit the configuration: {told}")
    return make_plan(whole_config, processors, parts_of(found.head["swarms"]), grow=False)


def growths_in(
    config: Config, processors: Processors, plan: Plan, past: Past | None,
    head: Mapping[str, Any] | None,
) -> list[Growth]:  # fmt: skip
    """Where the world of ``plan`` grows: within the ticks that are replayed as it did then, and
    before the next tick behind them to what ``config`` has. ``head``: of its checkpoint, with the
    settings that it goes on with. Warns where what is replayed may come out otherwise. Raises
    ConfigError."""
    found = _growths_in(config, processors, plan, past, head)
    if past is not None and not same_rules(config, plan, found, past):
        warnings.warn(f"replay: {UNLIKE}", RuntimeWarning, stacklevel=3)
    return found


def _growths_in(
    config: Config, processors: Processors, plan: Plan, past: Past | None,
    head: Mapping[str, Any] | None,
) -> list[Growth]:  # fmt: skip
    if head is None:
        return []
    whole_config, _ = effective(config, entries_in(head))
    found = [] if past is None else growths(whole_config, plan, past, processors)
    grown = larger(whole_config, found[-1].plan if found else plan, processors)
    if grown is not None:
        found.append(Growth((int(head["tick"]) if past is None else past.until) + 1, grown))
    return found


def settling(
    recorded: Recorded | None, config: Config, plan: Plan, given: Mapping[str, Since], tick: int
) -> Callable[[Tables, int], object]:
    """Has tables of ``plan`` say what counts in ``tick``, the next one, or counted then; ``given``:
    all that was set."""
    if recorded is not None and tick <= recorded.until:
        return recorded.settings
    live = Live(config, with_settings(plan, config))
    live.take(given)
    return live.settle


def taken_over(config: Config, head: Mapping[str, Any]) -> tuple[Config, Entries]:
    """``config`` with what had been set in the world of a checkpoint with this ``head``, and that:
    where ``config`` still says what it did then."""
    value, said = head.get("settings", {}).get("carga", (None, None))
    if value is not None and said in (None, config.carga):
        config = changed(config, "carga", value)
    return effective(config, entries_in(head))


def grown_by(
    config: Config, processors: Processors, plan: Plan, swarm: str, more: SupportsIndex
) -> tuple[Config, Plan]:
    """Configuration and plan with ``more`` entities more in ``swarm``.

    Raises:
        ValueError: there is no such bloque, or its entities can't become more. ConfigError.
    """
    count = whole("more", more)
    bloque = next((one for one in config.bloques if one.id == swarm), None)
    if bloque is None:
        names = ", ".join(one.id for one in config.bloques)
        raise ValueError(f"swarm: found {swarm!r:.80}, expected one of {names}")
    if count < 1:
        raise ValueError(f"more: found {count}, expected a whole number, 1 or more")
    try:
        config = changed(config, f"bloques.{swarm}.entidades", bloque.entidades + count)
    except NotLive as error:
        raise ValueError(str(error)) from None
    found, wanted = (shape(p, config.seed) for p in (plan, make_plan(config, processors)))
    if told := differences(found, wanted, growing=True):
        raise ValueError("; ".join(told))
    grown = larger(config, plan, processors)
    if grown is None:
        raise ValueError(
            f"more: found {count} in {swarm}, which has {bloque.places} places (capacidad); "
            "free places are for births"
        )
    return config, grown


def grown_to(
    config: Config, processors: Processors, plan: Plan, bloque: BloqueConfig, entidades: Any
) -> tuple[Config, Plan]:
    """The same, with so many entities in all. Raises ValueError, ConfigError."""
    count = whole("entidades", entidades)
    if count <= bloque.entidades:
        raise NotLive(
            f"value: found {count}, expected more than the {bloque.entidades} entities that "
            f"{bloque.id} has; fewer take a new world"
        )
    return grown_by(config, processors, plan, bloque.id, count - bloque.entidades)
