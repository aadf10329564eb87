"""Group ``frames``: what ``corec.attach(…).frame()`` costs the living world it reads.

A million entities at 20 ticks a second, a frame of ten columns twice a second by another process,
or nobody: in turns, so that a machine that slows down slows both down. A tick's time is that of its
slowest worker, read from the words of each after every tick. Then one frame that was taken while
the world lived is held against the checkpoint of its very tick.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import corec
from corec import layout as L
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort, tell
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.world import sensors
from corec.lab.instance import LabFailed
from corec.view.frame import Frame
from corec.view.saved import Saved

HZ = 20.0
FRAMES_PER_SECOND = 2.0
STRETCH_SECONDS = 12.0
LOOK_SECONDS = 0.002
P99_TIMES_MAX = 1.05
TRIES = 20
COLUMNS = ["id", "valor", "activo", "fallos", *(f"x{k}" for k in range(6))]
_READER = """
import json, sys, threading, time
import corec
columns, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
took, over = [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
with corec.attach() as world:
    world.frame(columns=columns)
    print("ready", flush=True)
    while not over.wait(seconds):
        began = time.perf_counter()
        world.frame(columns=columns)
        took.append(1e3 * (time.perf_counter() - began))
print(json.dumps(took), flush=True)
"""


def measure(effort: Effort) -> list[Table]:
    """One table: ticks alone, ticks beside a reader, the frames."""
    n = effort.pick(1_000_000, 20_000)
    title = f"Ticks of {n:,} entities at {HZ:g} Hz, and frame() of ten columns beside them"
    table = Table("frames", title, "ms", "lower")
    config = sensors(
        n, bloque={"procesador": "corec.lab.bench.processors:ten", "umbral": "nunca"},
        persist={"every_ticks": NEVER}, checkpoint={"every_seconds": 0},
    )  # fmt: skip
    alone: list[float] = []
    beside: list[float] = []
    frames: list[float] = []
    seconds = STRETCH_SECONDS if not effort.quick else 1.0
    with Server(config, workers="auto") as server:
        server.start(tick_hz=HZ, paused=False)
        for number in range(effort.rounds):
            tell(f"  round {number + 1} of {effort.rounds}")
            alone += _ticks(server, seconds)
            with _Reader(server) as reader:
                beside += _ticks(server, seconds)
            frames += reader.took
        table.checks.append(_held_against_a_checkpoint(server))
        load = os.getloadavg()
    rows = [Row("a tick, nobody reads", alone, True), Row("a tick, beside a reader", beside, True)]
    for row in (*rows, Row("a frame of ten columns", frames, True)):
        p50, p99 = np.percentile(row.samples, (50, 99)).tolist()
        row.low_high, row.note = (p50, p99), f"p50 and p99 of {len(row.samples):,}"
        table.rows.append(row)
    table.notes.append(f"load average of the machine behind it: {load[0]:.1f} {load[1]:.1f}")
    times = rows[1].spread[1] / rows[0].spread[1]
    if not effort.quick:
        what = f"p99 of the ticks within {P99_TIMES_MAX - 1:.0%} of nobody reading"
        table.checks.append(Check(what, times <= P99_TIMES_MAX, f"{times:.3f} times"))
    return [table]


def _ticks(server: Server, seconds: float) -> list[float]:
    """Milliseconds that each tick took within so many seconds: of its slowest worker."""
    slots = [L.SLOT_WORKER0 + k for k in range(server.get(L.C_WORKERS))]

    def sums() -> list[int]:
        return [server.slot(slot, L.S_BUCKET_SUM_NS) for slot in slots]

    found: list[float] = []
    end = time.monotonic() + seconds
    tick, before = server.tick, sums()
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        if (now := server.tick) == tick:
            continue
        after = sums()
        if now == tick + 1:  # else this process got no core for longer than a tick
            found.append(max(b - a for a, b in zip(before, after, strict=True)) / 1e6)
        tick, before = now, after
    if not found:
        raise LabFailed("no tick was seen alone")
    return found


class _Reader:
    """Another process that takes frames, until the end of the block."""

    def __init__(self, server: Server) -> None:
        words = [sys.executable, "-c", _READER, json.dumps(COLUMNS), str(1.0 / FRAMES_PER_SECOND)]
        self.took: list[float] = []
        self._process = subprocess.Popen(
            words, env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> _Reader:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise LabFailed("the reader could not attach")
        return self

    def __exit__(self, *_: object) -> None:
        said, _nothing = self._process.communicate("", 60.0)
        self.took = json.loads(said)


def _held_against_a_checkpoint(server: Server) -> Check:
    """A frame of a tick while the world lives, and the checkpoint of that tick."""
    what = "a frame is what a checkpoint of its tick holds"
    os.environ["COREC_RUNTIME_BASE"] = str(server.runtime)
    try:
        with corec.attach() as world:
            for _ in range(TRIES):
                frames, path = _while_saving(world)
                saved = Saved(path).frame(columns=COLUMNS)
                frame = frames.get(saved.tick)
                if frame is None:
                    continue
                same = [np.array_equal(frame[name], saved[name]) for name in COLUMNS]
                detail = f"tick {saved.tick}, {len(saved):,} entities, {len(COLUMNS)} columns"
                return Check(what, all(same), detail)
    finally:
        del os.environ["COREC_RUNTIME_BASE"]
    return Check(what, False, f"no frame of the checkpoint's tick in {TRIES} tries")


def _while_saving(world: Any) -> tuple[dict[int, Frame], Path]:
    """Frames by tick, as many as there is time for while a checkpoint is made; its file."""
    made: list[Path] = []
    saving = threading.Thread(target=lambda: made.append(world.snapshot()))
    frames: dict[int, Frame] = {}
    saving.start()
    while saving.is_alive():
        frame = world.frame(columns=COLUMNS)
        frames[frame.tick] = frame
        while len(frames) > 60:
            del frames[min(frames)]
    saving.join()
    return frames, made[0]
