"""The threads that tick a world in this process: each the blocks of one worker, in its own way.

Theory. What workers are to each other, threads are here: each has tables and scratch memory of its
own, its lanes and a range of the blocks, and all run the same compiled calls, which let go of the
interpreter. A phase begins when every one is behind the phase before it, the tick when all are
behind the last: the joins are the barrier of ``corec.world.phases``. So the world is the same for
any number of them, as it is for any number of workers.

The first range is the caller's own. What the others emit is taken behind theirs, in the order of
the ranges, which is that of one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any, Final, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from corec.config import Config
from corec.kernels import desc as K
from corec.plan import Plan
from corec.view.emitted import Emitted
from corec.view.reading import whole
from corec.world.lanes import own_lanes
from corec.world.tables import Tables, make_tables, settle_like
from corec.world.ticker import Ticker
from shm.lane import Frame, Lane

THREADS_MAX: Final = 1024


def threads_of(given: SupportsIndex) -> int:
    """So many. Raises ValueError: a world can't have them."""
    found = whole("threads", given, least=1)
    if found > THREADS_MAX:
        raise ValueError(f"threads: found {found}, expected 1 to {THREADS_MAX}, one for a core")
    return found


class _Hand:
    """One range of blocks, and its lanes; what had to make room in them."""

    def __init__(self, ticker: Ticker, out: Lane, rows: Lane) -> None:
        self.ticker, self.out, self.rows = ticker, out, rows
        self.full: list[tuple[list[Frame], list[Frame]]] = []

    def go(self, step: Callable[[_Hand, int], int], make_room: Callable[[], None]) -> None:
        """``step`` from block to block, up to the end of the range."""
        at = self.ticker.lo
        while at < self.ticker.hi:
            at = step(self, at)
            if at < self.ticker.hi:
                make_room()

    def make_room(self) -> None:
        """Keep what is in the lanes, which the caller takes later."""
        self.full.append((_copied(self.out), _copied(self.rows)))
        self._release()

    def taken(self, take: Callable[[Iterable[Frame], Iterable[Frame]], None]) -> None:
        """Have ``take`` take all that came of it."""
        for out, rows in self.full:
            take(out, rows)
        self.full.clear()
        take(self.out.frames(), self.rows.frames())
        self._release()

    def _release(self) -> None:
        self.out.release(self.out.head)
        self.rows.release(self.rows.head)


def _copied(lane: Lane) -> list[Frame]:
    return [one._replace(payload=memoryview(bytes(one.payload))) for one in lane.frames()]


class Crew:
    """What ticks a world of ``plan`` in ``memory``, whose tables are ``tables``, by so many threads
    at most."""

    def __init__(
        self, config: Config, plan: Plan, tables: Tables, memory: NDArray[np.uint8], threads: int
    ) -> None:  # fmt: skip
        count = min(threads, plan.n_blocks)
        ends = [plan.n_blocks * k // count for k in range(count + 1)]
        self.first = Ticker.of(config, plan, tables, 0, ends[1])
        self._others: list[_Hand] = []
        for lo, hi in pairwise(ends[1:]):
            ticker = Ticker.of(config, plan, make_tables(plan, memory), lo, hi)
            self._others.append(_Hand(ticker, *own_lanes(plan)))
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    @property
    def _tickers(self) -> list[Ticker]:
        return [self.first, *(hand.ticker for hand in self._others)]

    @property
    def other_tables(self) -> list[Tables]:
        """Those of the threads beside the caller's."""
        return [hand.ticker.tables for hand in self._others]

    def follow(self, config: Config) -> None:
        """As ``Ticker.follow``."""
        self.first.follow(config)

    def give(self, ids: NDArray[Any], values: NDArray[Any], active: NDArray[Any]) -> None:
        """As ``Ticker.give``, of all blocks."""
        for ticker in self._tickers:
            mine = (ids >= ticker.arrivals.first_id) & (ids < ticker.arrivals.end_id)
            if mine.any():
                ticker.arrivals.give(ids[mine], values[mine], active[mine])
            else:
                ticker.arrivals.give_nothing()

    def give_nothing(self) -> None:
        """As ``Ticker.give_nothing``."""
        for ticker in self._tickers:
            ticker.arrivals.give_nothing()

    def tick(self, tick: int, unix_ns: int, emitted: Emitted, *, messages: bool) -> None:
        """Run ``tick`` with what precedes it; ``messages``: ``emitted`` keeps its messages."""
        self.first.targs[K.T_TICK], self.first.targs[K.T_UNIX_NS] = tick, unix_ns
        for ticker in self._tickers[1:]:
            own = ticker.targs[K.T_SCRATCH]
            ticker.targs[:], ticker.fargs[:] = self.first.targs, self.first.fargs
            ticker.targs[K.T_SCRATCH] = own
            settle_like(ticker.tables, self.first.tables)
        for number in self.first.phases.before(tick):
            self._all(_phase(number), emitted, messages=False)
        self._all(_run, emitted, messages=messages)

    def _all(self, step: Callable[[_Hand, int], int], emitted: Emitted, *, messages: bool) -> None:
        """``step`` over all blocks, and what comes of it."""
        mine = _Hand(self.first, emitted.out, emitted.rows)
        try:
            running = [
                self._threads().submit(hand.go, step, hand.make_room) for hand in self._others
            ]
        except BaseException:  # no thread to be had: what has begun writes into the world still
            self._end_threads()
            raise
        try:
            mine.go(step, lambda: emitted.take(messages=messages))
        finally:
            wait(running)
        emitted.take(messages=messages)
        for hand, done in zip(self._others, running, strict=True):
            done.result()
            hand.taken(lambda out, rows: emitted.take_frames(out, rows, messages=messages))

    def _end_threads(self) -> None:
        """Wait for what runs; a call that no thread was there for may be in the queue: it goes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _threads(self) -> ThreadPoolExecutor:
        """They end with the last reference; a fork has none of them."""
        if self._pool is None or self._pid != os.getpid():
            self._pool = ThreadPoolExecutor(len(self._others), "corec-world")
            self._pid = os.getpid()
        return self._pool


def _phase(number: int) -> Callable[[_Hand, int], int]:
    return lambda hand, at: hand.ticker.phases.run(number, at, hand.ticker.targs, hand.rows)


def _run(hand: _Hand, at: int) -> int:
    return hand.ticker.run(at, hand.out, hand.rows)
