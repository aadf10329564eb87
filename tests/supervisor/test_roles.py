"""The table of processes against the layout, and against who reads it."""

from __future__ import annotations

from corec import layout as L
from corec.http import metrics
from corec.http.metric_table import METRICS
from corec.process import roles


def test_every_slot_of_the_layout_is_one_row() -> None:
    slots = {name: value for name, value in vars(L).items() if name.startswith("SLOT_W") is False
             and name.startswith("SLOT_") and name != "SLOT_SUPERVISOR"}  # fmt: skip
    assert sorted(role.slot for role in roles.SINGLE) == sorted(slots.values())
    assert roles.WORKER.slot == L.SLOT_WORKER0 == max(slots.values()) + 1


def test_everybody_leaves_in_a_stage_of_the_stop_and_the_nucleus_last() -> None:
    assert {role.leaves for role in roles.ROLES} == {L.STOP_TICKS, L.STOP_SINKS, L.STOP_NUCLEUS}
    assert [role.name for role in roles.ROLES if role.leaves == L.STOP_NUCLEUS] == ["nucleus"]


def test_one_process_counts_one_thing_under_one_name() -> None:
    words = [(role.slot, word) for role, word in roles.COUNTERS.values()]
    assert len(set(words)) == len(words)
    assert all(L.S_COUNT0 + word < L.S_BUCKET0 for _slot, word in words)


def test_who_acts_is_listed_where_there_is_one() -> None:
    names = [one.role for one in roles.members(2, lambda _word: 0)]
    assert names == ["nucleus", "persister", "broker", "worker", "worker"]
    assert "tasks" in [one.role for one in roles.members(0, lambda word: word == L.C_ACTS)]


def test_counters_that_metrics_show_are_there() -> None:
    assert set(metrics._COUNTED) <= set(METRICS)
    assert set(metrics._COUNTED.values()) <= set(roles.COUNTERS)


def test_a_tick_is_committed_when_the_slowest_worker_says_so() -> None:
    words = {L.C_WORKERS: 2, L.C_LANES: 3}
    for k, tick in enumerate((7, 5, 1)):
        words[L.slot_base(L.SLOT_WORKER0 + k) + L.S_TICK] = tick
    assert roles.committed_tick(lambda word: words.get(word, 0)) == 5
    words[L.C_WORKERS] = 0  # it is being made: nobody has been taken away
    assert roles.committed_tick(lambda word: words.get(word, 0)) == 1
    assert roles.committed_tick(lambda word: 0) == 0
