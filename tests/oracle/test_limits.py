"""Worlds at a limit and one beyond it, in the kernels, against the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corec.lab.oracle.block import Reading
from corec.lab.oracle.world import World, log_cap
from tests.oracle import kernels
from tests.oracle.drawn import KINDS, MODULE, PER_BLOCK, Drawn


def one_swarm(
    name: str, entidades: int, ticks: int, every: int = 1,
    readings: dict[int, list[Reading]] | None = None, **more: Any,
) -> Drawn:  # fmt: skip
    """A world of one swarm."""
    swarm = {
        "id": "b0", "canal": -128, "entidades": entidades, "entidades_por_bloque": PER_BLOCK,
        "procesador": f"{MODULE}:{name}", **more,
    }  # fmt: skip
    config = {"seed": 7, "carga": 1.0, "persist": {"every_ticks": every}, "bloques": [swarm]}
    return Drawn(config, ticks, readings or {})


@pytest.mark.parametrize("every", [65_535, 65_536, 65_537, 10**9])
def test_more_ticks_between_two_rows_than_16_bits_count(every: int) -> None:
    """To as many as there may be; ticks in which nothing comes are left out (each of them comes in
    ``tests/kernels/test_frames.py``)."""
    loud, silent = [(0, 2.0, True)], [(0, 0.0, True)]
    readings = {1: loud, 2: silent, every - 7: loud, every + 3: silent}
    drawn = one_swarm("keeper", 1, every + 4, every, readings)
    kernels.check(drawn, left_out=range(4, every - 9))


@pytest.mark.slow
@pytest.mark.parametrize("count", [255, 257, 2049, 4097, 40_000])
def test_a_tick_of_many_steps(count: int) -> None:
    """Each reading pushes four times, so a step takes few of them."""
    burst = [(3, float(k % 7), True) for k in range(count)] + [(1, 0.5, True)]
    kernels.check(one_swarm("tracer", 5, 3, 3, {2: burst}))


@pytest.mark.slow
def test_failures_in_every_step_of_a_tick_are_repaired_once() -> None:
    burst = [(k % 5, 2000.0 if k % 3 else 0.5, True) for k in range(9000)]
    kernels.check(one_swarm("listener", 7, 4, 2, {1: burst, 2: burst, 4: burst[:5000]}))


@pytest.mark.slow
def test_a_message_more_than_the_log_holds() -> None:
    room = log_cap(KINDS[f"{MODULE}:keeper"], PER_BLOCK, 1)
    ticks = room // PER_BLOCK + 2
    loud = [(k, 2.0, True) for k in range(PER_BLOCK)]
    drawn = one_swarm("keeper", PER_BLOCK, ticks, ticks, {1: loud})
    world = World(drawn.config, KINDS)
    assert world.blocks[0].settings.log_cap == room < PER_BLOCK * ticks
    kernels.check(drawn, look_every=50)


@pytest.mark.parametrize("before", [2**31 - 2, 2**32 - 2])
def test_more_ticks_than_31_and_32_bits_count(before: int) -> None:
    for name in ("fragile", "clerk"):
        readings: dict[int, list[Reading]] = {before + 2: [(7, 2.0, True), (9, 0.5, False)]}
        kernels.check(one_swarm(name, PER_BLOCK, 4, 2, readings), before=before)


@pytest.mark.parametrize("name", ["keeper", "listener"])
def test_a_block_in_which_everybody_fails(name: str) -> None:
    hot = [(k, 2000.0, True) for k in range(PER_BLOCK)]
    cold = [(k, 0.5, True) for k in range(0, PER_BLOCK, 3)]
    readings = {1: hot, 2: hot, 3: cold + hot, 4: hot + cold, 5: hot}
    kernels.check(one_swarm(name, PER_BLOCK, 6, 4, readings))


@pytest.mark.parametrize("entidades", [1, PER_BLOCK, PER_BLOCK + 1])
def test_sizes_about_a_block(entidades: int) -> None:
    for name in ("fragile", "clerk", "chorus"):
        kernels.check(one_swarm(name, entidades, 5, 2))


@pytest.mark.parametrize("carga", [0.07, 0.14, 0.28, 0.29, 0.55, 0.57, 0.58])
def test_a_load_as_its_decimals_say(carga: float) -> None:
    """``0.07 * 100`` is more than 7 in binary, ``0.29 * 100`` less than 29."""
    drawn = one_swarm("keeper", 100, 3, 2, entidades_por_bloque=100)
    kernels.check(replace(drawn, config={**drawn.config, "carga": carga}))


@pytest.mark.parametrize("failing", [28, 29, 30])
def test_a_share_of_errores_as_its_decimals_say(failing: int) -> None:
    hot: list[Reading] = [(k, 2000.0 if k < failing else 0.5, True) for k in range(100)]
    more = {"entidades_por_bloque": 100, "autoreparacion": {"max_errores": 0.29}}
    drawn = one_swarm("keeper", 100, 2, 1, {1: hot}, **more)
    world = drawn.play()
    assert bool(world.repairs) == (failing > 29)
    kernels.check(drawn)
