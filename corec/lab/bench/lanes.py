"""Group ``lanes``: frames from one process to another, by frame size.

One process produces, one consumes, each on a core of its own where there are two. CoreC's ends are
compiled loops, as the worker's and the broker's are; the consumer copies each frame out and adds
up a number of it, which is checked.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from corec.lab.bench.kernels import consume, produce
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, RivalFailed, interleave
from corec.lab.bench.world import tmpfs_memory
from shm.lane import Lane, lane_region_bytes

SIZES: Final = (64, 1024, 10_240)
LANE_BYTES: Final = 8 << 20
FILL: Final = 3
"""Every payload byte."""


class LaneLost(RivalFailed):
    """A consumer did not see what was sent."""


@contextmanager
def on_core(index: int) -> Iterator[None]:
    """Run this process on one of its cores meanwhile."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(mine)[index % len(mine)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def expected_sum(frames: int) -> int:
    """What the consumer of ``frames`` frames adds up: their numbers (16 bits) and first bytes."""
    whole, rest = divmod(frames, 1 << 16)
    return whole * sum(range(1 << 16)) + sum(range(rest)) + FILL * frames


def lane_rate(size: int, frames: int) -> float:
    """Million frames of ``size`` bytes per second through a CoreC lane."""
    lane = Lane.create(tmpfs_memory(lane_region_bytes(LANE_BYTES)))
    payload = np.full(size, FILL, np.uint8)
    result = np.zeros(1, np.int64)
    ready, answer = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with on_core(1):
                copy = np.zeros(size, np.uint8)
                os.write(ready[1], b"r")
                result[0] = consume(lane.ctl, lane.data, frames, copy)
                os.write(answer[1], result.tobytes())
                code = 0
        finally:
            os._exit(code)
    try:
        os.read(ready[0], 1)
        with on_core(0):
            began = time.perf_counter()
            produce(lane.ctl, lane.data, payload, frames)
            os.waitpid(pid, 0)
            took = time.perf_counter() - began
        found = int(np.frombuffer(os.read(answer[0], 8), np.int64)[0])
    finally:
        for descriptor in (*ready, *answer):
            os.close(descriptor)
    if found != expected_sum(frames):
        raise LaneLost(f"lane: the consumer added up {found}, expected {expected_sum(frames)}")
    return frames / took / 1e6


def _drain_queue(queue: Any, ready: Any, frames: int) -> None:
    with on_core(1):
        ready.set()
        taken = sum(queue.get()[0] for _ in range(frames))
    if taken != FILL * frames:
        raise SystemExit(1)


def queue_rate(size: int, frames: int) -> float:
    """Million frames per second through ``multiprocessing.Queue``."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    return through(context, queue, _drain_queue, queue.put, size, frames)


def through(
    context: Any, queue: Any, drain: Callable[..., None], put: Callable[[bytes], None],
    size: int, frames: int,
) -> float:  # fmt: skip
    """Million frames per second from here through ``queue`` to a process that runs ``drain``."""
    ready = context.Event()
    consumer = context.Process(target=drain, args=(queue, ready, frames))
    consumer.start()
    ready.wait()
    payload = bytes([FILL]) * size
    try:
        with on_core(0):
            began = time.perf_counter()
            for _ in range(frames):
                put(payload)
            consumer.join()
            took = time.perf_counter() - began
    finally:
        consumer.kill()
        consumer.join()
    if consumer.exitcode != 0:
        raise LaneLost(f"queue: the consumer ended with {consumer.exitcode}")
    return frames / took / 1e6


def measure(effort: Effort) -> list[Table]:
    """A table for each frame size."""
    tables = []
    for size in SIZES:
        table = Table(f"lanes-{size}", f"Frames of {size:,} bytes, one process to another",
                      "M frames/s")  # fmt: skip
        frames = effort.pick(max(100_000, 128_000_000 // (size + 32)), 20_000)
        few = effort.pick(20_000, 2_000)
        contenders = [
            Contender("CoreC lane", _sampler(lane_rate, size, frames), True, f"{frames:,} frames"),
            Contender("multiprocessing.Queue", _sampler(queue_rate, size, few), False,
                      f"{few:,} frames"),
        ]  # fmt: skip
        try:
            rival = load("fifo").fifo_rate
            contenders.append(
                Contender("faster-fifo", _sampler(rival, size, 5 * few), False,
                          f"{5 * few:,} frames, put_many and get_many")
            )  # fmt: skip
        except Absent as absent:
            table.notes.append(f"faster-fifo: skipped, {absent}")
        table.rows = interleave(contenders, effort.rounds)
        rate = table.rows[0].median
        table.notes.append(f"CoreC lane: {rate * size / 1e3:.2f} GB/s of payload")
        table.checks.append(Check("every frame arrived, in every sample", True, "sums compared"))
        tables.append(table)
    return tables


def _sampler(rate: Callable[[int, int], float], size: int, frames: int) -> Callable[[], float]:
    return lambda: rate(size, frames)
