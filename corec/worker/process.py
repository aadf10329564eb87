"""The worker's life: wait for a tick, run it in one compiled call, say so, again.

Own words: its slot in the control segment, its two lanes (producer end), its blocks. Worker 0 owns
the leader's words as well. ``S_TICK = T`` is stored after the last block's commit of T; a kill
between the two makes the successor run T over blocks that have all committed it: nothing happens.
``S_PHASE`` likewise, behind the last block of a phase before T; ``corec.world.phases`` says what it
means to the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import uvloop

from corec import layout as L
from corec.entities.steps import beat_at
from corec.kernels.touch import touch_range
from corec.process.life import Child, Rings
from corec.process.runtime import Runtime, word_to_float
from corec.worker import steps
from corec.worker.leader import SPINS_FLAT_OUT, Leader
from corec.worker.telling import Telling
from corec.world import counts, settings
from corec.world.collected import Parts
from corec.world.live import Live
from corec.world.past import Retold
from corec.world.phases import numbers_of
from corec.world.settings import since
from corec.world.tables import Tables
from corec.world.ticker import Ticker
from corec.world.writes import edits_before
from shm.atomics import spin_until_all_at_least, spin_until_at_least
from shm.killpoint import kill_point, register
from shm.layout import PAGE_BYTES

WAKE_SECONDS_MAX: Final = 0.05
register("phase.before_done")
register("phase.all_done")
GIVE_WAY_SECONDS: Final = 0.005
"""So often the event loop gets a turn between ticks that wait for nothing."""


class Worker:
    """Worker ``k`` of ``workers``: the blocks ``lo … hi−1``."""

    def __init__(self, rt: Runtime, tables: Tables, k: int, workers: int, child: Child) -> None:
        self.rt, self.tables, self.k, self.child = rt, tables, k, child
        self.slot = rt.slot(L.SLOT_WORKER0 + k)
        self.leader_bell = L.slot_base(L.SLOT_WORKER0) + L.S_SLEEPING if k else -1
        self.rings = Rings(rt.doorbells[L.SLOT_WORKER0 + k])
        lo, hi = counts.ranges(rt, workers)[k]
        self.ticker = Ticker.of(rt.config, rt.plan, tables, lo, hi)
        self.ticker.phases.parts = Parts(rt.folder, rt.plan, rt.world.words, lo, hi)
        self.live = Live(rt.config, rt.plan)
        self.revision = -1
        self.retold = retold(rt, self.slot.get(L.S_TICK) + 1)
        self.leader = Leader(rt, workers, self.retold) if k == 0 else None
        self.workers = workers
        slots = [L.slot_base(L.SLOT_WORKER0 + k) + L.S_PHASE for k in range(workers)]
        self.phase_words = np.array(slots, np.int64)
        self.telling = Telling(rt, tables, k)
        self.waiting = False
        self.idle_ns = 0
        """CPU time within this tick in which it only waited for the other workers."""

    async def run(self) -> None:
        """Tick until told to stop."""
        self.rings.open()
        touch_range(self.tables.blocks, self.tables.swarms, self.ticker.lo, self.ticker.hi)
        for lane in (self.rt.out[self.k], self.rt.rows[self.k]):
            # mapped now, and not frame by frame within the ticks; of few blocks a part
            lane.data[: (self.ticker.hi - self.ticker.lo) * L.MIB : PAGE_BYTES].sum()
        self.child.showing.works()
        give_way_at = 0.0
        tick = self.slot.get(L.S_TICK) + 1
        while self._went(tick) or await self._may_run(tick):
            if await self._tick(tick):
                tick += 1
            if (now := time.monotonic()) >= give_way_at:
                give_way_at = now + GIVE_WAY_SECONDS
                self.telling.look(now)
                await asyncio.sleep(0)
                if self._leaving(tick):
                    break
        self.child.showing.drained()

    def _leaving(self, tick: int) -> bool:
        """Whether ``tick`` will never run in this process group."""
        return self.child.ending() is not None or bool(steps.leaves(self.rt.control, tick))

    async def _sleep(self, ready: Callable[[], bool], seconds: float) -> None:
        """Sleep until the doorbell, at most ``seconds``; not at all when ``ready()``."""
        self.child.beat()
        self.telling.look(time.monotonic())
        await self.rings.wait(seconds, ready)

    def _went(self, tick: int) -> bool:
        """Whether ``tick`` may run with nothing else to be looked at first."""
        if self.leader is not None:
            return self.leader.go_at_once(tick)
        return bool(steps.went(self.rt.control, tick, SPINS_FLAT_OUT))

    async def _may_run(self, tick: int) -> bool:
        """Wait until ``tick`` went (the leader: let it go); false: this worker is to leave."""
        rt = self.rt
        flat_out = word_to_float(rt.get(L.C_TICK_HZ)) <= 0.0
        spins = SPINS_FLAT_OUT if flat_out else 0
        while not self._leaving(tick):
            if spin_until_at_least(rt.control, L.C_GO_TICK, tick, spins if self.k else 0):
                return True
            if self.leader is None:
                await self._sleep(lambda: self._heard(tick), WAKE_SECONDS_MAX)
                continue
            leader = self.leader
            if not leader.all_done(tick - 1, spins):
                await self._sleep(partial(leader.all_done, tick - 1, 0), WAKE_SECONDS_MAX)
                continue
            wait = leader.wait_seconds(tick)
            if wait == 0.0:
                leader.go(tick)
                return True
            seconds = WAKE_SECONDS_MAX if wait is None else min(wait, WAKE_SECONDS_MAX)
            await self._sleep(lambda: self._leaving(tick), seconds)
        return False

    def _heard(self, tick: int) -> bool:
        return self.rt.get(L.C_GO_TICK) >= tick or self._leaving(tick)

    async def _tick(self, tick: int) -> bool:
        """Run ``tick``; false: not to its end, since the world stops at once."""
        rt, ticker = self.rt, self.ticker
        started = time.monotonic_ns()
        used = time.thread_time_ns()
        begun = steps.begin(rt.control, tick, ticker.targs, ticker.fargs)
        if begun & steps.READINGS:
            start, end = rt.get(L.C_CUT + (tick - 1 & 3)), rt.get(L.C_CUT + (tick & 3))
            ticker.arrivals.take(rt.inbox.data, start, end)
        else:
            ticker.arrivals.give_nothing()
        self._settle(tick)
        if begun & steps.PHASES:
            self.idle_ns = 0
            if not await self._phases(tick):
                return False
            used += self.idle_ns  # else who waits for the others would seem as busy as they are
        out, rows = rt.out[self.k], rt.rows[self.k]
        at = ticker.lo
        waited = computed = 0
        while True:
            before = at
            at = ticker.run(at, out, rows)
            if at != before or at >= ticker.hi:
                self._got_on()
            if at >= ticker.hi:
                break
            computed += time.thread_time_ns() - used
            blocked = time.monotonic_ns()
            await self._wait_for_room()
            waited += time.monotonic_ns() - blocked
            used = time.thread_time_ns()
            if self.child.ending() is not None:
                return False
        computed += time.thread_time_ns() - used
        now = time.monotonic_ns()
        ring = steps.end(
            rt.control, self.slot.base, tick, computed, waited, now - started, now,
            self.leader_bell, out.ctl, rows.ctl,
        )  # fmt: skip
        if ring:
            self._ring(ring)
        return True

    def _settle(self, tick: int) -> None:
        """Have the blocks run ``tick`` with the settings that count in it."""
        if self.retold is not None:
            if tick <= self.retold.past.until:
                self.retold.settle(self.tables, tick)
                if (rows := self.retold.rows(tick)) is not None:
                    self.ticker.rows_as(*rows)
                self.ticker.phases.collect_as(self.retold.collects(tick))
                return
            self.retold = None
            self.ticker.phases.collect_as(self.rt.plan)
            persist = self.rt.config.persist
            self.ticker.rows_as(persist.every_ticks, persist.payload)
        revision = self.rt.get(L.C_CUT_SETTINGS + (tick & 3))
        if revision != self.revision:
            self.live.take(since(settings.read(self.rt, revision)))
            self.revision = revision
        self.live.settle(self.tables, tick)

    async def _phases(self, tick: int) -> bool:
        """The phases before ``tick``; false: not all of them, since the world stops at once."""
        rt = self.rt
        spins = SPINS_FLAT_OUT if word_to_float(rt.get(L.C_TICK_HZ)) <= 0.0 else 0
        phases = rt.get(L.C_PHASES + (tick & 3))
        if phases & L.PHASE_COLLECT:
            ids = self.ticker.arrivals.first_id, self.ticker.arrivals.end_id
            self.ticker.phases.edits = list(edits_before(rt, tick, *ids))
        for number in numbers_of(phases):
            at, rows = self.ticker.lo, rt.rows[self.k]
            while True:
                at = self.ticker.phases.run(number, at, self.ticker.targs, rows)
                self._got_on()
                if at >= self.ticker.hi:
                    break
                await self._wait_for_room()
                if self.child.ending() is not None:
                    return False
            kill_point("phase.before_done")
            mark = tick << 8 | number
            self.slot.set(L.S_PHASE, mark)
            for k in range(self.workers):
                if k != self.k:
                    rt.doorbells[L.SLOT_WORKER0 + k].ring()
            if not await self._others_did(mark, spins):
                return False
            kill_point("phase.all_done")
        self.ticker.phases.edits = []
        return True

    async def _others_did(self, mark: int, spins: int) -> bool:
        """Wait until every worker is behind the phase of ``mark``; false: the world stops first."""
        used = time.thread_time_ns()
        while not spin_until_all_at_least(self.rt.control, self.phase_words, mark, spins):
            if self.child.ending() is not None:
                return False
            await self._sleep(partial(self._all_did, mark), WAKE_SECONDS_MAX)
        self.idle_ns += time.thread_time_ns() - used
        return True

    def _all_did(self, mark: int) -> bool:
        return bool(spin_until_all_at_least(self.rt.control, self.phase_words, mark, 0))

    def _ring(self, whom: int) -> None:
        bells = self.rt.doorbells
        if whom & steps.RING_LEADER:
            bells[L.SLOT_WORKER0].ring()
        if whom & steps.RING_BROKER:
            bells[L.SLOT_BROKER].ring()
        if whom & steps.RING_PERSISTER:
            bells[L.SLOT_PERSISTER].ring()

    async def _wait_for_room(self) -> None:
        """A lane is full: wake its consumer and sleep until it has released something."""
        rt = self.rt
        self.waiting = True
        self.child.showing.works(waits=True)
        out, rows = rt.out[self.k], rt.rows[self.k]
        seen = (out.tail, rows.tail)
        rt.doorbells[L.SLOT_BROKER].ring()
        rt.doorbells[L.SLOT_PERSISTER].ring()
        await self._sleep(lambda: (out.tail, rows.tail) != seen, WAKE_SECONDS_MAX)

    def _got_on(self) -> None:
        """There was room: it waits no more."""
        if self.waiting:
            self.waiting = False
            self.child.showing.works()


def retold(rt: Runtime, tick: int) -> Retold | None:
    """What the journal says of ``tick`` and behind it: of a world that follows it, or is adopted
    within ``tick``."""
    if rt.past is not None:
        return Retold(rt.past, rt.written, rt.plan)
    if rt.half is None or tick > rt.half.until:
        return None
    found = Retold(rt.half, rt.written, rt.plan)
    # the record of what was set last may never have come into the file
    found.set_over(since(settings.read(rt, rt.get(L.C_CUT_SETTINGS + (tick & 3)))))
    return found


def run(rt: Runtime, tables: Tables, k: int, workers: int, child: Child) -> int:
    """Entry of worker ``k`` in its forked process."""

    slot = rt.slot(L.SLOT_WORKER0 + k)
    beat_at(rt.control.ctypes.data + 8 * (slot.base + L.S_PROGRESS))

    async def main() -> None:
        await Worker(rt, tables, k, workers, child).run()

    uvloop.run(main())
    return 0
