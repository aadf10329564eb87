"""Readings in: any client's XADD arrives once, garbage becomes a dead letter, whatever dies."""

from __future__ import annotations

import json
import math
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from corec import layout as L
from corec.broker.positions import EntryId, parse_id
from corec.nucleus.doctor import stream_checks
from tests.broker.support import INSTANCE, Instance, message, pack
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
Make = Callable[..., Instance]
Reading = tuple[int, int, float, int]

# canal 1: Micro entities 0..29; canal -2: Celu entities 30..49


def collect_readings(one: Instance, count: int, timeout_s: float = 30.0) -> list[Reading]:
    """Read the inbox until ``count`` readings came."""
    found: list[Reading] = []

    def enough() -> bool:
        found.extend(one.readings())
        return len(found) >= count

    wait_until(enough, f"{count} readings arrive", timeout_s)
    return found


def test_messages_arrive(instance: Make) -> None:
    one = instance()
    pid = one.start()
    one.add(1, {"m": pack([(0, 1, 0.5), (29, 1, -3.25)])})
    one.add(-2, {"m": pack([(30, -2, 1e30)]) + message(49, -2, 2.0, activo=False)})
    found = collect_readings(one, 4)
    assert sorted(found) == [
        (-2, 30, pytest.approx(1e30), 1),
        (-2, 49, 2.0, 0),
        (1, 0, 0.5, 1),
        (1, 29, -3.25, 1),
    ]
    one.drain(pid)
    assert not one.dead()
    assert one.count(L.B_MESSAGES_IN) == 4
    assert one.totals()["in"] == {"1": 2, "-2": 2}


def test_unmodified_client(instance: Make) -> None:
    """The bytes ``redis-cli XADD 'corec:{corec1}:in:1' '*' m <10 bytes>`` sends."""
    one = instance()
    pid = one.start()
    words = [b"XADD", f"corec:{{{INSTANCE}}}:in:1".encode(), b"*", b"m", message(7, 1, 0.125)]
    wire = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(one.url.removeprefix("unix://"))
        link.sendall(wire)
        assert link.recv(64).startswith(b"$")
    assert collect_readings(one, 1) == [(1, 7, 0.125, 1)]
    one.drain(pid)


@pytest.mark.parametrize(
    ("datos", "value"),
    [
        (b"2.5", 2.5),
        (b"3", 3.0),
        (b'{"valor": 4.5, "value": 9}', 4.5),
        (b'{"value": 5}', 5.0),
        (b'{"lectura": 6.5, "x": [1]}', 6.5),
        (struct.pack("!f", 7.75), 7.75),
        (struct.pack("!d", 8.125), 8.125),
        (b" +9.5 ", 9.5),
        (b"12.5", 12.5),  # four bytes, but a number's text
        (b"3.4028235e38", 2.0**128 - 2.0**104),  # the largest, as it is written in short
    ],
)
def test_datos(instance: Make, datos: bytes, value: float) -> None:
    one = instance()
    pid = one.start()
    one.add(-2, {"id": 31, "datos": datos})
    assert collect_readings(one, 1) == [(-2, 31, value, 1)]
    one.drain(pid)


GARBAGE: list[tuple[int, dict[str, Any], str]] = [
    (1, {"m": b"123456789"}, "no multiple of 10"),
    (1, {"m": b""}, "m is empty"),
    (1, {"x": "y"}, "neither m, nor v, nor id and datos"),
    (1, {"datos": "1"}, "neither m, nor v, nor id and datos"),
    (1, {"m": message(30, 1)}, "the entity is on another canal"),
    (1, {"m": message(50, 1)}, "unknown id"),
    (1, {"m": message(2**32 - 1, 1)}, "unknown id"),
    (1, {"m": message(0, -2)}, "canal differs"),
    (1, {"m": message(0, 1, math.nan)}, "not a finite number"),
    (1, {"m": message(0, 1, -math.inf)}, "not a finite number"),
    (1, {"m": message(0, 1), "id": 1, "datos": "1"}, "both m and datos"),
    (1, {"id": 1, "datos": "1"}, "Micro"),
    (-2, {"id": 50, "datos": "1"}, "unknown id"),
    (-2, {"id": "-1", "datos": "1"}, "id is no whole number from 0 to 4294967295"),
    (-2, {"id": "99999999999999", "datos": "1"}, "id is no whole number from 0 to 4294967295"),
    (-2, {"id": 0, "datos": "1"}, "the entity is on another canal"),
    (-2, {"id": 30, "datos": b"1" * 4097}, "4097 bytes"),
    (-2, {"id": 30, "datos": "NaN"}, "not a finite number"),
    (-2, {"id": 30, "datos": "1e39"}, "not a finite number"),
    (-2, {"id": 30, "datos": repr(2.0**128 - 2.0**103)}, "not a finite number"),  # rounds to inf
    (-2, {"id": 30, "datos": struct.pack("!f", math.inf)}, "not a finite number"),
    (-2, {"id": 30, "datos": "true"}, "no number"),
    (-2, {"id": 30, "datos": "[1]"}, "no number"),
    (-2, {"id": 30, "datos": '{"valor": "1"}'}, "no number"),
    (-2, {"id": 30, "datos": '{"otro": 1}'}, "without valor or value or lectura"),
    (-2, {"id": 30, "datos": b"\xff\xfe\x00"}, "neither JSON"),
    (-2, {"id": 30, "datos": b""}, "neither JSON"),
    (-2, {"reason": "mine", "source": "mine"}, "neither m, nor v, nor id and datos"),
    (-2, {"a" * 5000: "b" * 70_000}, "cut from 70000 bytes to 65536"),
]


def test_garbage_zoo(instance: Make) -> None:
    """Each becomes a dead letter with its reason, and nothing else changes."""
    one = instance()
    ids = [one.add(canal, fields) for canal, fields, _ in GARBAGE]
    one.add(1, {"m": message(3, 1, 0.25)})
    one.add(-2, {"m": message(33, -2, 0.5)})
    pid = one.start()
    found = collect_readings(one, 2)
    assert sorted(found) == [(-2, 33, 0.5, 1), (1, 3, 0.25, 1)]
    one.drain(pid)
    letters = {letter[b"source"].decode(): letter for letter in one.dead()}
    assert len(one.dead()) == len(GARBAGE) == one.count(L.B_DEAD)
    for entry, (canal, fields, reason) in zip(ids, GARBAGE, strict=True):
        letter = letters[entry]
        assert reason in letter[b"reason"].decode(), fields
        assert letter[b"stream"].decode() == one.keys.incoming(canal)
        if "m" in fields and "datos" not in fields:
            assert letter[b"m"] == fields["m"]
    assert letters[ids[-2]][b"original_reason"] == b"mine"
    assert one.totals()["dead"] == Counter(str(canal) for canal, _, _ in GARBAGE)


def test_partly_good_entry(instance: Make) -> None:
    one = instance()
    pid = one.start()
    bad = [message(999, 1), message(2, 1, math.nan), message(998, 1)]
    one.add(1, {"m": message(1, 1) + bad[0] + message(2, 1) + bad[1] + bad[2], "n": "5"})
    assert [r[1] for r in collect_readings(one, 2)] == [1, 2]
    one.drain(pid)
    (letter,) = one.dead()
    assert letter[b"m"] == b"".join(bad)
    assert letter[b"reason"] == (b"3 of 5 messages: 2 unknown id, 1 valor is not a finite number")
    assert one.count(L.B_DEAD) == 3


def test_wrong_type_of_one_input(instance: Make) -> None:
    """A key that is no stream stops its own canal only, is told, and is read once it is one."""
    one = instance()
    key = one.keys.incoming(1)
    with one.redis() as client:
        client.set(key, "nonsense")
    pid = one.start()
    one.add(-2, {"m": message(30, -2)})
    assert len(collect_readings(one, 1)) == 1
    wait_until(lambda: stream_checks(one.folder), "it is told")
    (check,) = stream_checks(one.folder)
    assert (check["check"], check["ok"]) == (f"stream {key}", False)
    assert "holds a string, not a stream" in check["detail"]
    assert one.totals()["in"] == {"1": 0, "-2": 1}
    with one.redis() as client:
        client.delete(key)
    one.add(1, {"m": message(3, 1)})
    assert len(collect_readings(one, 1)) == 1
    wait_until(lambda: not stream_checks(one.folder), "it is told no more")
    one.drain(pid)


def test_full_inbox_waits(instance: Make) -> None:
    """What does not fit stays in the stream; nothing is lost or repeated."""
    one = instance(inbox_bytes=1 << 12)
    pid = one.start()
    total = 0
    for _ in range(20):
        one.add(1, {"m": pack([(i % 30, 1, float(total + i)) for i in range(200)])})
        total += 200
    wait_until(lambda: one.rt.inbox.used > 2000, "the inbox fills")
    assert one.rt.inbox.used <= 1 << 12
    found = collect_readings(one, total)
    assert [r[2] for r in found] == [float(i) for i in range(total)]
    one.drain(pid)
    assert one.count(L.B_MESSAGES_IN) == total


FRAME_POINTS = (
    "broker.before_inbox_publish",
    "broker.after_inbox_publish",
    "lane.publish.before",
    "lane.publish.after",
)
DEAD_POINTS = ("broker.before_dead", "broker.after_dead")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "passes"),
    [(p, n) for p in FRAME_POINTS for n in (1, 2, 4)]
    + [(p, n) for p in DEAD_POINTS for n in (1, 2)],
)
def test_killed_in_the_middle(instance: Make, point: str, passes: int) -> None:
    """Big entries are split over several frames; a kill between them loses and repeats nothing."""
    one = instance(inbox_bytes=1 << 12)
    expected: list[float] = []
    for entry in range(6):
        values = [float(entry * 1000 + i) for i in range(300)]
        bad = message(1000 + entry, 1)
        one.add(1, {"m": bad + pack([(i % 30, 1, v) for i, v in enumerate(values)]) + bad})
        one.add(1, {"rubbish": entry})
        expected += values
    pid = one.start(kill=point, passes=passes)
    found: list[Reading] = []

    def ended() -> bool:
        found.extend(one.readings())
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    wait_until(ended, "the broker is killed")
    assert one.wait_exit(pid) == -9
    pid = one.start()
    found += collect_readings(one, len(expected) - len(found))
    one.drain(pid)
    found += one.readings()
    assert [r[2] for r in found] == expected
    assert sorted(letter[b"source"] for letter in one.dead()) == sorted(
        {letter[b"source"] for letter in one.dead()}
    )
    assert len(one.dead()) == 12
    assert one.count(L.B_DEAD) == 6 * 3
    assert one.count(L.B_MESSAGES_IN) == len(expected)
    assert one.state().total_in == {1: len(expected), -2: 0}


def test_what_a_dead_broker_published_is_counted_without_new_input(instance: Make) -> None:
    one = instance()
    one.add(1, {"m": message(1, 1)})
    pid = one.start(kill="broker.after_inbox_publish", passes=1)
    assert one.wait_exit(pid) == -9
    pid = one.start()
    wait_until(lambda: one.count(L.B_MESSAGES_IN) == 1, "the successor counts it")
    assert len(collect_readings(one, 1)) == 1
    one.drain(pid)


def test_position_moves_over_dead_entries(instance: Make) -> None:
    one = instance()
    last = parse_id([one.add(1, {"rubbish": k}) for k in range(3)][-1].encode())
    pid = one.start()
    wait_until(lambda: one.rt.inbox.used, "a frame without readings arrives")
    assert one.readings() == []
    one.drain(pid)
    assert one.state().applied[1] == last
    pid = one.start()
    one.drain(pid)
    assert len(one.dead()) == 3


def test_new_world_does_not_apply_old_input(instance: Make) -> None:
    old = instance(epoch=7)
    old.add(1, {"m": message(1, 1, 1.0)})
    pid = old.start()
    collect_readings(old, 1)
    old.drain(pid)
    applied = old.state().applied[1]
    assert applied > EntryId(0, 0)
    unread = old.add(1, {"m": message(1, 1, 1.5)})
    new = instance(epoch=8)
    pid = new.start()
    wait_until(lambda: new.state().epoch == 8, "the new world begins")
    new.add(1, {"m": message(1, 1, 2.0)})
    assert [r[2] for r in collect_readings(new, 1)] == [2.0]
    new.drain(pid)
    assert str(new.state().start[1]) == unread
    # the same world from a checkpoint before any input: it reads from where it began
    again = instance(epoch=8)
    pid = again.start()
    assert [r[2] for r in collect_readings(again, 1)] == [2.0]
    again.drain(pid)
    assert again.state().total_in[1] == 1


def test_input_stops_with_the_ticks(instance: Make) -> None:
    one = instance()
    pid = one.start()
    one.add(1, {"m": message(1, 1)})
    collect_readings(one, 1)
    one.rt.set(L.C_STOP, L.STOP_TICKS)
    one.drain(pid)
    one.add(1, {"m": message(2, 1)})
    assert one.readings() == []


def test_leaves_when_the_parent_is_gone(instance: Make) -> None:
    """The broker's parent dies: it goes too (here the grandparent collects it)."""
    one = instance()
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(reading)
        child = one.start()
        os.write(writing, json.dumps(child).encode())
        wait_until(lambda: one.rt.slot(L.SLOT_BROKER).get(L.S_STATE) == L.PROC_READY, "it is ready")
        os._exit(0)
    os.close(writing)
    os.waitpid(middle, 0)
    broker = int(os.read(reading, 64))
    os.close(reading)
    one.children.append(broker)  # ours now: this process is the subreaper
    assert one.wait_exit(broker) == 1
