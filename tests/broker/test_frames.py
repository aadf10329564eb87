"""Merging frames: against a plain model of the same rules, for any lanes, ticks and limits."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.broker import frames as F
from corec.broker.bounds import Bounds
from corec.broker.frames import ALERT_KEEP
from corec.broker.outgoing import ENTRY_BYTES_MAX, AlertGroup, Batch, Outgoing, alert_text
from corec.broker.positions import Keys, Part
from corec.broker.state import SinkState
from corec.layout.frames import message_word
from shm.lane import Lane, lane_region_bytes
from tests.broker.support import message

BLOCKS = 6
KEYS = Keys("x")


def make(lanes: int, capacity: int = 1 << 15, limit: int = 4096) -> Outgoing:
    """An Outgoing on empty lanes; blocks 0 and 1 raise alerts."""
    made = [Lane.create(np.zeros(lane_region_bytes(capacity), np.uint8)) for _ in range(lanes)]
    groups = np.array([0, 0, -1, -1, -1, -1], np.int32)
    return Outgoing(made, 7, [AlertGroup(0, "p")], groups, batch_bytes=limit)


def push(out: Outgoing, lane: int, tick: int, block: int, step: int, count: int) -> bytes:
    """One frame on canal ``block % 3 - 1``."""
    canal = block % 3 - 1
    payload = b"".join(message(block, canal, tick + step / 8 + i / 1024) for i in range(count))
    assert out.lanes[lane].push(
        L.KIND_MESSAGES_FRAME, payload, a=block, b=count, c=message_word(canal, step), tick=tick
    )
    return payload


def entries(batch: Batch) -> list[tuple[int, int, bytes]]:
    """(tick, canal, messages) of its XADDs, in order."""
    found = []
    for command in batch.entries(KEYS, Bounds(10, 1 << 30)):
        if command[1] != KEYS.alerts:
            assert command[9] * 10 == len(command[7])
            found.append((command[11], int(command[1].rsplit(":", 1)[1]), bytes(command[7])))
    return found


frame = st.tuples(st.integers(0, BLOCKS - 1), st.integers(0, 3), st.integers(1, 40))
ticks = st.lists(st.lists(frame, max_size=12), max_size=8)


@settings(max_examples=150)
@given(ticks, st.integers(1, 3), st.sampled_from([400, 1000, 20_000]), st.data())
def test_everything_once_in_tick_order(
    plan: list[list[tuple[int, int, int]]], lanes: int, limit: int, data: st.DataObject
) -> None:
    out = make(lanes, limit=limit)
    expected: dict[tuple[int, int], Counter[bytes]] = {}
    for tick, frames in enumerate(plan, 1):
        seen = set()
        for block, step, count in sorted(frames):
            payload = push(out, block * lanes // BLOCKS, tick, block, step, count)
            if (block, step) in seen:
                continue  # a redo: the same frame again
            seen.add((block, step))
            counter = expected.setdefault((tick, block % 3 - 1), Counter())
            counter.update(payload[i : i + 10] for i in range(0, len(payload), 10))
    state = SinkState()
    found: dict[tuple[int, int], Counter[bytes]] = {}
    last = 0
    ended = False
    while not ended:
        batch = out.take(len(plan), len(plan))
        if data.draw(st.booleans(), label="EXEC fails"):
            out.restore(state)
            continue
        for tick, canal, packed in entries(batch):
            assert tick >= last
            last = tick
            counter = found.setdefault((tick, canal), Counter())
            counter.update(packed[i : i + 10] for i in range(0, len(packed), 10))
        out.sent(batch, state)
        out.release(batch)
        if data.draw(st.booleans(), label="restart"):
            out.restore(state)
        ended = not batch.more
    assert found == expected
    assert state.out_tick == len(plan)
    assert state.part is None
    assert state.total_out == {
        canal: sum(c.total() for (_, k), c in expected.items() if k == canal)
        for canal in {k for _, k in expected}
    }


def test_running_tick_waits_or_goes_in_part() -> None:
    out = make(2)
    state = SinkState()
    push(out, 0, 1, 0, 0, 2)
    push(out, 1, 2, 4, 0, 3)
    batch = out.take(1, 1)
    assert [(t, len(m)) for t, _, m in entries(batch)] == [(1, 20)]
    assert (batch.out_tick, batch.part) == (1, None)
    out.sent(batch, state)
    assert out.next_tick() == 2
    batch = out.take(1, 2)
    assert isinstance(batch.part, Part)
    assert batch.part.tick == 2
    assert batch.part.steps.tolist() == [(4, 0)]
    out.sent(batch, state)
    # nothing new: the part must stay written
    batch = out.take(1, 1)
    assert batch.empty
    assert batch.part is not None
    out.sent(batch, state)
    push(out, 0, 2, 1, 0, 1)
    out.restore(state)
    batch = out.take(2, 2)
    assert [(t, c, len(m)) for t, c, m in entries(batch)] == [(2, 0, 10)]
    assert batch.duplicates == 2 + 3  # nothing was released
    assert (batch.out_tick, batch.part) == (2, None)


def test_large_tick_is_split_into_entries() -> None:
    out = make(1, capacity=1 << 22, limit=4 << 20)
    count = 30_000
    for step in range(3):
        push(out, 0, 1, 3, step, count)
    batch = out.take(1, 1)
    sizes = [len(m) for _, _, m in entries(batch)]
    assert sizes == [ENTRY_BYTES_MAX, 3 * count * 10 - ENTRY_BYTES_MAX]
    assert batch.entry_count == 2
    assert batch.messages == 3 * count


def test_frame_above_the_batch_limit() -> None:
    out = make(1, capacity=1 << 15, limit=100)
    push(out, 0, 1, 2, 0, 500)
    push(out, 0, 1, 2, 1, 5)
    batch = out.take(1, 1)
    assert batch.messages == 500
    assert batch.more
    assert out.take(1, 1).messages == 5


def test_an_alert_names_so_many_and_counts_the_rest() -> None:
    out = make(1, capacity=1 << 20, limit=1 << 20)
    push(out, 0, 1, 0, 0, ALERT_KEEP - 1)
    push(out, 0, 1, 1, 0, 2)
    ((_, text),) = out.take(1, 1).alerts
    said = json.loads(text)
    assert (said["n"], len(said["entidades"]), said["omitidas"]) == (ALERT_KEEP + 1, ALERT_KEEP, 1)


def test_alert_text_is_json() -> None:
    none = np.zeros((2, 0), np.uint64)
    ids = np.array([4294967295, 0], np.uint32)
    values = np.array([0.1, -1e-30], np.float32)
    text = alert_text(3, AlertGroup(-7, 'a"b'), 5, ids, values, none)
    assert text == (
        b'{"tipo":"umbral","tick":3,"canal":-7,"procesador":"a\\"b","n":5,"entidades":'
        b'[{"id":4294967295,"valor":0.1},{"id":0,"valor":-1e-30}],"omitidas":3}'
    )
    empty = alert_text(3, AlertGroup(1, "p"), 0, ids[:0], values[:0], none[:0])
    assert b'"entidades":[]' in empty
    named = np.array([[0xFFFFFFFF, 0xAA000000_3DCCCCCD, 0x7FC00000]] * 2, np.uint64)
    group = AlertGroup(1, "p", (("k", "i4"), ("t", "f4"), ("u", "f4")))
    shown = alert_text(3, group, 2, ids, values, named)
    assert b'{"id":0,"valor":-1e-30,"k":-1,"t":0.1,"u":null}' in shown


def test_skip_oldest() -> None:
    out = make(1, capacity=1 << 13)
    tick = 0
    while out.lanes[0].used * 4 < out.lanes[0].capacity * 3:
        tick += 1
        push(out, 0, tick, 0, 0, 5)
    sent = out.take(3, 3)
    doubtful, lost = out.skip_oldest(0, int(sent.positions[0]))
    assert out.lanes[0].used <= out.lanes[0].capacity // 4 + 200
    assert doubtful == (15, 1, 3)
    messages, first, last = lost
    assert (first, messages) == (4, 5 * (last - 3))
    assert out.take(tick, tick).messages == 5 * (tick - last)
    assert out.next_tick() == F.NO_TICK
