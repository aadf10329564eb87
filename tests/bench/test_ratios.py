"""Speed against a reference computed in the same process: a ratio, never a time.

The bounds are generous, since tests run on busy machines; both sides are taken in turns and the
best of several counts for each, which is what the machine allows when nobody disturbs.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import numpy as np
import pytest

from corec.kernels.frames import write_messages
from corec.lab.bench.lanes import lane_rate, queue_rate
from corec.lab.bench.rivals.array_tick import ArrayTick
from corec.lab.bench.world import BenchWorld, sensors
from corec.layout import MESSAGE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
TURNS = 7


def best(*contenders: Callable[[], object]) -> list[float]:
    """The shortest of ``TURNS`` runs of each, taken in turns, CPU seconds: what others do meanwhile
    counts little."""
    times = [float("inf")] * len(contenders)
    for contender in contenders:
        contender()
    for _ in range(TURNS):
        for k, contender in enumerate(contenders):
            began = time.thread_time()
            contender()
            times[k] = min(times[k], time.thread_time() - began)
    return times


def test_a_tick_is_faster_than_numpy() -> None:
    world = BenchWorld(sensors(100_000))
    rival = ArrayTick(world.valor())

    def ours() -> None:
        for _ in range(10):
            world.tick()

    def theirs() -> None:
        for _ in range(10):
            rival.tick()

    mine, numpys = best(ours, theirs)
    assert numpys / mine > 1.5


def test_twice_the_entities_take_about_twice_the_time() -> None:
    small, large = BenchWorld(sensors(100_000)), BenchWorld(sensors(200_000))
    first, second = best(small.tick, large.tick)
    assert 1.3 < second / first < 3.5


@pytest.mark.parametrize("size", [64, 10_240])
def test_a_lane_is_faster_than_a_queue(size: int) -> None:
    ratios = [lane_rate(size, 20_000) / queue_rate(size, 2_000) for _ in range(3)]
    assert max(ratios) > 2


def test_messages_are_packed_faster_than_by_struct() -> None:
    count = 10_000
    local = np.arange(count, dtype=np.uint32)
    picked = np.linspace(0.5, 1.0, count, dtype=np.float32)
    out = np.zeros(count, MESSAGE)
    pack = struct.Struct("!Ibf?").pack
    pairs = list(zip(local.tolist(), picked.tolist(), strict=True))
    packed: list[bytes] = []

    def ours() -> None:
        write_messages(out.ctypes.data, 1000, 3, count, local, picked)

    def theirs() -> None:
        packed[:] = [pack(1000 + i, 3, valor, True) for i, valor in pairs]

    mine, structs = best(ours, theirs)
    assert out.tobytes() == b"".join(packed)
    assert structs / mine > 10
