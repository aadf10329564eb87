"""What lies between two ticks, compiled: the control segment's words for a tick without inputs.

A tick leaves nothing of the interpreter in the core's caches, so thirty words read and written one
by one in Python cost 0.13 ms, longer than 100,000 entities take. ``may_go`` decides whether a tick
may go, for a world flat out and for a paced one. ``go_if_plain`` lets it go when nothing else is
due; when something is (inputs, a pace), it does nothing and says so, and ``leader`` does the rest.
The stores and their order are ``leader``'s and ``process``'s; these functions make them for both.

Who writes: worker 0 the leader's words (``go_if_plain``), each worker its own slot (``end``); what
a kill leaves after each store is said in ``leader``. A tick that went is never decided again.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba.core import types

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.block_words import get_f
from shm.atomics import Indices, Words, cpu_relax, load_acquire, store_release
from shm.compiled_killpoint import process_kill_point
from shm.jit import INDICES, WORDS, compiled, inlined
from shm.killpoint import register
from shm.layout import LANE_CAPACITY, LANE_HEAD, LANE_TAIL
from shm.wake import sleeper_waits

K_AFTER_CUT: Final = register("leader.after_cut")
K_BEFORE_GO: Final = register("leader.before_go")
K_AFTER_GO: Final = register("leader.after_go")
K_BEFORE_DONE: Final = register("worker.before_done")

NOT_NOW: Final = 0
WENT: Final = 1
WENT_RING: Final = 2
"""It went, and somebody sleeps who must hear of it."""

GO: Final = 0
"""At once: flat out, or asked for by ``step``."""
GO_PACED: Final = 1
"""When it is due."""
HELD: Final = 2
AT_LIMIT: Final = 3
PAUSED: Final = 4
REST: Final = 5
"""Not before the workers have rested."""
GROWS: Final = 6
"""Not before the world has grown, as it had when the tick ran for the first time."""

READINGS: Final = 1
PHASES: Final = 2
"""What ``begin`` finds for a tick, added."""

RING_BROKER: Final = 1
RING_PERSISTER: Final = 2
RING_LEADER: Final = 4

_3: Any = np.int64(3)
_UINT64: Any = np.uint64
_ONE: Any = np.uint64(1)
_FOUR: Any = np.uint64(4)
_BUCKETS_NS: Final = np.array([int(s * 1e9) for s in L.TICK_BUCKETS_SECONDS], np.int64)
_FLOATS: Any = types.Array(types.float64, 1, "C")
_get_f: Any = get_f


@inlined
def _note_cut(control: Words, tick: int, cut: int, unix_ns: int, phases: int) -> None:
    store_release(control, L.C_CUT + (tick & _3), cut)
    store_release(control, L.C_TICK_UNIX_NS + (tick & _3), unix_ns)
    store_release(control, L.C_CUT_CARGA + (tick & _3), load_acquire(control, L.C_CARGA))
    settings = load_acquire(control, L.C_SETTINGS)
    store_release(control, L.C_CUT_SETTINGS + (tick & _3), settings)
    store_release(control, L.C_PHASES + (tick & _3), _UINT64(phases))
    process_kill_point(K_AFTER_CUT)


@inlined
def _let_go(control: Words, tick: int) -> None:
    process_kill_point(K_BEFORE_GO)
    store_release(control, L.C_GO_TICK, _UINT64(tick))
    process_kill_point(K_AFTER_GO)


@compiled(types.void(WORDS, types.int64, types.uint64, types.uint64, types.int64))
def note_cut(control: Words, tick: int, cut: int, unix_ns: int, phases: int) -> None:
    """What ``tick`` takes in: readings up to position ``cut``, its time, what was set; and what
    precedes it (``PHASE_*``, added)."""
    _note_cut(control, tick, cut, unix_ns, phases)


@compiled(types.void(WORDS, types.int64))
def let_go(control: Words, tick: int) -> None:
    """From here on nothing may change for ``tick``."""
    _let_go(control, tick)


@inlined
def _may_go(control: Words, tick: int, past_hold: bool) -> int:
    if load_acquire(control, L.C_REST) & _ONE:
        return REST
    held = load_acquire(control, L.C_HOLD_RELEASE) < load_acquire(control, L.C_HOLD_REQUEST)
    if held and not past_hold:
        return HELD
    if _UINT64(tick) > load_acquire(control, L.C_LIMIT_TICK):
        return AT_LIMIT
    grows = load_acquire(control, L.C_GROW_FIRST)
    if grows != _UINT64(0) and _UINT64(tick) >= grows:
        return GROWS
    if load_acquire(control, L.C_PAUSED) != _UINT64(0):
        if _UINT64(tick) > load_acquire(control, L.C_STEP_LIMIT):
            return PAUSED
        return GO
    if load_acquire(control, L.C_TICK_HZ) != _UINT64(0):
        return GO_PACED
    return GO


@compiled(types.int64(WORDS, types.int64, types.boolean))
def may_go(control: Words, tick: int, past_hold: bool) -> int:
    """Whether ``tick`` may go once every worker has done the last one: ``GO`` … ``GROWS``.

    ``past_hold``: a hold does not count (it has lasted too long). Every reason to wait is here and
    nowhere else.
    """
    return _may_go(control, tick, past_hold)


@inlined
def _was_set(control: Words, tick: int) -> bool:
    """Whether something was set since the tick before, or is to be written down: the journal has to
    say so."""
    if load_acquire(control, L.C_WRITE_DOWN) != load_acquire(control, L.C_WRITTEN_DOWN):
        return True
    last = (tick - 1) & _3
    if load_acquire(control, L.C_SETTINGS) != load_acquire(control, L.C_CUT_SETTINGS + last):
        return True
    found: bool = load_acquire(control, L.C_CARGA) != load_acquire(control, L.C_CUT_CARGA + last)
    return found


@inlined
def _leaves(control: Words, tick: int) -> bool:
    rest = load_acquire(control, L.C_REST)
    if not rest & _ONE or load_acquire(control, L.C_FINAL_REST) != rest:
        return False
    gone: bool = _UINT64(tick) >= load_acquire(control, L.C_FINAL)
    return gone


@compiled(types.boolean(WORDS, types.int64))
def leaves(control: Words, tick: int) -> bool:
    """Whether the workers rest, and ``tick`` is none that is run before that."""
    return _leaves(control, tick)


@compiled(types.void(WORDS, types.int64))
def rest_at(control: Words, tick: int) -> None:
    """The leader's answer to C_REST: ``tick`` is not run before the rest is over. The number of
    the rest is stored last: for another one, C_FINAL says nothing."""
    store_release(control, L.C_FINAL, _UINT64(tick))
    store_release(control, L.C_FINAL_REST, load_acquire(control, L.C_REST))


@compiled(types.int64(WORDS, INDICES, WORDS, types.int64, types.uint64, types.int64))
def go_if_plain(
    control: Words, done: Indices, inbox: Words, tick: int, unix_ns: int, spins: int
) -> int:
    """The leader's step: let ``tick`` go if nothing but the workers was waited for.

    ``done`` int64[workers]: each worker's word ``S_TICK``; all must come to ``tick − 1`` within
    ``spins`` looks. ``inbox`` is the control words of in.lane. NOT_NOW: nothing was done.
    """
    if load_acquire(control, L.C_GO_TICK) >= _UINT64(tick):
        return WENT  # a predecessor decided it, and some have run it so: it stays as it is
    if _may_go(control, tick, False) != GO:
        return NOT_NOW
    if load_acquire(control, L.C_PHASE_NEXT) == _UINT64(tick):
        return NOT_NOW
    for k in range(done.size):
        while load_acquire(control, done[k]) < _UINT64(tick - 1):
            if spins <= 0:
                return NOT_NOW
            spins -= 1
            cpu_relax()
    if _may_go(control, tick, False) != GO:
        return NOT_NOW  # the others took their time
    if _was_set(control, tick):
        return NOT_NOW
    cut = load_acquire(inbox, LANE_HEAD)
    before = load_acquire(control, L.C_CUT + ((tick - 1) & _3))
    earlier = load_acquire(control, L.C_CUT + ((tick - 2) & _3))
    if cut != before or before != earlier or before != load_acquire(inbox, LANE_TAIL):
        return NOT_NOW
    _note_cut(control, tick, cut, unix_ns, 0)
    _let_go(control, tick)
    for k in range(1, done.size):
        if sleeper_waits(control, done[k] - L.S_TICK + L.S_SLEEPING):
            return WENT_RING
    return WENT


@compiled(types.boolean(WORDS, types.int64, types.int64))
def went(control: Words, tick: int, spins: int) -> bool:
    """A follower's step: whether ``tick`` goes within ``spins`` looks and is to be run here."""
    if load_acquire(control, L.C_STOP) >= _UINT64(L.STOP_NOW):
        return False
    if _leaves(control, tick):
        return False
    left = spins if load_acquire(control, L.C_TICK_HZ) == _UINT64(0) else 0
    while load_acquire(control, L.C_GO_TICK) < _UINT64(tick):
        if left <= 0:
            return False
        left -= 1
        cpu_relax()
    return True


@compiled(types.int64(WORDS, types.int64, INDICES, _FLOATS))
def begin(control: Words, tick: int, targs: Indices, fargs: npt.NDArray[np.float64]) -> int:
    """Fill in what differs from tick to tick; whether readings are to be sorted for it, and whether
    phases precede it."""
    targs[K.T_TICK] = tick
    targs[K.T_UNIX_NS] = np.int64(load_acquire(control, L.C_TICK_UNIX_NS + (tick & _3)))
    fargs[K.F_CARGA] = _get_f(control, L.C_CUT_CARGA + (tick & _3))
    start = load_acquire(control, L.C_CUT + ((tick - 1) & _3))
    found = READINGS if start != load_acquire(control, L.C_CUT + (tick & _3)) else 0
    return found + (PHASES if load_acquire(control, L.C_PHASES + (tick & _3)) else 0)


@inlined
def _add(control: Words, word: int, value: int) -> None:
    store_release(control, word, load_acquire(control, word) + _UINT64(value))


@inlined
def _quarter_full(lane: Words) -> bool:
    used = load_acquire(lane, LANE_HEAD) - load_acquire(lane, LANE_TAIL)
    full: bool = used * _FOUR > lane[LANE_CAPACITY]
    return full


@compiled(
    types.int64(
        WORDS, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64,
        types.int64, WORDS, WORDS,
    )
)  # fmt: skip
def end(
    control: Words,
    slot: int,
    tick: int,
    computed_ns: int,
    waited_ns: int,
    took_ns: int,
    now_ns: int,
    leader_bell: int,
    out: Words,
    rows: Words,
) -> int:
    """Say that ``tick`` is done, last of all; who is to be rung (``RING_*``, added).

    ``slot``: first word of the worker's slot. ``leader_bell``: the word that says whether the
    leader sleeps, -1 for the leader itself. ``out``, ``rows``: control words of the two lanes.
    """
    process_kill_point(K_BEFORE_DONE)
    _add(control, slot + L.S_BUSY_NS, computed_ns)
    if waited_ns > 0:
        _add(control, slot + L.S_WAIT_SINK_NS, waited_ns)
    bucket = 0
    while bucket < _BUCKETS_NS.size and _BUCKETS_NS[bucket] < took_ns:
        bucket += 1
    _add(control, slot + L.S_BUCKET0 + bucket, 1)
    _add(control, slot + L.S_BUCKET_SUM_NS, took_ns)
    store_release(control, slot + L.S_BEAT_NS, _UINT64(now_ns))
    store_release(control, slot + L.S_TICK, _UINT64(tick))
    ring = 0
    if leader_bell >= 0 and sleeper_waits(control, leader_bell):
        ring |= RING_LEADER
    if _quarter_full(out):
        ring |= RING_BROKER
    if _quarter_full(rows):
        ring |= RING_PERSISTER
    return ring
