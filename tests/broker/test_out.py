"""Messages out: exactly once and in order, whatever is killed; Redis away, restarted, full."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corec import layout as L
from corec.embedded import EmbeddedValkey
from corec.journal.past import Growth
from corec.process.life import TAKEN_OVER
from tests.broker.support import DEFAULT_SWARMS, Instance, SwarmSpec
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
Make = Callable[..., Instance]

OUT_POINTS = (
    "broker.before_multi",
    "broker.multi_sent",
    "broker.after_multi",
    "broker.before_release",
    "broker.after_release",
)


def test_ticks_become_entries(instance: Make) -> None:
    one = instance()
    pid = one.start()
    for tick in range(1, 31):
        one.run_tick(tick)
    one.drain(pid)
    one.check_ledger()
    assert one.count(L.B_MESSAGES_OUT) == one.ledger.messages == 30 * 5 * 7
    assert one.rt.slot(L.SLOT_BROKER).get(L.S_TICK) == 30
    state = one.state()
    assert state.out_tick == 30
    assert state.part is None
    assert state.total_out == {1: 30 * 21, -2: 30 * 14}
    assert one.totals()["out"] == {"1": 630, "-2": 420}
    # one entry per tick and canal, however many blocks and lanes it came from
    assert len(one.stream(one.keys.out(1))) == 30


def test_alerts(instance: Make) -> None:
    one = instance()
    pid = one.start()
    one.emit(1, 0, 60)
    one.emit(1, 2, 60)
    one.emit(1, 4, 3)  # a swarm without alerts
    one.commit(1)
    one.drain(pid)
    ((_, fields),) = one.stream(one.keys.alerts)
    alert = json.loads(fields[b"alerta"])
    entities = alert.pop("entidades")
    assert alert == {
        "tipo": "umbral", "tick": 1, "canal": 1, "procesador": "proc0", "n": 120, "omitidas": 0
    }  # fmt: skip
    assert len(entities) == 120
    assert entities[1] == {"id": 1, "valor": pytest.approx(1 + 1 / 65_536, rel=1e-6)}
    assert one.count(L.B_ALERTS) == 1


@pytest.mark.slow
@pytest.mark.parametrize("point", OUT_POINTS)
@pytest.mark.parametrize("passes", [1, 2, 3])
def test_killed_and_started_again(instance: Make, point: str, passes: int) -> None:
    one = instance()
    pid = one.start(kill=point, passes=passes)
    tick = 0
    ended: list[int] = []
    while not ended and tick < 200:
        tick += 1
        one.run_tick(tick)
        ended = _exit_codes(one, pid)
    if not ended:
        ended = [one.wait_exit(pid)]
    assert ended == [-9]
    pid = one.start()
    for more in range(tick + 1, tick + 5):
        one.run_tick(more)
    one.drain(pid)
    one.check_ledger()
    assert one.count(L.B_MESSAGES_OUT) == one.ledger.messages


def _exit_codes(one: Instance, pid: int) -> list[int]:
    try:
        return [one.wait_exit(pid, timeout_s=0.01)]
    except AssertionError:
        return []


@pytest.mark.slow
def test_ticks_larger_than_lanes_and_entries(instance: Make) -> None:
    """A tick that does not fit into a lane goes out in parts, while it still runs."""
    one = instance(lane_bytes=1 << 14, swarms=(SwarmSpec(3, 4),))
    pid = one.start()
    for tick in range(1, 6):
        for block in range(4):
            for step in range(20):
                one.emit(tick, block, 100, step)
        one.commit(tick)
    one.drain(pid)
    one.check_ledger()
    assert one.ledger.messages == 5 * 4 * 20 * 100
    assert one.state().part is None


def test_repeated_frame_is_dropped(instance: Make) -> None:
    """A killed worker's redo publishes its last frame again."""
    one = instance(lanes=1)
    pid = one.start()
    one.emit(1, 0, 5)
    assert one.push(1, 0, one.payload(1, 0, 5))
    one.emit(1, 1, 5)
    one.commit(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 10, "both frames are sent")
    assert one.push(1, 1, one.payload(1, 1, 5))
    one.emit(2, 0, 5)
    one.commit(2)
    one.drain(pid)
    one.check_ledger()
    assert one.count(L.B_DUPLICATES) == 10


def ends_tick_11(again: Instance, pid: int, first: Instance) -> None:
    """``again`` sends all of the tick of which ``first`` had sent a part: each message is there
    once."""
    for block in range(5):
        again.emit(11, block, 4)
    again.commit(11)
    again.run_tick(12)
    again.drain(pid)
    for key, counter in again.ledger.entries.items():
        first.ledger.entries[key] = counter
    first.check_ledger()


def test_older_checkpoint_with_other_lanes(instance: Make) -> None:
    """The same world from an older tick on, on another number of lanes: nothing is sent again."""
    first = instance(lanes=2)
    pid = first.start()
    for tick in range(1, 11):
        first.run_tick(tick)
    # tick 11 is sent in part: blocks 0 and 3, which were in different lanes
    first.emit(11, 0, 4)
    first.emit(11, 3, 4)
    first.drain(pid)
    assert first.state().part is not None
    again = instance(lanes=3)
    again.commit(4)
    pid = again.start()
    for tick in range(5, 11):
        again.run_tick(tick)
    ends_tick_11(again, pid, first)


def test_an_older_checkpoint_that_is_still_to_grow(instance: Make) -> None:
    """A tick of which blocks that are to come have sent something is not sent by them again."""
    first = instance()
    pid = first.start()
    for tick in range(1, 11):
        first.run_tick(tick)
    first.emit(11, 1, 4)
    first.emit(11, 4, 4)  # of the second swarm
    first.drain(pid)
    small = instance(swarms=DEFAULT_SWARMS[:1])
    small.rt.growths = [Growth(10, first.plan)]
    small.commit(4)
    pid = small.start()
    for tick in range(5, 10):
        small.run_tick(tick)
    small.drain(pid)
    again = instance()
    again.commit(9)
    pid = again.start()
    again.run_tick(10)
    ends_tick_11(again, pid, first)


def test_new_world_sets_streams_aside(instance: Make) -> None:
    old = instance(epoch=7)
    pid = old.start()
    old.run_tick(1)
    old.drain(pid)
    new = instance(epoch=8)
    pid = new.start()
    new.run_tick(1, count=3)
    new.drain(pid)
    new.check_ledger()
    with new.redis() as client:
        kept = sorted(client.keys(f"{new.keys.prefix}aside:*"))
        names = [key.rsplit(b"Z:", 1)[1] for key in kept]
        assert names == [b"alertas", b"out:-2", b"out:1", b"pos"]
        assert 0 < client.ttl(kept[0]) <= 86_400
    assert new.count(L.B_MESSAGES_OUT) == 15


def test_a_world_that_comes_back_finds_its_streams(instance: Make) -> None:
    """From its checkpoint, after another world was there: nothing is sent again, nothing is lost;
    the other one's streams are set aside in turn, and can come back, too."""
    old = instance(epoch=7)
    pid = old.start()
    for tick in range(1, 6):
        old.run_tick(tick)
    old.drain(pid)
    new = instance(epoch=8)
    pid = new.start()
    new.run_tick(1, count=3)
    new.drain(pid)
    again = instance(epoch=7)
    again.rt.slot(L.SLOT_BROKER).set(L.S_TICK, 3)
    again.commit(3)
    pid = again.start()
    for tick in range(4, 8):
        again.run_tick(tick)
    again.drain(pid)
    assert again.count(L.B_DROPPED) == 0
    assert again.count(L.B_DUPLICATES) == 70
    for tick in range(1, 4):
        for canal in (1, -2):
            again.ledger.entries[(tick, canal)] = old.ledger.entries[(tick, canal)]
    again.check_ledger()
    assert again.count(L.B_MESSAGES_OUT) == again.ledger.messages
    with again.redis() as client:
        assert client.ttl(again.keys.out(1)) == -1, "what is back does not expire"
    assert again.state().aside.keys() == {8}
    other = instance(epoch=8)
    other.rt.slot(L.SLOT_BROKER).set(L.S_TICK, 1)
    other.commit(1)
    pid = other.start()
    other.run_tick(2)
    other.drain(pid)
    other.ledger.entries |= new.ledger.entries
    other.check_ledger()
    assert other.state().aside.keys() == {7}


def test_consumer_groups_follow_a_new_world(instance: Make) -> None:
    old = instance(epoch=7)
    pid = old.start()
    old.run_tick(1)
    old.drain(pid)
    with old.redis() as client:
        client.xgroup_create(old.keys.out(1), "readers", "0")
    new = instance(epoch=8)
    pid = new.start()
    new.run_tick(1)
    new.drain(pid)
    with new.redis() as client:
        got: Any = client.xreadgroup("readers", "one", {new.keys.out(1): ">"})
    ((_, entries),) = got.items() if isinstance(got, dict) else got
    assert entries


def test_trimmed_to_maxlen(instance: Make) -> None:
    one = instance(maxlen=10)
    pid = one.start()
    for tick in range(1, 400):
        one.run_tick(tick, count=1)
    one.drain(pid)
    assert len(one.stream(one.keys.out(1))) < 200  # trimmed in whole nodes of 100
    assert one.count(L.B_MESSAGES_OUT) == one.ledger.messages


@pytest.mark.slow
def test_redis_killed_and_restarted(instance: Make, tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run")
    server.start()
    try:
        one = instance(url=server.url)
        pid = one.start()
        for tick in range(1, 60):
            one.run_tick(tick)
            if tick in (20, 40):
                server.restart(immediate=True)
        slot = one.rt.slot(L.SLOT_BROKER)
        wait_until(lambda: slot.get(L.S_ERROR) == 0, "it works again", 20)
        one.drain(pid)
        one.check_ledger()
    finally:
        server.stop()


@pytest.mark.slow
def test_redis_refuses(instance: Make) -> None:
    """Out of memory and read-only are shown, waited for, and lose nothing."""
    one = instance()
    slot = one.rt.slot(L.SLOT_BROKER)
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) > 0, "the first tick is sent")
    with one.redis() as client:
        client.config_set("maxmemory", "1")
        one.run_tick(2)
        wait_until(lambda: slot.get(L.S_ERROR) == L.REASON_FULL, "out of memory is shown")
        wait_until(lambda: slot.get(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
        client.config_set("maxmemory", "0")
        wait_until(lambda: slot.get(L.S_ERROR) == 0, "it works again", 20)
        client.set(one.keys.out(1) + "x", 1)
        client.rename(one.keys.out(1), one.keys.out(99))
        client.set(one.keys.out(1), "not a stream")
        one.run_tick(3)
        wait_until(lambda: slot.get(L.S_ERROR) == L.REASON_SERVER_ERROR, "a wrong type is shown")
        client.rename(one.keys.out(99), one.keys.out(1))
        wait_until(lambda: slot.get(L.S_ERROR) == 0, "it works again", 20)
    one.drain(pid)
    one.check_ledger()


def test_lost_hash_is_written_again(instance: Make) -> None:
    one = instance()
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 35, "the first tick is sent")
    with one.redis() as client:
        client.delete(one.keys.pos)
    one.run_tick(2)
    one.drain(pid)
    one.check_ledger()
    assert one.state().total_out == {1: 42, -2: 28}


def test_drop_oldest_while_away(instance: Make) -> None:
    one = instance(url="redis://127.0.0.1:1/0", lane_bytes=1 << 13, on_full="drop_oldest", lanes=1)
    pid = one.start()
    for tick in range(1, 200):
        one.run_tick(tick, count=2)
    assert one.count(L.B_DROPPED) > 0
    (frame, *_) = one.rt.events["broker"].frames()
    event = json.loads(bytes(frame.payload))
    assert event["tipo"] == "mensajes_perdidos"
    assert event["detalle"]["mensajes"] > 0
    assert event["detalle"]["lane"] == "out-0"
    one.rt.set(L.C_STOP, L.STOP_NOW)
    assert one.wait_exit(pid) == 0


def test_drop_oldest_with_the_largest_frames(instance: Make) -> None:
    """A frame of a quarter of a lane may need half of it: the worker must not wait for ever."""
    one = instance(url="redis://127.0.0.1:1/0", lane_bytes=1 << 13, on_full="drop_oldest", lanes=1)
    lane = one.rt.out[0]
    most = lane.max_payload // 10
    pid = one.start()
    slot = one.rt.slot(L.SLOT_WORKER0)
    for tick in range(1, 40):
        payload = one.payload(tick, 0, most if tick % 3 else most // 2 + tick)
        if not one.push(tick, 0, payload):
            slot.set(L.S_STATE, L.PROC_WAITING_SINK)
            wait_until(partial(one.push, tick, 0, payload), "room for the frame", 30)
            slot.set(L.S_STATE, L.PROC_READY)
        one.commit(tick)
    assert one.count(L.B_DROPPED) > 0
    one.rt.set(L.C_STOP, L.STOP_NOW)
    assert one.wait_exit(pid) == 0


def test_taken_over_by_another_world(instance: Make) -> None:
    one = instance(epoch=7)
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 35, "the first tick is sent")
    with one.redis() as client:
        client.hset(one.keys.pos, mapping={"writer": "another", "epoch": "8"})
    one.run_tick(2)
    assert one.wait_exit(pid) == TAKEN_OVER
    # its successor leaves the other world's streams alone, too: no tug of war
    pid = one.start()
    assert one.wait_exit(pid) == TAKEN_OVER
    with one.redis() as client:
        assert not client.keys(f"{one.keys.prefix}aside:*")
