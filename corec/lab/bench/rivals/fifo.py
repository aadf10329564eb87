"""faster-fifo: a queue in C++ for Python processes, by batches, which is where it is fastest."""

from __future__ import annotations

import multiprocessing
from queue import Empty, Full
from typing import Any

import faster_fifo

from corec.lab.bench.lanes import FILL, LaneLost, on_core, through

QUEUE_BYTES = 8 << 20
BATCH = 100


def _drain(queue: Any, ready: Any, frames: int) -> None:
    taken = total = 0
    with on_core(1):
        ready.set()
        while taken < frames:
            try:
                found = queue.get_many(timeout=10.0)
            except Empty:
                raise SystemExit(1) from None
            taken += len(found)
            total += sum(one[0] for one in found)
    if total != FILL * frames:
        raise SystemExit(1)


def fifo_rate(size: int, frames: int) -> float:
    """Million frames of ``size`` bytes per second."""
    if frames % BATCH:
        raise LaneLost(f"faster-fifo: {frames} frames are no whole number of batches of {BATCH}")
    queue: Any = faster_fifo.Queue(max_size_bytes=QUEUE_BYTES)
    batch: list[bytes] = []

    def put(payload: bytes) -> None:
        batch.append(payload)
        if len(batch) == BATCH:
            try:
                queue.put_many(batch, timeout=10.0)
            except Full:
                raise LaneLost("faster-fifo: the queue stays full") from None
            batch.clear()

    try:
        return through(multiprocessing.get_context("fork"), queue, _drain, put, size, frames)
    finally:
        queue.close()
