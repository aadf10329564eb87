"""Readings of several values: what becomes of an entry, in the lane and in the workers' columns."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec import layout as L
from corec.broker import readings as R
from corec.broker.incoming import Incoming, Work
from corec.broker.positions import ZERO, InPosition
from corec.kernels import desc as K
from corec.kernels.inputs import count_inputs, sort_inputs
from shm.lane import Lane, lane_region_bytes
from tests.broker.support import Instance, SwarmSpec, make_plan, message
from tests.support.processes import wait_until

Make = Callable[..., Instance]
NAMES = ("t", "h", "p")
# canal 1: Micro 0..9, Celu of three values 10..29; canal 2: Celu of two 30..39
SPECS = (
    SwarmSpec(1, 1, "micro"),
    SwarmSpec(1, 2, "celu", values=NAMES),
    SwarmSpec(2, 1, "celu", values=("t", "h")),
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def taken(canal: int, *entries: dict[str, Any]) -> Work:
    """What becomes of entries 1-0, 2-0, …"""
    incoming = Incoming(make_plan(SPECS))
    incoming.open(canal, InPosition(0, 0, 0, 0), InPosition(0, 0, 0, 0), 0)
    raw = []
    for number, fields in enumerate(entries, 1):
        flat = [x for name, value in fields.items() for x in (name.encode(), value)]
        raw.append(
            (f"{number}-0".encode(), [x if isinstance(x, bytes) else x.encode() for x in flat])
        )
    return incoming.judge(canal, raw, ZERO)


def sorted_in(work: Work, width: int = 3) -> list[tuple[int, int, tuple[float, ...]]]:
    """(id, activo, values) as the workers find them, by way of a lane."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 14), np.uint8), start=8)
    came = R.publish(
        lane.ctl, lane.data, work.packed, work.width, work.verdict, 0, work.canal, work.starts,
        work.entries(), 1000,
    )  # fmt: skip
    assert came == work.count
    ranges = np.array([(0, 10, 10, 0), (10, 30, 10, 1), (30, 40, 10, 3)], np.int64)
    blocks = np.zeros((4, K.B_COLUMNS), np.int64)
    blocks[:, K.B_FIRST] = [0, 10, 20, 30]
    start = np.zeros(5, np.int64)
    n = count_inputs(lane.data, lane.tail, lane.head, ranges, 0, 40, 0, 4, start)
    local, active = np.zeros(n, np.uint32), np.zeros(n, np.uint8)
    value = np.zeros(max(1, n) * width, np.float32)
    if n:
        sort_inputs(lane.data, lane.tail, lane.head, ranges, 0, 40, blocks, start,
                    np.zeros(4, np.int64), local, value, active)  # fmt: skip
    found = []
    for b in range(4):
        for j in range(start[b], start[b + 1]):
            values = tuple(float(x) for x in value[j::n])
            found.append((int(local[j] + blocks[b, K.B_FIRST]), int(active[j]), values))
    return found


def reasons(work: Work) -> list[str]:
    """Of the dead letters."""
    return [letter.reason for letter in work.dead]


@given(st.lists(st.tuples(st.integers(10, 29), FLOATS, FLOATS, FLOATS), min_size=1, max_size=40))
def test_packed_values_arrive(readings: list[tuple[int, float, float, float]]) -> None:
    work = taken(1, {"v": b"".join(struct.pack("!I3f", *one) for one in readings)})
    assert reasons(work) == []
    wanted = sorted(readings, key=lambda one: one[0] >= 20)  # by block, in order of arrival
    assert sorted_in(work) == [(i, 1, (a, b, c)) for i, a, b, c in wanted]


def test_forms_of_one_reading() -> None:
    work = taken(
        1,
        {"id": "10", "datos": json.dumps({"h": 2.5, "t": 1, "p": -3, "more": "x"})},
        {"id": "13", "datos": json.dumps({"h": 3.4028235e38, "t": -3.4028235e38, "p": 0})},
        {"v": struct.pack("!I3f", 11, 1.0, 2.5, -3.0)},
        {"m": message(0, 1, 0.5)},
        {"m": message(12, 1, 0.5, activo=False)},
    )
    assert reasons(work) == []
    assert sorted_in(work) == [
        (0, 1, (0.5, 0.0, 0.0)),
        (10, 1, (1.0, 2.5, -3.0)),
        (13, 1, (-LARGEST, LARGEST, 0.0)),
        (11, 1, (1.0, 2.5, -3.0)),
        (12, 0, (0.5, 0.0, 0.0)),
    ]


LARGEST = float(np.finfo(np.float32).max)
GOOD = struct.pack("!I3f", 11, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"v": b""}, "v is empty"),
        ({"v": GOOD[:-1]}, "v has 15 bytes, which is no multiple of 16: an id and 3 values"),
        ({"v": struct.pack("!I3f", 999, 1, 2, 3)},
         "v begins with an unknown id, so how many values follow is unknown"),
        ({"v": struct.pack("!I3f", 11, 1, float("nan"), 3)}, "h is not a finite number"),
        ({"v": struct.pack("!I3f", 11, 1, 2, float("-inf"))}, "p is not a finite number"),
        ({"v": GOOD + struct.pack("!I3f", 999, 1, 2, 3)}, "1 of 2 messages: 1 unknown id"),
        ({"v": GOOD + struct.pack("!I3f", 5, 1, 2, 3)},
         "1 of 2 messages: 1 the entity takes one value, and this is a reading of 3"),
        ({"m": message(11, 1, 0.5)},
         "the entity takes (t, h, p), and this is a message of m, which has one"),
        ({"m": message(11, 1), "v": GOOD}, "both m and v are there; an entry carries one of them"),
        ({"id": "11", "datos": '{"t": 1, "p": 2}'},
         "datos has no h, expected an object with the numbers t, h, p"),
        ({"id": "11", "datos": '{"t": 1, "h": "2", "p": 2}'},
         "datos: h is no number, expected an object with the numbers t, h, p"),
        ({"id": "11", "datos": '{"t": 1, "h": 1e39, "p": 2}'},
         "datos: h is not a finite number as float32, expected an object with the numbers t, h, p"),
        ({"id": "11", "datos": "0.5"},
         "datos is JSON but no object, expected an object with the numbers t, h, p"),
        ({"id": "11", "datos": "{"},
         "datos is no JSON, expected an object with the numbers t, h, p"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(fields: dict[str, Any], reason: str) -> None:
    work = taken(1, fields)
    assert reasons(work) == [reason]
    good = [(11, 1, (1.0, 2.0, 3.0))] if fields.get("v", b"").startswith(GOOD) else []
    assert sorted_in(work) == (good if len(fields.get("v", b"")) > len(GOOD) else [])
    name = "v" if "v" in fields else "m" if "m" in fields else "id"
    letter = dict(work.dead[0].fields)
    raw = fields[name] if isinstance(fields[name], bytes) else fields[name].encode()
    assert raw.endswith(letter[name.encode()])


def test_a_canal_of_one_width_needs_no_known_first_id() -> None:
    two = struct.pack("!I2f", 30, 1.0, 2.0)
    work = taken(2, {"v": struct.pack("!I2f", 999, 1.0, 2.0) + two})
    assert reasons(work) == ["1 of 2 messages: 1 unknown id"]
    assert sorted_in(work) == [(30, 1, (1.0, 2.0, 0.0))]


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("point", ["broker.before_inbox_publish", "broker.after_inbox_publish"])
def test_killed_in_the_middle(instance: Make, point: str) -> None:
    """Readings of two values over several frames: each once and in order, whatever was killed."""
    one = instance(swarms=(SwarmSpec(1, 2, "celu", values=("t", "h")),), inbox_bytes=1 << 12)
    expected = []
    for entry in range(4):
        values = [(i % 20, float(entry * 1000 + i), float(-i)) for i in range(300)]
        one.add(1, {"v": b"".join(struct.pack("!I2f", *v) for v in values)})
        expected += values
    found: list[tuple[int, float, float]] = []

    def read() -> int:
        position = one.rt.inbox.tail
        for frame in one.rt.inbox.frames():
            records = np.frombuffer(
                frame.payload, [("id", "<u4"), ("activo", "<u4"), ("values", "<f4", (2,))],
                offset=L.READINGS_HEAD.itemsize,
            )  # fmt: skip
            found.extend(
                (int(r["id"]), float(r["values"][0]), float(r["values"][1])) for r in records
            )
            one._apply(1, bytes(frame.payload[: L.READINGS_HEAD.itemsize]))
            position = frame.next_position
        one.rt.inbox.release(position)
        return len(found)

    pid = one.start(kill=point, passes=3)

    def ended() -> bool:
        read()
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    wait_until(ended, "the broker is killed")
    assert one.wait_exit(pid) == -9
    pid = one.start()
    wait_until(lambda: read() >= len(expected), "all arrive")
    one.drain(pid)
    assert found == expected
    assert one.count(L.B_MESSAGES_IN) == len(expected)
