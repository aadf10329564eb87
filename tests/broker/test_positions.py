"""Ids, positions and the position hash: what is written is read back; garbage counts as absent."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.broker.positions import (
    NOWHERE,
    PART,
    ZERO,
    EntryId,
    InPosition,
    Keys,
    LanePosition,
    Part,
    after,
    aside_stamp,
    choose_start,
    parse_id,
)
from corec.broker.state import (
    NUMBERS,
    TABLES,
    Added,
    Rewound,
    SinkState,
    format_state,
    new_world,
    parse_state,
)

u64 = st.integers(0, 2**64 - 1)
entry_ids = st.builds(EntryId, u64, u64)


@given(entry_ids)
def test_ids(entry: EntryId) -> None:
    assert parse_id(str(entry).encode()) == entry
    assert entry.before() < entry or entry == ZERO


@given(entry_ids, entry_ids, st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_skip(entry: EntryId, at: EntryId, count: int, next_msg: int, last: bool) -> None:
    position = InPosition(*at, next_msg, int(last))
    skipped = position.skip(entry, count)
    if entry > at:
        assert skipped == 0
    elif entry < at or last:
        assert skipped == count
    else:
        assert skipped == min(next_msg, count)
    assert position.done_before() <= at


@pytest.mark.parametrize("text", [b"", b"1", b"1-", b"-1-2", b"1-2-3", b"a-b", b"1-2 "])
def test_bad_ids(text: bytes) -> None:
    with pytest.raises(ValueError, match="stream entry id"):
        parse_id(text)


def test_state_round_trip() -> None:
    steps = np.array([(3, 1), (5, 0)], PART)
    state = SinkState(
        epoch=2**64 - 1,
        out_tick=9,
        part=Part(10, steps),
        lanes={0: LanePosition(5, 6, 7, 8, 9, 10)},
        applied={-2: EntryId(1, 2)},
        start={-2: EntryId(1, 1)},
        read={1: InPosition(3, 4, 5, 0)},
        dead={1: EntryId(2, 2)},
        total_out={1: 11},
        total_in={1: 12},
        total_dead={-128: 13},
        total_entries=14,
        total_alerts=15,
        done={1: InPosition(3, 4, 5, 0)},
        added={1: Added(EntryId(3, 4), 16)},
        rewound={1: Rewound(EntryId(9, 9), EntryId(0, 0))},
        total_dropped=17,
        total_missing=18,
        total_unread=19,
        aside={3: "20260102T030405.000000Z"},
    )
    assert all(getattr(state, name) for name in (*NUMBERS, *(table.name for table in TABLES)))
    raw = {
        k.encode(): v if isinstance(v, bytes) else v.encode()
        for k, v in format_state(state).items()
    }
    found = parse_state(raw)
    assert found.part is not None
    assert found.part.tick == 10
    assert found.part.steps.tolist() == steps.tolist()
    found.part = state.part
    assert found == state
    assert raw[b"out:0"] == b"5 6 7 8 9 10"


def test_garbage_counts_as_absent() -> None:
    raw = {
        b"epoch": b"x",
        b"out_part": b"1:abc",
        b"out:0": b"1 2",
        b"in:1": b"?",
        b"total_out:z": b"1",
        b"\xff": b"",
        b"unknown": b"1",
    }
    found = parse_state(raw)
    assert sorted(found.faults) == ["epoch", "in:1", "out:0", "out_part", "total_out:z"]
    found.faults.clear()
    assert found == SinkState()


def test_new_world_keeps_only_what_was_applied() -> None:
    old = SinkState(
        epoch=1, out_tick=5, lanes={0: LanePosition(1, 2, 3, 4, 5, 6)},
        applied={1: EntryId(9, 9)}, start={1: EntryId(1, 1), 2: EntryId(1, 0)},
        dead={1: EntryId(9, 9)}, total_out={3: 4},
    )  # fmt: skip
    fresh, drop, write = new_world(old, 2)
    assert fresh == SinkState(epoch=2, applied=old.applied, start=old.applied)
    assert write == {"start:1": "9-9", "in:1": "9-9", "epoch": "2"}
    assert set(drop) >= {"out_tick", "out_part", "out:0", "start:2", "dead:1", "total_out:3"}
    assert not set(drop) & set(write)


def test_new_world_begins_behind_the_streams() -> None:
    old = SinkState(epoch=1, applied={1: EntryId(9, 9), 3: EntryId(4, 4)})
    fresh, _, write = new_world(old, 2, {1: EntryId(20, 0), 2: ZERO})
    assert fresh.start == {1: EntryId(20, 0), 2: ZERO, 3: EntryId(4, 4)}
    assert write["start:1"] == "20-0"
    assert write["start:2"] == "0-0"


def test_choose_start() -> None:
    lane, table = InPosition(3, 0, 5, 0), InPosition(2, 0, 0, 1)
    nothing = InPosition(0, 0, 0, 0)
    assert choose_start(lane, table, EntryId(1, 0)) == lane
    assert choose_start(None, table, EntryId(1, 0)) == table
    assert choose_start(None, nothing, EntryId(1, 0)) == after(EntryId(1, 0))
    assert choose_start(None, None, None) == NOWHERE


def test_keys_share_one_slot() -> None:
    keys = Keys("corec1")
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert keys.out(-2) == "corec:{corec1}:out:-2"
    assert aside_stamp(when) == "20260102T030405.000000Z"
    assert keys.aside(keys.out(1), aside_stamp(when)).startswith("corec:{corec1}:aside:2026")
    for name in (keys.pos, keys.alerts, keys.dead, keys.incoming(3)):
        assert name.startswith("corec:{corec1}:")
