"""A Redis that refuses, is read-only, is loading, is slow or gone: nothing is lost or doubled.

With ``streams.on_full`` = drop_oldest something is lost, and it is said how much.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import redis

from corec import layout as L
from corec.lab.chaos.proxy import Proxy
from tests.broker.support import INSTANCE, Instance, message
from tests.broker.test_in import collect_readings
from tests.broker.test_servers import valkey_with
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
Make = Callable[..., Instance]


def shows(one: Instance, reason: int) -> Callable[[], bool]:
    """Whether the broker shows ``reason``."""
    slot = one.rt.slot(L.SLOT_BROKER)
    return lambda: slot.get(L.S_ERROR) == reason


def both_ways(one: Instance, ticks: range) -> None:
    """Messages of some ticks out, and one reading in."""
    for tick in ticks:
        one.run_tick(tick)
    one.add(1, {"m": message(3, 1, float(ticks[0]))})


def test_read_only_replica_for_a_while(instance: Make, tmp_path: Path) -> None:
    with valkey_with(tmp_path / "node") as port:
        one = instance(url=f"redis://127.0.0.1:{port}")
        pid = one.start()
        both_ways(one, range(1, 4))
        assert [r[2] for r in collect_readings(one, 1)] == [1.0]
        with redis.Redis(port=port) as client:
            client.replicaof("127.0.0.1", 1)
            for tick in range(4, 9):
                one.run_tick(tick)
            wait_until(shows(one, L.REASON_SERVER_ERROR), "read-only is shown")
            client.replicaof("NO", "ONE")
        wait_until(shows(one, L.REASON_NONE), "it works again", 20)
        both_ways(one, range(9, 12))
        assert [r[2] for r in collect_readings(one, 1)] == [9.0]
        one.drain(pid)
        one.check_ledger()


def test_password_is_changed_and_changed_back(instance: Make, tmp_path: Path) -> None:
    with valkey_with(tmp_path / "node", "--requirepass", "first-word") as port:
        one = instance(url=f"redis://:first-word@127.0.0.1:{port}")
        pid = one.start()
        both_ways(one, range(1, 4))
        assert len(collect_readings(one, 1)) == 1
        with redis.Redis(port=port, password="first-word") as client:
            client.config_set("requirepass", "second-word")
            client.client_kill_filter(_type="normal", skipme=True)
            for tick in range(4, 9):
                one.run_tick(tick)
            wait_until(shows(one, L.REASON_REFUSED), "the refusal is shown")
            client.config_set("requirepass", "first-word")
        wait_until(shows(one, L.REASON_NONE), "it works again", 20)
        both_ways(one, range(9, 12))
        assert len(collect_readings(one, 1)) == 1
        one.drain(pid)
        one.check_ledger()


def test_loading_after_a_restart(instance: Make, tmp_path: Path) -> None:
    with valkey_with(tmp_path / "node") as port:
        one = instance(url=f"redis://127.0.0.1:{port}")
        pid = one.start()
        both_ways(one, range(1, 4))
        assert len(collect_readings(one, 1)) == 1
        wait_until(lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent")
        wait_until(lambda: 1 in one.state().read, "the position is kept")
        with redis.Redis(port=port) as client:
            client.mset({f"other-{n}": random.Random(n).randbytes(2048) for n in range(40)})
            client.save()
    slowly = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")
    with valkey_with(tmp_path / "node", *slowly, port=port):
        for tick in range(4, 9):
            one.run_tick(tick)
        wait_until(shows(one, L.REASON_SERVER_ERROR), "loading is shown")
        wait_until(shows(one, L.REASON_NONE), "it works again", 20)
        both_ways(one, range(9, 12))
        assert len(collect_readings(one, 1)) == 1
        one.drain(pid)
        one.check_ledger()


def test_full_memory_while_much_is_emitted(instance: Make, tmp_path: Path) -> None:
    with valkey_with(tmp_path / "node", "--maxmemory-policy", "noeviction") as port:
        one = instance(url=f"redis://127.0.0.1:{port}")
        pid = one.start()
        with redis.Redis(port=port) as client:
            for tick in range(1, 60):
                one.run_tick(tick)
                if tick % 20 == 5:
                    client.config_set("maxmemory", 1)
                if tick % 20 == 15:
                    wait_until(shows(one, L.REASON_FULL), "the full memory is shown")
                    client.config_set("maxmemory", 0)
        one.drain(pid)
        one.check_ledger()


@contextmanager
def behind_a_proxy(make: Make, url: str, **options: Any) -> Iterator[tuple[Instance, Proxy]]:
    """An instance whose broker reaches the session's Valkey by a proxy."""
    parts = urlsplit(url)
    assert parts.scheme == "unix"
    with Proxy(unquote(parts.path)) as proxy:
        one = make(**options)
        database = parse_qs(parts.query).get("db", ["0"])[0]
        one.rt.redis_url = f"redis://127.0.0.1:{proxy.port}/{database}"
        yield one, proxy


def test_connections_break_at_any_byte(instance: Make, valkey_url: str) -> None:
    with behind_a_proxy(instance, valkey_url) as (one, proxy):
        pid = one.start()
        wait_until(lambda: one.rt.slot(L.SLOT_BROKER).get(L.S_STATE) == L.PROC_READY, "ready")
        tick = 0
        for count in (1, 50, 200, 400, 700, 1000, 1500, 3000):
            proxy.tell(f"cut {count}")
            for _ in range(10):
                tick += 1
                one.run_tick(tick)
            wait_until(
                lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent", 20
            )
        one.drain(pid)
        one.check_ledger()


def check_dropped(one: Instance) -> list[dict[str, Any]]:
    """What was emitted is in the streams once, or counted as dropped; the gap events."""
    found: Counter[bytes] = Counter()
    emitted: Counter[bytes] = Counter()
    for counter in one.ledger.entries.values():
        emitted.update(counter)
    ticks: set[int] = set()
    for canal in {spec.canal for spec in one.specs}:
        for _, fields in one.stream(one.keys.out(canal)):
            packed = fields[b"m"]
            found.update(packed[i : i + 10] for i in range(0, len(packed), 10))
            ticks.add(int(fields[b"t"]))
    assert not found - emitted
    frames = one.rt.events["broker"].frames()
    gaps = [json.loads(bytes(frame.payload))["detalle"] for frame in frames]
    lost = (emitted - found).total()
    assert lost == one.count(L.B_DROPPED) == sum(gap["mensajes"] for gap in gaps)
    for tick in {tick for tick, _ in one.ledger.entries} - ticks:
        assert any(gap["desde"] <= tick <= gap["hasta"] for gap in gaps)
    return gaps


def hold_a_batch(one: Instance, proxy: Proxy, tick: int) -> int:
    """Run ticks until Redis falls silent with one's batch on its way; which tick that was.

    What is held first may be the positions, which go every second, or the lease: then nothing
    follows on that connection, and the broker is in trouble without a batch.
    """

    def state() -> int:
        return one.rt.slot(L.SLOT_BROKER).get(L.S_STATE)

    for attempt in range(tick, tick + 20):
        proxy.tell("hold")
        one.run_tick(attempt)
        wait_until(
            lambda: proxy.holds(one.keys.out(1)) or state() == L.PROC_WAITING_SINK, "it is held"
        )
        if proxy.holds(one.keys.out(1)):
            return attempt
        proxy.tell("pass")
        wait_until(
            lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages and state() == L.PROC_READY,
            "all is sent",
        )
    raise AssertionError("no batch was ever on its way")


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_drop_oldest(how: str, instance: Make, valkey_url: str) -> None:
    """The batch that is on its way when Redis stops answering arrives in the end: not dropped."""
    with behind_a_proxy(instance, valkey_url, lane_bytes=1 << 13, on_full="drop_oldest") as (
        one,
        proxy,
    ):
        pid = one.start()
        for tick in range(1, 11):
            one.run_tick(tick)
        wait_until(lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent")
        on_its_way = 11
        if how == "gone":
            proxy.tell("refuse")
            one.run_tick(on_its_way)
        else:
            on_its_way = hold_a_batch(one, proxy, on_its_way)
        for tick in range(on_its_way + 1, 300):
            one.run_tick(tick)
        wait_until(
            lambda: all(4 * lane.used < 3 * lane.capacity for lane in one.rt.out), "there is room"
        )
        assert one.count(L.B_DROPPED) > 0
        proxy.tell("pass")
        for tick in range(300, 305):
            one.run_tick(tick)
        one.drain(pid)
        gaps = check_dropped(one)
        assert {gap["lane"] for gap in gaps} == {"out-0", "out-1"}
        if how == "silent":
            sent = {int(f[b"t"]) for _, f in one.stream(one.keys.out(1))}
            assert on_its_way in sent, "the batch on its way"


@pytest.mark.parametrize("on_full", ["block", "drop_oldest"])
def test_a_disk_that_takes_no_journal(on_full: str, instance: Make, tmp_path: Path) -> None:
    """What depends on the journal waits, and nobody else; what is dropped meanwhile is not sent."""
    one = instance(lane_bytes=1 << 13, on_full=on_full, state_dir=str(tmp_path))
    in_its_place = tmp_path / INSTANCE / "journal"
    in_its_place.parent.mkdir()
    in_its_place.touch()
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == one.ledger.messages, "all is sent")
    one.rt.journal.push(L.KIND_JOURNAL_FRAME, b'{"tick":2}', tick=2)
    for tick in range(2, 12 if on_full == "block" else 100):
        one.run_tick(tick)
    one.add(1, {"m": message(9999, 1, 1.0)})
    wait_until(lambda: len(one.dead()) == 1, "the connection is free")
    assert one.state().out_tick == 1
    in_its_place.unlink()
    one.drain(pid)
    if on_full == "block":
        one.check_ledger()
    else:
        check_dropped(one)
