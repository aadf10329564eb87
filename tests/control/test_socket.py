"""The control socket: requests that change something, many clients, and a nucleus that is killed
under them. What changes nothing is asked in ``test_requests.py``."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from corec import layout as L
from corec.control.client import Client, Unreachable
from corec.control.discover import find_instance
from corec.control.outcome import ChangeFile
from corec.control.patient import outcome_of
from corec.control.protocol import CLIENTS_MAX, ControlError
from tests.control.handmade import ENTIDADES, SECRET, Running
from tests.control.test_requests import raw_lines
from tests.support.processes import is_running, promised, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_status_has_what_is_promised(instance: Running) -> None:
    with Client(instance.socket) as client:
        status = client.ask("status")
    assert status["instance_id"] == "handmade"
    assert status["state"] == "running"
    assert status["source"] == "nucleus"
    assert status["tick_hz"] == 200
    assert status["pid"] == instance.supervisor
    assert status["uptime_seconds"] > 0
    assert (status["entidades"], status["bloques"]) == (ENTIDADES, 3)
    counts = [status[name] for name in ("rows_persisted", "messages_out", "messages_in")]
    assert counts == [56, 1234, 0]
    assert status["persist_lag_ticks"] >= 0
    assert [(row["role"], row["index"]) for row in status["processes"]] == [
        ("nucleus", 0), ("persister", 0), ("broker", 0), ("worker", 0), ("worker", 1),
    ]  # fmt: skip
    for row in status["processes"]:
        assert {"pid", "cpu", "restarts", "state", "tick"} <= set(row)
    assert status["sinks"]["redis"] == {
        "address": "127.0.0.1:6379", "reachable": True, "reason": None,
    }  # fmt: skip
    memory = status["memory"]
    assert 0 < memory["segment_bytes"] < memory["reserved_bytes"]
    assert 0 < memory["resident_bytes"] == sum(memory["resident_bytes_by_process"].values())
    assert {lane["lane"] for lane in status["lanes"]} == {"in", "out", "rows", "events"}


def test_sink_trouble_is_a_reason_a_state_and_an_event(instance: Running) -> None:
    events = instance.rt.events["nucleus"]
    slot = instance.rt.slot(L.SLOT_PERSISTER)
    slot.set(L.S_ERROR, L.REASON_REFUSED)

    def bodies() -> list[dict[str, Any]]:
        found = [json.loads(bytes(frame.payload)) for frame in events.frames()]
        return [body for body in found if body["tipo"] != "swarm_registered"]

    with Client(instance.socket) as client:
        status = client.ask("status")
        assert status["state"] == "degraded"
        assert status["sinks"]["postgresql"]["reason"] == L.REASON_NAMES[L.REASON_REFUSED]
        wait_until(bodies, "the event is there")
        slot.set(L.S_ERROR, 0)
        assert client.ask("status")["state"] == "running"
        wait_until(lambda: len(bodies()) == 2, "the second event is there")
    assert [body["tipo"] for body in bodies()] == ["sink_down", "sink_up"]
    assert all(body["unix_ns"] > 0 and body["bloque"] is None for body in bodies())


def test_pause_step_resume(instance: Running) -> None:
    slot = instance.rt.slot(L.SLOT_WORKER0)
    with Client(instance.socket) as client:
        wait_until(lambda: slot.get(L.S_TICK) > 3, "it ticks")
        with pytest.raises(ControlError, match="found a running world") as refused:
            client.ask("step")
        assert refused.value.code == "refused"
        paused = client.ask("pause")
        assert client.ask("pause") == paused
        assert client.ask("status")["state"] == "paused"
        stepped = client.ask("step", {"ticks": 7})
        assert stepped["tick"] == paused["tick"] + 7 == slot.get(L.S_TICK)
        assert client.ask("pause")["tick"] == stepped["tick"]
        client.ask("resume")
        wait_until(lambda: slot.get(L.S_TICK) > stepped["tick"] + 3, "it ticks again")
        assert client.ask("status")["state"] == "running"


def test_steps_of_several_clients_add_up(instance: Running) -> None:
    with Client(instance.socket) as first, Client(instance.socket) as second:
        start = first.ask("pause")["tick"]
        with ThreadPoolExecutor(2) as clients:
            steps = [
                clients.submit(client.ask, "step", {"ticks": 200}) for client in (first, second)
            ]
            found = sorted((one.result() for one in steps), key=lambda step: step["tick"])
        assert [step["tick"] for step in found] == [start + 200, start + 400]
        assert [step["from_tick"] for step in found] == [start, start + 200]
        assert [step["stepped"] for step in found] == [200, 200]
        assert first.ask("pause")["tick"] == start + 400


def test_a_step_that_waits_for_another_says_that_it_ran_none(instance: Running) -> None:
    with Client(instance.socket) as first, Client(instance.socket) as second:
        start = first.ask("pause")["tick"]
        with ThreadPoolExecutor(1) as clients:
            long = clients.submit(
                first.ask, "step", {"ticks": 1_000_000, "timeout_seconds": 3.0}, 30.0
            )
            wait_until(lambda: instance.rt.get(L.C_STEP_LIMIT) > start, "the first steps")
            with pytest.raises(ControlError, match="none of these was run"):
                second.ask("step", {"ticks": 1, "timeout_seconds": 0.05})
            with pytest.raises(ControlError, match=r"from tick \d+, \d+ of 1000000 ticks were run"):
                long.result()


def test_step_stops_at_the_limit_and_at_its_deadline(instance: Running) -> None:
    with Client(instance.socket) as client:
        tick = client.ask("pause")["tick"]
        with pytest.raises(ControlError, match="not enough") as late:
            client.ask("step", {"ticks": 1_000_000, "timeout_seconds": 0.5})
        assert late.value.code == "timeout"
        still = client.ask("pause")["tick"]
        assert tick < still < tick + 1_000_000
        instance.rt.set(L.C_LIMIT_TICK, still + 2)
        with pytest.raises(ControlError, match="expected none after") as refused:
            client.ask("step", {"ticks": 3})
        assert refused.value.code == "refused"
        assert client.ask("step", {"ticks": 2})["tick"] == still + 2


def test_set_changes_the_words(instance: Running) -> None:
    with Client(instance.socket) as client:
        assert client.ask("set", {"path": "tick_hz", "value": 50})["value"] == 50.0
        client.ask("set", {"path": "carga", "value": 0.5})
        status = client.ask("status")
        assert (status["tick_hz"], status["carga"]) == (50.0, 0.5)
        for bad in (
            {"path": "tick_hz", "value": -1},
            {"path": "tick_hz", "value": 1e-320},
            {"path": "tick_hz", "value": True},
            {"path": "tick_hz", "value": "10"},
            {"path": "carga", "value": 0},
            {"path": "seed", "value": 1},
            {"path": "carga", "value": 1, "more": 2},
            {},
        ):
            with pytest.raises(ControlError) as refused:
                client.ask("set", bad)
            assert refused.value.code == "bad_request"
        assert client.ask("status")["carga"] == 0.5


def test_a_disk_that_takes_nothing_is_told_before_the_client_gives_up(instance: Running) -> None:
    assert instance.rt.journal.push(L.KIND_JOURNAL_FRAME, b"{}", tick=1)  # nobody takes it away
    with Client(instance.socket) as client:
        for path in ("tick_hz", "carga"):
            answer = client.ask("set", {"path": path, "value": 0.5})
            assert answer.get("durable", True) == (path == "tick_hz")


def test_many_clients_and_one_too_many(instance: Running) -> None:
    clients = [Client(instance.socket) for _ in range(CLIENTS_MAX)]
    try:
        assert all(len(client.ask("workers")["workers"]) == 2 for client in clients)
        assert [answer["code"] for answer in raw_lines(instance)] == ["busy"]
    finally:
        for client in clients:
            client.close()


def test_a_killed_nucleus_comes_back_at_the_same_places(instance: Running) -> None:
    with Client(instance.socket) as client:
        client.ask("pause")
    before = instance.nucleus
    # a hold that dies with its nucleus must not hold the world for ever
    instance.rt.set(L.C_HOLD_REQUEST, instance.rt.get(L.C_HOLD_REQUEST) + 1)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: instance.nucleus not in (0, before), "there is another nucleus")

    def answers() -> bool:
        try:
            with Client(instance.socket) as client:
                return bool(client.ask("status")["state"] == "paused")
        except (Unreachable, ControlError):
            return False

    wait_until(answers, "it answers, still paused")
    get = instance.rt.get
    assert get(L.C_HOLD_RELEASE) == get(L.C_HOLD_REQUEST)
    with Client(instance.socket) as client:
        assert client.ask("resume")["paused"] is False
        status = client.ask("status")
    assert status["processes"][0]["restarts"] == 1


def test_who_is_told_of_a_change_can_ask_at_once(instance: Running) -> None:
    """The supervisor answers when it has started another nucleus; that takes a moment to listen."""
    answers = ChangeFile(instance.rt.folder)
    answers.write("reload", True, None)
    answers.close()
    found, nucleus = find_instance("handmade"), instance.nucleus
    os.kill(instance.supervisor, signal.SIGSTOP)  # nobody replaces who dies
    try:
        os.kill(nucleus, signal.SIGKILL)
        wait_until(lambda: not is_running(nucleus), "it is dead")
        with ThreadPoolExecutor(1) as beside:
            told = beside.submit(outcome_of, found, 0, "reload")
            with pytest.raises(TimeoutError):
                told.result(0.5)
            os.kill(instance.supervisor, signal.SIGCONT)
            assert told.result(30.0)["accepted"] is True
        with Client(instance.socket) as client:
            assert client.ask("workers")["workers"]
    finally:
        os.kill(instance.supervisor, signal.SIGCONT)


@pytest.mark.slow
def test_hold_gives_up_when_the_leader_is_frozen(instance: Running) -> None:
    leader = instance.rt.slot(L.SLOT_WORKER0).get(L.S_PID)
    os.kill(leader, signal.SIGSTOP)
    try:
        with Client(instance.socket, timeout_seconds=30) as client:
            with pytest.raises(ControlError) as late:
                client.ask("set", {"path": "carga", "value": 0.25})
            assert late.value.code == "timeout"
            get = instance.rt.get
            assert get(L.C_HOLD_RELEASE) == get(L.C_HOLD_REQUEST)
    finally:
        os.kill(leader, signal.SIGCONT)
    with Client(instance.socket) as client:
        assert client.ask("set", {"path": "carga", "value": 1})["value"] == 1


def test_stop_reaches_the_supervisor(instance: Running) -> None:
    with Client(instance.socket) as client:
        assert client.ask("stop") == {"stopping": True, "pid": instance.supervisor}
    wait_until(lambda: not is_running(instance.supervisor), "everything is gone")
    assert not instance.rt.folder.exists()


def test_nucleus_leaves_when_its_parent_does(instance: Running) -> None:
    nucleus = instance.nucleus
    leader = instance.rt.slot(L.SLOT_WORKER0).get(L.S_PID)
    os.kill(instance.supervisor, signal.SIGKILL)
    try:
        wait_until(lambda: not is_running(nucleus), "the orphan left", promised(2.0))
    finally:
        os.kill(leader, signal.SIGKILL)


def test_no_secret_anywhere(instance: Running) -> None:
    with Client(instance.socket) as client:
        answers = [client.ask("status"), client.ask("doctor"), client.ask("workers")]
    assert SECRET not in json.dumps(answers)
    assert SECRET not in instance.log_text
    assert SECRET not in (instance.rt.folder / "instance.json").read_text(encoding="utf-8")
