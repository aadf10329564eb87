"""Small worlds in this process, put to a tick and filled by hand: nobody ticks them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config import parse_config
from corec.plan import make_plan
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.world.kept import Keeper
from corec.world.read import BlockView
from corec.world.snapshot import Snapshot

BLOQUES = [
    {"id": "sensores", "canal": 1, "entidades": 33, "entidades_por_bloque": 20},
    {"id": "detectores", "canal": 3, "entidades": 11, "entidades_por_bloque": 4,
     "procesador": "ewma"},
]  # fmt: skip


@contextmanager
def world(
    folder: Path, shm: Path, bloques: list[dict[str, Any]] | None = None
) -> Iterator[Runtime]:
    """A real world at tick 0 in ``shm`` whose checkpoints go to ``folder``; removed afterwards."""
    config = parse_config(
        {"instance_id": "small", "state_dir": str(folder), "bloques": bloques or BLOQUES},
        base_dir=folder,
    )
    rt, _ = segments.create(config, shm, 2, None, make_plan(config), lambda _done, _total: None)
    try:
        yield rt
    finally:
        for bell in rt.doorbells:
            bell.close()
        segments.remove(shm)
        vars(rt).clear()
        gc.collect()


def views(rt: Runtime) -> list[BlockView]:
    """The committed copies of all blocks."""
    return [BlockView(rt.plan, rt.world.words, index) for index in range(rt.plan.n_blocks)]


def words_of(view: BlockView) -> NDArray[np.uint64]:
    """The dynamic words that count, writable."""
    start = view._base + L.OFF_DYN[view.word & 1] // 8
    return view._words[start : start + L.DYN_WORDS]


def put_to_tick(rt: Runtime, tick: int) -> None:
    """Every block has committed ``tick``, every worker says so."""
    for view in views(rt):
        view._words[view._base + L.OFF_COMMIT // 8] = np.uint64(tick << 16 | view.word & 1)
    rt.set(L.C_GO_TICK, tick)
    for k in range(rt.lanes):
        rt.slot(L.SLOT_WORKER0 + k).set(L.S_TICK, tick)


def ring_table(view: BlockView, name: str) -> tuple[NDArray[np.float32], int]:
    """(f32[n, slots] in place, length) of one history."""
    ring = next(r for r in view.swarm.processor.history if r.name == name)
    return view.ring(name), ring.length


def push(rt: Runtime, rng: np.random.Generator, most: int) -> None:
    """Push up to ``most`` values to each entity with a history."""
    for view in views(rt):
        for ring in view.swarm.processor.history:
            table, _ = ring_table(view, ring.name)
            counts = view.column(ring.count_field)
            for i in range(view.n):
                for _ in range(int(rng.integers(0, most + 1))):
                    table[i, int(counts[i]) % ring.slots] = rng.random()
                    counts[i] += 1


def reset(rt: Runtime, rng: np.random.Generator) -> None:
    """Repair some entity with a history: it begins anew, as ``block.repair`` leaves it."""
    with_history = [view for view in views(rt) if view.swarm.processor.history]
    view = with_history[int(rng.integers(len(with_history)))]
    i = int(rng.integers(view.n))
    for ring in view.swarm.processor.history:
        view.column(ring.count_field)[i] = 0
    words_of(view)[L.D_REPAIRS] += np.uint64(1)


def fill(rt: Runtime, rng: np.random.Generator) -> None:
    """Something in every column, and in every byte of the message log."""
    for view in views(rt):
        log, size = view._start + int(view._place["log"]), int(view._place["log_cap"])
        size *= L.LOG_DTYPE.itemsize
        view._bytes[log : log + size] = rng.integers(1, 256, size, np.uint8)
        view.column("valor")[:] = rng.random(view.n)
        for field in view.swarm.processor.state:
            view.column(field.name)[:] = rng.integers(0, 100, view.n)
        view.activo[:] = rng.integers(0, 2, view.n)
        view.fallos[:] = rng.integers(0, 1000, view.n)
        view.racha[:] = rng.integers(0, 3, view.n)
        words_of(view)[L.D_LOG_N] = rng.integers(0, 50)
        words_of(view)[L.D_FITNESS] = rng.integers(0, 2**62)


def make_checkpoint(rt: Runtime, folder: Path, keep: int = 3, keeper: Keeper | None = None) -> Path:
    """All the steps, one after the other."""
    snapshot = Snapshot(rt, folder, lambda: False)
    try:
        snapshot.prepare()
        snapshot.take()
        snapshot.write()
        return snapshot.publish(keeper or Keeper(folder, rt.epoch), keep).path
    finally:
        snapshot.abandon()
