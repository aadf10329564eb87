"""The compiled steps between two ticks: they act when nothing else is due, and only then."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.kernels import desc as K
from corec.process.runtime import float_to_word
from corec.worker import steps
from shm.lane import Lane, lane_region_bytes
from shm.layout import LANE_HEAD, LANE_TAIL

WORKERS = 3
DONE = np.array([L.slot_base(L.SLOT_WORKER0 + k) + L.S_TICK for k in range(WORKERS)], np.int64)
FREE = 1 << 40


def words(tick: int) -> np.ndarray:
    """The control words of a world at full speed whose workers have done ``tick − 1``."""
    control = np.zeros(L.control_words(WORKERS), np.uint64)
    control[L.C_LIMIT_TICK] = FREE
    control[L.C_CARGA] = float_to_word(0.5)
    control[L.C_CUT_CARGA : L.C_CUT_CARGA + 4] = float_to_word(0.5)
    control[DONE] = tick - 1
    return control


WHY_NOT = {
    "rest": {L.C_REST: 1},
    "pace": {L.C_TICK_HZ: float_to_word(10.0)},
    "hold": {L.C_HOLD_REQUEST: 1},
    "limit": {L.C_LIMIT_TICK: 1},
    "pause": {L.C_PAUSED: 1},
    "unfinished": {int(DONE[2]): 1},
    "carga set": {L.C_CARGA: float_to_word(0.75)},
    "another key set": {L.C_SETTINGS: 1},
}


@settings(max_examples=200, deadline=None)
@given(
    tick=st.integers(3, 1 << 30),
    reasons=st.sets(st.sampled_from([*WHY_NOT, "readings", "readings before", "not released"])),
    sleeper=st.integers(0, WORKERS - 1),
)
def test_a_tick_goes_only_when_nothing_else_is_due(
    tick: int, reasons: set[str], sleeper: int
) -> None:
    control = words(tick)
    inbox = np.zeros(256, np.uint64)
    for reason in reasons & WHY_NOT.keys():
        for word, value in WHY_NOT[reason].items():
            control[word] = value
    if "readings" in reasons:
        inbox[LANE_HEAD] = 64
    if "readings before" in reasons:
        control[L.C_CUT + (tick - 1 & 3)] = inbox[LANE_HEAD] = 64
        inbox[LANE_TAIL] = 64
    if "not released" in reasons:
        inbox[LANE_TAIL] = 8
    control[L.slot_base(L.SLOT_WORKER0 + sleeper) + L.S_SLEEPING] = 1
    before = control.copy()
    found = steps.go_if_plain(control, DONE, inbox, tick, 77, 10)
    if reasons:
        assert found == steps.NOT_NOW
        assert np.array_equal(control, before)
        return
    assert found == (steps.WENT_RING if sleeper else steps.WENT)
    before[L.C_GO_TICK] = tick
    before[L.C_TICK_UNIX_NS + (tick & 3)] = 77
    before[L.C_CUT_CARGA + (tick & 3)] = float_to_word(0.5)
    assert np.array_equal(control, before)


def test_a_paused_world_steps_up_to_its_limit() -> None:
    control, inbox = words(5), np.zeros(256, np.uint64)
    control[L.C_PAUSED], control[L.C_STEP_LIMIT] = 1, 5
    assert steps.go_if_plain(control, DONE, inbox, 5, 1, 0) == steps.WENT
    control[DONE] = 5
    assert steps.go_if_plain(control, DONE, inbox, 6, 1, 0) == steps.NOT_NOW


def test_a_tick_that_went_is_not_decided_again() -> None:
    """Its leader was killed; another worker has run it with the carga and the time it had."""
    control, inbox = words(5), np.zeros(256, np.uint64)
    assert steps.go_if_plain(control, DONE, inbox, 5, 77, 0) == steps.WENT
    control[L.C_CARGA] = float_to_word(1.0)
    before = control.copy()
    assert steps.go_if_plain(control, DONE, inbox, 5, 99, 0) == steps.WENT
    assert np.array_equal(control, before)


def test_a_follower_runs_what_went_and_is_not_final() -> None:
    control = words(5)
    assert not steps.went(control, 5, 10)
    control[L.C_GO_TICK] = 5
    assert steps.went(control, 5, 0)
    assert not steps.went(control, 6, 10)
    control[L.C_REST] = 3
    assert steps.went(control, 5, 0), "nobody has decided yet where the rest begins"
    steps.rest_at(control, 5)
    assert not steps.went(control, 5, 0)
    control[L.C_REST] = 4
    assert steps.went(control, 5, 0), "the rest was called off"
    control[L.C_REST] = 5
    assert steps.went(control, 5, 0), "where the last one began says nothing of this one"
    control[L.C_STOP] = L.STOP_NOW
    assert not steps.went(control, 5, 0)


REASONS = st.fixed_dictionaries({
    "rest": st.booleans(), "held": st.booleans(), "limit": st.booleans(),
    "paused": st.booleans(), "step": st.booleans(), "paced": st.booleans(), "past": st.booleans(),
})  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(tick=st.integers(3, 1 << 30), why=REASONS)
def test_one_decision_says_whether_a_tick_may_go(tick: int, why: dict[str, bool]) -> None:
    """Beside what it should say: flat out, a tick goes exactly when it says ``GO``."""
    control, inbox = words(tick), np.zeros(256, np.uint64)
    control[L.C_REST] = 6 + why["rest"]
    control[L.C_HOLD_REQUEST] = why["held"]
    control[L.C_LIMIT_TICK] = tick - why["limit"]
    control[L.C_PAUSED], control[L.C_STEP_LIMIT] = why["paused"], tick - 1 + why["step"]
    control[L.C_TICK_HZ] = float_to_word(10.0) if why["paced"] else 0
    expected = steps.GO_PACED if why["paced"] and not why["paused"] else steps.GO
    if why["paused"] and not why["step"]:
        expected = steps.PAUSED
    if why["limit"]:
        expected = steps.AT_LIMIT
    if why["held"] and not why["past"]:
        expected = steps.HELD
    if why["rest"]:
        expected = steps.REST
    assert steps.may_go(control, tick, why["past"]) == expected
    goes = steps.may_go(control, tick, False) == steps.GO
    went = steps.go_if_plain(control, DONE, inbox, tick, 1, 0)
    assert (went != steps.NOT_NOW) == goes


def test_what_differs_from_tick_to_tick_is_filled_in() -> None:
    control = words(6)
    control[L.C_TICK_UNIX_NS + (6 & 3)] = 123
    control[L.C_CUT_CARGA + (6 & 3)] = float_to_word(0.25)
    targs, fargs = np.zeros(K.T_COLUMNS, np.int64), np.zeros(K.F_COLUMNS)
    assert not steps.begin(control, 6, targs, fargs)
    assert (targs[K.T_TICK], targs[K.T_UNIX_NS], fargs[K.F_CARGA]) == (6, 123, 0.25)
    control[L.C_CUT + (6 & 3)] = 64
    assert steps.begin(control, 6, targs, fargs)


@settings(max_examples=200, deadline=None)
@given(
    took=st.integers(0, 2_000_000_000),
    waited=st.integers(0, 1000),
    sleeps=st.booleans(),
    used=st.tuples(st.integers(0, 1024), st.integers(0, 1024)),
)
def test_a_done_tick_is_counted_and_tells_who_must_hear_of_it(
    took: int, waited: int, sleeps: bool, used: tuple[int, int]
) -> None:
    control = words(9)
    slot = L.slot_base(L.SLOT_WORKER0 + 1)
    bell = L.slot_base(L.SLOT_WORKER0) + L.S_SLEEPING
    control[bell] = sleeps
    lanes = [Lane.create(np.zeros(lane_region_bytes(1024), np.uint8)) for _ in used]
    for lane, size in zip(lanes, used, strict=True):
        lane.ctl[LANE_HEAD] = size
    ring = steps.end(
        control, slot, 9, 500, waited, took, 111, bell, lanes[0].ctl, lanes[1].ctl
    )  # fmt: skip
    expected = steps.RING_LEADER * sleeps
    expected += steps.RING_BROKER * (used[0] > 256) + steps.RING_PERSISTER * (used[1] > 256)
    assert ring == expected
    got = {name: int(control[slot + word]) for name, word in (
        ("tick", L.S_TICK), ("beat", L.S_BEAT_NS), ("busy", L.S_BUSY_NS),
        ("waited", L.S_WAIT_SINK_NS), ("took", L.S_BUCKET_SUM_NS),
    )}  # fmt: skip
    assert got == {"tick": 9, "beat": 111, "busy": 500, "waited": waited, "took": took}
    buckets = control[slot + L.S_BUCKET0 : slot + L.S_BUCKET_SUM_NS]
    bounds = [int(seconds * 1e9) for seconds in L.TICK_BUCKETS_SECONDS]
    assert np.flatnonzero(buckets).tolist() == [sum(bound < took for bound in bounds)]
    assert buckets.sum() == 1
