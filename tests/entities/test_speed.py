"""The entity loop is vectorised: ratios measured in one process, with room for a busy machine."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from corec import micro
from corec.entities.compile import compile_processor
from corec.entities.processor import Processor
from corec.kernels import desc as K
from corec.kernels.calls import Update
from corec.kernels.philox import uniforms
from corec.processors.sensor import sensor
from corec.testing import Block

N = 1000
REPEATS = 200
pytestmark = pytest.mark.slow


@micro(state={"f0": "f4"})
def one_field(me: Any) -> Any:
    me.f0 = 0.9 * me.f0 + 0.1
    return me.f0


@micro(state={f"f{k}": "f4" for k in range(8)} | {"count": "u4"})
def many_fields(me: Any) -> Any:
    me.f0 = 0.9 * me.f0 + 0.1 * me.f7
    me.f1 = 0.9 * me.f1 + 0.1 * me.f0
    me.f2 = 0.9 * me.f2 + 0.1 * me.f1
    me.f3 = 0.9 * me.f3 + 0.1 * me.f2
    me.f4 = 0.9 * me.f4 + 0.1 * me.f3
    me.f5 = 0.9 * me.f5 + 0.1 * me.f4
    me.f6 = 0.9 * me.f6 + 0.1 * me.f5
    me.f7 = 0.9 * me.f7 + 0.1 * me.f6 + 0.01
    if me.f7 > 0.5:
        me.f7 = 0.0
        me.count += 1
    return me.f7


def best_seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of the fastest of several runs: what others do meanwhile counts little."""
    found = []
    for _ in range(9):
        start = time.thread_time()
        call()
        found.append(time.thread_time() - start)
    return min(found)


def ns_per_entity(processor: Processor) -> float:
    """Time of the update kernel alone, over blocks that stay in the cache."""
    block = Block(processor, entities=N)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(Update._fields))(
        compile_processor(processor, N).update
    )
    tables = block.tables
    at = [tables.scratch_address + int(offset) for offset in tables.scratch_offsets]
    ctypes.memset(at[K.X_RUN], 1, N)
    row, swarm = tables.blocks[0], tables.swarms[0]
    cur = int(row[K.B_HOT])
    new = cur + int(swarm[K.W_COPY_BYTES])
    given = Update(
        cur=cur, new=new, hist=int(row[K.B_HIST]), n=N, first_id=0, tick=1, seed=42,
        params=int(swarm[K.W_PARAMS]), means=at[K.X_MEANS], rnd=at[K.X_RND], run=at[K.X_RUN],
        ok=at[K.X_OK], ahead=cur, told=at[K.X_TOLD], pub=0, origin=0, near=0, genes=0, own=0,
        everyone=0,
    )  # fmt: skip

    def run(n: int) -> None:
        for tick in range(1, REPEATS + 1):
            function(*given._replace(n=n, tick=tick))

    run(N)
    seconds = best_seconds(lambda: run(N)) - best_seconds(lambda: run(1))
    return seconds / REPEATS / (N - 1) * 1e9


def test_the_sensor_is_faster_than_whole_arrays_of_numpy() -> None:
    mine = ns_per_entity(sensor)
    valor = np.zeros(N, np.float32)

    def numpy_ticks() -> None:
        for tick in range(1, REPEATS + 1):
            noise = np.float32(0.1082) * (uniforms(0, N, tick, 0, 42) - np.float32(0.5))
            valor[:] = np.float32(0.3) + np.float32(0.95) * (valor - np.float32(0.3)) + noise
            valor[~np.isfinite(valor)] = 0.0

    numpy_ticks()
    theirs = best_seconds(numpy_ticks) / REPEATS / N * 1e9
    print(f"sensor {mine:.2f} ns/entity, NumPy {theirs:.2f}")
    assert mine * 1.5 < theirs


def test_many_fields_vectorise_like_one() -> None:
    """Without, LLVM's loop takes 15 ns an entity: 60 times one field, for 9 times the work."""
    one, many = ns_per_entity(one_field), ns_per_entity(many_fields)
    print(f"one field {one:.2f} ns/entity, nine {many:.2f}")
    assert many < 25 * max(one, 0.25)
