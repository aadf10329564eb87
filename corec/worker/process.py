"""The worker's life: wait for a tick, run it in one compiled call, say so, again.

Own words: its slot in the control segment, its two lanes (producer end), its blocks. Worker 0 owns
the leader's words as well. ``S_TICK = T`` is stored after the last block's commit of T; a kill
between the two makes the successor run T over blocks that have all committed it: nothing happens.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import uvloop

from corec import layout as L
from corec.child import Child
from corec.kernels import desc as K
from corec.kernels.block import tick_range
from corec.kernels.inputs import count_inputs, sort_inputs
from corec.kernels.touch import touch_range
from corec.plan import split_blocks
from corec.runtime import Runtime, word_to_float
from corec.worker.leader import SPINS_FLAT_OUT, Leader
from corec.world.tables import Tables
from shm.atomics import spin_until_at_least
from shm.killpoint import kill_point

PAGE_BYTES: Final = 4096
WAKE_SECONDS_MAX: Final = 0.05
BUCKETS_NS: Final = tuple(int(s * 1e9) for s in L.TICK_BUCKETS_SECONDS)


class Worker:
    """Worker ``k`` of ``workers``: the blocks ``lo … hi−1``."""

    def __init__(self, rt: Runtime, tables: Tables, k: int, workers: int, child: Child) -> None:
        self.rt, self.tables, self.k, self.child = rt, tables, k, child
        self.slot = rt.slot(L.SLOT_WORKER0 + k)
        self.tick_word = self.slot.base + L.S_TICK
        self.bell = rt.doorbells[L.SLOT_WORKER0 + k]
        self.lo, self.hi = split_blocks(rt.plan, workers)[k]
        self.leader = Leader(rt, workers) if k == 0 else None
        self.woken = asyncio.Event()
        n = rt.plan.n_blocks
        self.in_start = np.zeros(n + 1, np.int64)
        self.cursor = np.zeros(n, np.int64)
        self.sort_space(1024)
        self.targs = np.zeros(K.T_COLUMNS, np.int64)
        self.targs[K.T_SEED] = np.uint64(rt.config.seed).view(np.int64)
        self.targs[K.T_EVERY] = rt.config.persist.every_ticks
        self.targs[K.T_NO_LOG] = rt.config.persist.payload != "json"
        self.targs[K.T_SCRATCH] = tables.scratch_address
        self.fargs = np.ones(K.F_COLUMNS, np.float64)
        self.ranges = np.array(
            [(s.first_id, s.first_id + s.entidades, s.cap, s.first_block) for s in rt.plan.swarms],
            np.int64,
        )
        self.first_id = self.end_id = 0
        if self.lo < self.hi:
            first, last = rt.plan.blocks[self.lo], rt.plan.blocks[self.hi - 1]
            self.first_id = int(first["first_id"])
            self.end_id = int(last["first_id"] + last["entidades"])

    def sort_space(self, readings: int) -> None:
        """Room for that many readings of one tick."""
        self.in_local = np.zeros(readings, np.uint32)
        self.in_value = np.zeros(readings, np.float32)
        self.in_active = np.zeros(readings, np.uint8)

    async def run(self) -> None:
        """Tick until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.bell.fileno(), self._rung)
        touch_range(self.tables.blocks, self.tables.swarms, self.lo, self.hi)
        for lane in (self.rt.out[self.k], self.rt.rows[self.k]):
            lane.data[::PAGE_BYTES].sum()  # mapped now, and not frame by frame within the ticks
        self.slot.set(L.S_STATE, L.PROC_READY)
        while True:
            tick = self.slot.get(L.S_TICK) + 1
            if not await self._may_run(tick):
                break
            await self._tick(tick)
            await asyncio.sleep(0)
        self.slot.set(L.S_STATE, L.PROC_DRAINED)

    def _rung(self) -> None:
        self.bell.drain()
        self.woken.set()

    def _leaving(self, tick: int) -> bool:
        """Whether ``tick`` will never run in this process group."""
        if self.rt.get(L.C_STOP) >= L.STOP_NOW or self.child.orphaned():
            return True
        final = self.rt.get(L.C_FINAL)
        return final != 0 and tick >= final

    async def _sleep(self, ready: Callable[[], bool], seconds: float) -> None:
        """Sleep until the doorbell, at most ``seconds``; not at all when ``ready()``."""
        self.slot.set(L.S_BEAT_NS, time.monotonic_ns())
        self.woken.clear()
        self.bell.prepare_sleep()
        try:
            if not ready():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.woken.wait(), seconds)
        finally:
            self.bell.cancel_sleep()

    async def _may_run(self, tick: int) -> bool:
        """Wait until ``tick`` went (the leader: let it go); false: this worker is to leave."""
        rt = self.rt
        flat_out = word_to_float(rt.get(L.C_TICK_HZ)) <= 0.0
        spins = SPINS_FLAT_OUT if flat_out else 0
        while not self._leaving(tick):
            if spin_until_at_least(rt.control, L.C_GO_TICK, tick, spins if self.k else 0):
                return True
            if self.leader is None:
                await self._sleep(lambda: rt.get(L.C_GO_TICK) >= tick, WAKE_SECONDS_MAX)
                continue
            leader = self.leader
            if not leader.all_done(tick - 1, spins):
                await self._sleep(partial(leader.all_done, tick - 1, 0), WAKE_SECONDS_MAX)
                continue
            if rt.get(L.C_STOP) >= L.STOP_TICKS:
                rt.set(L.C_FINAL, tick)
                continue
            wait = leader.wait_seconds(tick)
            if wait == 0.0:
                leader.go(tick)
                return True
            seconds = WAKE_SECONDS_MAX if wait is None else min(wait, WAKE_SECONDS_MAX)
            await self._sleep(lambda: False, seconds)
        return False

    def _inputs(self, tick: int) -> None:
        """Sort the readings of ``tick`` by block."""
        rt = self.rt
        start, end = rt.get(L.C_CUT + (tick - 1 & 3)), rt.get(L.C_CUT + (tick & 3))
        if start == end:
            self.in_start[self.lo : self.hi + 1] = 0
            return
        data = rt.inbox.data
        total = count_inputs(
            data, start, end, self.ranges, self.first_id, self.end_id, self.lo, self.hi,
            self.in_start,
        )  # fmt: skip
        if total > self.in_local.size:
            self.sort_space(1 << int(total - 1).bit_length())
        sort_inputs(
            data, start, end, self.ranges, self.first_id, self.end_id, self.tables.blocks,
            self.in_start, self.cursor, self.in_local, self.in_value, self.in_active,
        )  # fmt: skip

    async def _tick(self, tick: int) -> None:
        rt, slot, t = self.rt, self.slot, self.tables
        started = time.monotonic_ns()
        used = time.thread_time_ns()
        self.targs[K.T_TICK] = tick
        self.targs[K.T_UNIX_NS] = rt.get(L.C_TICK_UNIX_NS + (tick & 3))
        self.fargs[K.F_CARGA] = word_to_float(rt.get(L.C_CUT_CARGA + (tick & 3)))
        self._inputs(tick)
        out, rows = rt.out[self.k], rt.rows[self.k]
        at = self.lo
        waited = computed = 0
        while True:
            at = tick_range(
                t.blocks, t.swarms, at, self.hi, self.targs, self.fargs, self.in_start,
                self.in_local, self.in_value, self.in_active, t.scratch_offsets,
                out.ctl, out.data, rows.ctl, rows.data,
            )  # fmt: skip
            if at >= self.hi:
                break
            computed += time.thread_time_ns() - used
            blocked = time.monotonic_ns()
            await self._wait_for_room()
            waited += time.monotonic_ns() - blocked
            used = time.thread_time_ns()
            if rt.get(L.C_STOP) >= L.STOP_NOW or self.child.orphaned():
                return
        computed += time.thread_time_ns() - used
        kill_point("worker.before_done")
        now = time.monotonic_ns()
        slot.set(L.S_BUSY_NS, slot.get(L.S_BUSY_NS) + computed)
        if waited:
            slot.set(L.S_WAIT_SINK_NS, slot.get(L.S_WAIT_SINK_NS) + waited)
        bucket = L.S_BUCKET0 + bisect.bisect_left(BUCKETS_NS, now - started)
        slot.set(bucket, slot.get(bucket) + 1)
        slot.set(L.S_BUCKET_SUM_NS, slot.get(L.S_BUCKET_SUM_NS) + now - started)
        slot.set(L.S_BEAT_NS, now)
        slot.set(L.S_TICK, tick)
        if self.k:
            rt.doorbells[L.SLOT_WORKER0].ring()
        if out.used * 4 > out.capacity:
            rt.doorbells[L.SLOT_BROKER].ring()
        if rows.used * 4 > rows.capacity:
            rt.doorbells[L.SLOT_PERSISTER].ring()

    async def _wait_for_room(self) -> None:
        """A lane is full: wake its consumer and sleep until it has released something."""
        rt = self.rt
        self.slot.set(L.S_STATE, L.PROC_WAITING_SINK)
        out, rows = rt.out[self.k], rt.rows[self.k]
        seen = (out.tail, rows.tail)
        rt.doorbells[L.SLOT_BROKER].ring()
        rt.doorbells[L.SLOT_PERSISTER].ring()
        await self._sleep(lambda: (out.tail, rows.tail) != seen, WAKE_SECONDS_MAX)
        self.slot.set(L.S_STATE, L.PROC_READY)


def run(rt: Runtime, tables: Tables, k: int, workers: int, child: Child) -> int:
    """Entry of worker ``k`` in its forked process."""

    async def main() -> None:
        await Worker(rt, tables, k, workers, child).run()

    uvloop.run(main())
    return 0
