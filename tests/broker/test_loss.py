"""A Redis that comes back without its last writes is told; the world goes on from what it has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from corec import layout as L
from corec.broker.loss import Known, compare, is_older
from corec.broker.state import SinkState
from tests.broker.support import Instance, message
from tests.broker.test_in import collect_readings
from tests.broker.test_servers import valkey_with
from tests.support.processes import wait_until

Make = Callable[..., Instance]


def losses(one: Instance) -> list[dict[str, Any]]:
    """The gap events so far."""
    events = [json.loads(bytes(frame.payload)) for frame in one.rt.events["broker"].frames()]
    return [event["detalle"] for event in events if event["tipo"] == "mensajes_perdidos"]


def state(out_tick: int, messages: int, entries: int = 0, missing: int = 0) -> SinkState:
    return SinkState(
        epoch=7, out_tick=out_tick, total_out={1: messages}, total_entries=entries,
        total_missing=missing,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "found", "added", "messages", "entries"),
    [
        (Known(9, 100, {1: 100}), state(5, 60), None, 40, 0),
        (Known(9, 100, {1: 100}), state(9, 99), None, 1, 0),  # the last message of a tick in parts
        (Known(9, None), state(8, 60), None, None, 0),  # from a checkpoint: nobody knows how many
        (Known(9, 100, {1: 100}), state(9, 100, entries=12), 0, None, 12),  # the streams alone
        (Known(9, 100, {1: 100}), state(9, 100, entries=12, missing=5), 6, None, 1),
    ],
)
def test_what_is_missing(
    known: Known, found: SinkState, added: int | None, messages: int | None, entries: int
) -> None:
    loss = compare(known, found, added, 1000)
    assert loss is not None
    assert (loss.messages, loss.entries) == (messages, entries)


@pytest.mark.parametrize(
    ("known", "found", "added"),
    [
        (Known(9, 100, {1: 100}), state(9, 100, entries=12), 12),
        (Known(9, 100, {1: 100}), state(10, 101, entries=13), 13),  # a reply that was lost
        (Known(9, 100, {1: 100}), state(5, 100, entries=12), None),  # ticks without messages
        (Known(0, None), state(0, 0), 0),
        (Known(0, None), state(-1, 0), 0),  # killed before the first batch of a new world
        (Known(9, 100, {1: 100}), state(9, 100, entries=12, missing=12), 0),  # told before
    ],
)
def test_nothing_is_missing(known: Known, found: SinkState, added: int | None) -> None:
    assert compare(known, found, added, 1000) is None
    assert is_older(known, found) == (max(found.out_tick, 0) < known.out_tick)


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("broker", ["lives", "killed"])
def test_older_data(instance: Make, tmp_path: Path, broker: str) -> None:
    """The server's data is put back by ten ticks while it is down."""
    folder, kept = tmp_path / "node", tmp_path / "kept"
    aof = ("--appendonly", "yes", "--appendfsync", "always")
    with valkey_with(folder, *aof) as port:
        one = instance(url=f"redis://127.0.0.1:{port}")
        pid = one.start()
        for tick in range(1, 11):
            one.run_tick(tick)
        wait_until(lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent")
        sent_before = one.ledger.messages
        shutil.copytree(folder, kept)
        for tick in range(11, 21):
            one.run_tick(tick)
        # what it shows last: killed before, it leaves its successor no first tick of the loss
        slot = one.rt.slot(L.SLOT_BROKER)
        wait_until(lambda: slot.get(L.S_TICK) == 20, "all is sent, and shown")
        lost = one.ledger.messages - sent_before
    if broker == "killed":
        one.kill(pid)
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    with valkey_with(folder, *aof, port=port):
        if broker == "killed":
            pid = one.start()
        for tick in range(21, 31):
            one.run_tick(tick)
        one.drain(pid)
        (told,) = losses(one)
        assert told["mensajes"] == lost == one.count(L.B_DROPPED)
        assert told["reason"] == "redis_lost_writes"
        assert told["desde"] == 11
        assert one.count(L.B_MESSAGES_OUT) == one.ledger.messages
        assert one.state().total_dropped == lost
        for tick in range(11, 21):
            for canal in (1, -2):
                del one.ledger.entries[(tick, canal)]
        one.check_ledger()
        # it is told once
        pid = one.start()
        one.drain(pid)
        assert len(losses(one)) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("what", ["everything", "a stream"])
def test_streams_are_deleted(instance: Make, what: str) -> None:
    one = instance()
    pid = one.start()
    for tick in range(1, 6):
        one.run_tick(tick)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent")
    with one.redis() as client:
        if what == "everything":
            client.flushall()
        else:
            client.delete(one.keys.out(1))
            client.client_kill_filter(_type="normal", skipme=True)
    one.run_tick(6)
    one.add(1, {"m": message(3, 1, 0.5)})
    assert len(collect_readings(one, 1)) == 1
    one.drain(pid)
    (told,) = losses(one)
    assert told["entradas"] == (10 if what == "everything" else 5)
    assert one.count(L.B_DROPPED) == told["entradas"]
    assert one.count(L.B_MESSAGES_OUT) == one.ledger.messages
    assert {int(f[b"t"]) for _, f in one.stream(one.keys.out(1))} == {6}


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("point", ["broker.before_loss", "broker.after_loss"])
def test_killed_while_it_notes_the_loss(instance: Make, point: str) -> None:
    """Found again, or noted: counted once."""
    one = instance()
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 35, "the tick is sent")
    one.kill(pid)
    with one.redis() as client:
        client.delete(one.keys.out(1))
    pid = one.start(kill=point)
    assert one.wait_exit(pid) == -9
    pid = one.start()
    one.run_tick(2)
    one.drain(pid)
    assert one.count(L.B_DROPPED) == one.state().total_dropped == 1
    assert one.state().total_missing == 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_restored_world_on_an_empty_server(instance: Make) -> None:
    """A checkpoint counted because Redis had everything before it; now Redis has nothing."""
    one = instance()
    one.rt.slot(L.SLOT_BROKER).set(L.S_TICK, 40)
    one.commit(40)
    pid = one.start()
    one.run_tick(41)
    one.drain(pid)
    (told,) = losses(one)
    assert told["mensajes"] is None
    assert (told["desde"], told["hasta"]) == (0, 40)
    one.check_ledger()


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_counters_are_there_after_a_stop(instance: Make) -> None:
    """What status shows for a world does not wait for the next message or reading."""
    one = instance()
    pid = one.start()
    one.run_tick(1)
    one.add(1, {"m": message(3, 1, 0.5)})
    one.add(1, {"m": b"rubbish"})
    assert len(collect_readings(one, 1)) == 1
    one.drain(pid)
    words = (L.B_MESSAGES_OUT, L.B_MESSAGES_IN, L.B_DEAD, L.B_ENTRIES_OUT, L.B_ALERTS)
    before = [one.count(word) for word in words]
    assert all(before)
    with redis.Redis.from_url(one.url) as client:
        client.hset(one.keys.pos, "total_dropped", 9)
        client.hset(one.keys.pos, "total_unread", 8)
    again = instance()
    pid = again.start()
    slot = again.rt.slot(L.SLOT_BROKER)
    wait_until(lambda: slot.get(L.S_STATE) == L.PROC_READY, "it is ready")
    assert [again.count(word) for word in words] == before
    assert (again.count(L.B_DROPPED), again.count(L.B_UNREAD_LOST)) == (9, 8)
    path = again.folder / "broker.json"
    wait_until(path.exists, "the totals by canal are written")
    assert again.totals()["in"] == {"1": 1, "-2": 0}
    again.drain(pid)
