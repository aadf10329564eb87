"""Group ``tick``: updates of the sensor per second and core, CoreC beside its rivals.

Every contender draws a uniform number for each entity, moves it, checks that it is finite, takes
σ per 1000 entities, moves umbral and collects what lies above it as messages. CoreC does more:
it keeps the old copy until one store commits the new one, notes failures per entity, and writes
rows and messages into lanes. The server's row is a whole running instance: see ``server_tick``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from corec.kernels.philox import uniforms
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rivals.sensor import BLOCK, TickRival, Values
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of
from corec.lab.bench.server_tick import ServerTick
from corec.lab.bench.world import BenchWorld, sensors

SEED = 42
CHECK_ENTITIES = 4 * BLOCK
CHECK_TICKS = 8

RIVALS: tuple[tuple[str, str, str, dict[str, Any], int, int], ...] = (
    # name, module, class, arguments, entities, entities when quick
    ("hand-written Numba loop", "loop_tick", "LoopTick", {}, 1_000_000, 100_000),
    ("EnTT (C++)", "entt_tick", "EnttTick", {}, 1_000_000, 100_000),
    ("NumPy, Philox", "array_tick", "ArrayTick", {}, 1_000_000, 100_000),
    ("NumPy, SFC64", "array_tick", "ArrayTick", {"generator": "SFC64"}, 1_000_000, 100_000),
    ("Polars", "polars_tick", "PolarsTick", {}, 1_000_000, 100_000),
    ("esper", "esper_tick", "EsperTick", {}, 100_000, 10_000),
    ("Mesa", "mesa_tick", "MesaTick", {}, 20_000, 5_000),
)


def measure(effort: Effort) -> list[Table]:
    """The tables of this group."""
    table = Table("tick", "One tick of the sensor, one core", "M updates/s")
    n = effort.pick(1_000_000, 100_000)
    start = BenchWorld(sensors(n))
    initial = start.valor()
    contenders = [
        Contender("CoreC, kernel", _millions(start.tick, n, effort), True, f"{n:,} entities")
    ]
    for name, module, kind, arguments, usual, quick in RIVALS:
        size = effort.pick(usual, quick)
        try:
            made = getattr(load(module), kind)
        except Absent as absent:
            table.notes.append(f"{name}: skipped, {absent}")
            continue
        table.checks.append(agrees(name, made, arguments))
        rival: TickRival = made(initial[:size], **arguments)
        note = f"{size:,} entities"
        contenders.append(Contender(name, _millions(rival.tick, size, effort), False, note))
    if effort.quick:
        table.notes.append("the running server is left out when quick")
        table.rows = interleave(contenders, effort.rounds)
    else:
        with ServerTick(n) as server:
            contenders.insert(1, server.contender(effort))
            table.rows = interleave(contenders, effort.rounds)
            table.checks += server.checks()
    return [table]


def _millions(tick: Callable[[], None], n: int, effort: Effort) -> Callable[[], float]:
    return rate_of(tick, n / 1e6, effort.sample_seconds)


def agrees(name: str, made: Callable[..., TickRival], arguments: dict[str, Any]) -> Check:
    """Whether a rival that gets CoreC's random numbers comes to CoreC's values and messages.

    The hand-written loop has its own Philox inside: there the distribution is compared.
    """
    world = BenchWorld(sensors(CHECK_ENTITIES, persist={"every_ticks": 1_000_000_000}))
    initial = world.valor()
    world.run_to(CHECK_TICKS)
    ours = world.valor()
    messages = world.expected().messages
    what = f"{name} computes what CoreC computes"
    if made.__name__ == "LoopTick":
        rival = made(initial)
        _run(rival)
        return _alike(what, ours, rival.values(), messages, rival.messages)

    def draws(tick: int) -> Values:
        return uniforms(0, CHECK_ENTITIES, tick, 0, SEED)

    rival = made(initial, uniforms=draws, **arguments)
    _run(rival)
    worst = float(np.abs(rival.values() - ours).max())
    ok = worst < 1e-4 and abs(rival.messages - messages) <= max(2, messages // 100)
    detail = f"largest difference {worst:.1e}, messages {rival.messages} of {messages}"
    return Check(what, ok, f"after {CHECK_TICKS} ticks of {CHECK_ENTITIES}: {detail}")


def _run(rival: TickRival) -> None:
    for _ in range(CHECK_TICKS):
        rival.tick()


def _alike(what: str, ours: Values, theirs: Values, our_messages: int, messages: int) -> Check:
    mean = float(abs(ours.mean() - theirs.mean()))
    deviation = float(abs(ours.std() - theirs.std()))
    ok = mean < 0.01 and deviation < 0.01 and abs(messages / max(our_messages, 1) - 1) < 0.3
    detail = f"mean differs by {mean:.4f}, σ by {deviation:.4f}"
    detail += f", messages {messages} of {our_messages}"
    return Check(f"{what} (in distribution)", ok, detail)
