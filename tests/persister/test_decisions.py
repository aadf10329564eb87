"""The pure parts: batches, marks, take-overs, periods, reasons."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.layout.frames import TIME_BYTES, row_word
from corec.persister import periods
from corec.persister.batch import (
    START,
    LaneView,
    Mark,
    There,
    durable_tick,
    shares,
    take,
    without,
    worth_writing,
)
from corec.persister.gaps import row_key
from corec.persister.offsets import Fenced, LaneNow, Stored, plan_takeover
from corec.persister.periods import Span, Unit
from corec.persister.reasons import reason_of, text_of
from shm.lane import Frame

Key = tuple[int, int, int]


def frames_of(keys: list[Key], start: int = 0) -> list[Frame]:
    """Row frames of 64 bytes each, with these (tick, block, step)."""
    return [
        Frame(
            L.KIND_ROW_FRAME, L.ROW_HAS_ROW, block, 0, tick, row_word(step, 0), memoryview(b""),
            start + 64 * k, start + 64 * (k + 1),
        )
        for k, (tick, block, step) in enumerate(keys)
    ]  # fmt: skip


keys_strategy = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 5), st.integers(0, 2)), unique=True
).map(sorted)


@settings(max_examples=50, deadline=None)
@given(keys=keys_strategy, data=st.data())
def test_any_cut_and_any_republished_frame_gives_each_frame_once(
    keys: list[Key], data: st.DataObject
) -> None:
    """Kills of the producer repeat a frame, kills of the consumer restart at its mark."""
    published: list[Key] = []
    for key in keys:
        published += [key] * data.draw(st.integers(1, 3), label="times published")
    frames = frames_of(published)
    mark, written = START, []
    while mark.position < 64 * len(frames):
        n = data.draw(st.integers(1, 5), label="frames in the batch")
        first = mark.position // 64
        piece = take("rows-0", frames[first : first + n], mark)
        if data.draw(st.booleans(), label="committed"):
            mark = piece.mark
            written += list(map(row_key, piece.frames))
    assert written == keys
    assert mark.rows == len(keys)


Fix = tuple[int, int, int]


def frame_with(key: Key, repaired: list[int], *, row: bool) -> Frame:
    """A row frame as a worker writes it: a row if ``row``, and repairs of these entities."""
    tick, block, step = key
    fixes = np.zeros(len(repaired), L.REPAIR)
    fixes["id"] = repaired
    head = np.zeros(1, L.ROW).tobytes() if row else bytes(TIME_BYTES)
    return Frame(
        L.KIND_ROW_FRAME, L.ROW_HAS_ROW if row else 0, block, len(repaired), tick,
        row_word(step, 0), memoryview(head + fixes.tobytes()), 0, 64,
    )  # fmt: skip


frames_strategy = st.dictionaries(
    st.tuples(st.integers(1, 9), st.integers(0, 2), st.integers(0, 2)),
    st.lists(st.integers(0, 3), max_size=3),
)


@settings(deadline=None)
@given(
    found=frames_strategy,
    rows=st.sets(st.tuples(st.integers(0, 2), st.integers(1, 9))),
    repairs=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(0, 3))),
    overlap=st.integers(-1, 9),
)
def test_rows_and_repairs_that_are_there_are_left_out_each_by_itself(
    found: dict[Key, list[int]], rows: set[tuple[int, int]], repairs: list[Fix], overlap: int
) -> None:
    """The last step of a tick has the row; what is there of either may be any part of the tick."""
    keys = sorted(found)
    last = {(tick, block): step for tick, block, step in keys}
    frames = [frame_with(k, found[k], row=last[k[:2]] == k[2]) for k in keys]
    piece = take("rows-0", frames, START)
    rest = without(piece, There(rows, Counter(repairs)), overlap)
    bulk = rest.columns()
    expected = [
        (block, tick)
        for (tick, block), _ in sorted(last.items())
        if tick > overlap or (block, tick) not in rows
    ]
    got = list(zip(bulk.blocks.tolist(), bulk.ticks.tolist(), strict=True))
    assert sorted(got) == sorted(expected)
    wanted = Counter((b, t, entity) for t, b, s in keys for entity in found[t, b, s])
    there = Counter({fix: n for fix, n in Counter(repairs).items() if fix[1] <= overlap})
    columns = (bulk.fix_blocks, bulk.fix_ticks, bulk.fixes["id"])
    written = Counter(zip(*(column.tolist() for column in columns), strict=True))
    assert written == wanted - there
    assert rest.mark == piece.mark._replace(rows=len(expected))


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=9), st.integers(0, 20_000))
def test_shares_are_fair_and_waste_nothing(waiting: list[int], limit: int) -> None:
    given_bytes = shares(waiting, limit)
    assert all(0 <= g <= w for g, w in zip(given_bytes, waiting, strict=True))
    assert sum(given_bytes) <= limit
    assert sum(given_bytes) > min(limit, sum(waiting)) - max(1, len(waiting))
    cut = [g for g, w in zip(given_bytes, waiting, strict=True) if g < w]
    assert max(cut, default=0) - min(cut, default=0) <= 1


def test_worth_writing() -> None:
    assert not worth_writing([10, 0], [100, 100], 50)
    assert worth_writing([25, 0], [100, 100], 50)
    assert worth_writing([30, 30], [1000, 1000], 60)


def test_durable_tick() -> None:
    assert durable_tick([]) is None
    assert durable_tick([LaneView(9, None), LaneView(8, None)]) == 8
    assert durable_tick([LaneView(9, None), LaneView(9, 4)]) == 3
    assert durable_tick([LaneView(3, 4)]) == 3


def lane(name: str, made: int = 1, tail: int = 0, head: int = 1000) -> LaneNow:
    return LaneNow(name, made, tail, head)


def stored(name: str, epoch: int = 7, made: int = 1, overlap: int = -1, **mark: int) -> Stored:
    return Stored(name, epoch, made, Mark(500, 20, 3, 0, 40)._replace(**mark), overlap)


def test_takeover_of_a_new_world() -> None:
    plan = plan_takeover([stored("rows-0", epoch=5)], [lane("rows-0", tail=64)], 7, first=True)
    assert plan.new_world
    assert plan.lanes["rows-0"].mark == START._replace(position=64)
    assert plan.lanes["rows-0"].overlap_tick == -1
    assert plan_takeover([], [lane("rows-0")], 7, first=False).new_world


def test_takeover_goes_on_where_the_last_one_committed() -> None:
    plan = plan_takeover([stored("rows-0")], [lane("rows-0", tail=64)], 7, first=False)
    assert not plan.new_world
    assert plan.lanes["rows-0"] == stored("rows-0")
    assert not plan.behind


def test_takeover_by_a_zombie_is_refused() -> None:
    with pytest.raises(Fenced, match="world 5, expected 7"):
        plan_takeover([stored("rows-0", epoch=5)], [lane("rows-0")], 7, first=False)


def test_takeover_of_a_restored_world_with_other_lanes() -> None:
    rows = [stored("rows-0"), stored("rows-1", tick=25, rows=2), stored("events-nucleus")]
    lanes = [lane("rows-0", made=2, tail=8), lane("events-nucleus", made=2), lane("rows-9", made=2)]
    plan = plan_takeover(rows, lanes, 7, first=True)
    assert plan.lanes["rows-0"] == Stored("rows-0", 7, 2, Mark(8, -1, -1, -1, 40), 25)
    assert plan.lanes["rows-9"].overlap_tick == 25
    assert plan.lanes["events-nucleus"].overlap_tick == -1
    assert plan.rows_elsewhere == 2
    again = plan_takeover([*plan.lanes.values(), rows[1]], lanes, 7, first=False)
    assert again.lanes == plan.lanes


def test_takeover_of_a_database_that_went_back_in_time() -> None:
    plan = plan_takeover([stored("rows-0")], [lane("rows-0", tail=600)], 7, first=False)
    assert plan.behind == {"rows-0": 100}
    assert plan.lanes["rows-0"].mark.position == 500  # so that 500 to 600 become a gap


def test_takeover_of_a_lane_whose_first_frames_are_gone() -> None:
    plan = plan_takeover([], [LaneNow("rows-0", 1, 600, 1000, 64)], 7, first=True)
    assert plan.behind == {"rows-0": 536}
    assert plan.lanes["rows-0"].mark == START._replace(position=64)


def test_position_beyond_the_lane_counts_as_another_lane() -> None:
    plan = plan_takeover([stored("rows-0")], [lane("rows-0", head=400)], 7, first=True)
    assert plan.lanes["rows-0"].mark.position == 0
    assert plan.lanes["rows-0"].overlap_tick == 20


def test_suspect_tick_makes_rows_be_looked_up() -> None:
    lanes = [lane("rows-0"), lane("events-nucleus")]
    rows = [stored("rows-0"), stored("events-nucleus")]
    plan = plan_takeover(rows, lanes, 7, first=False, suspect_tick=33)
    assert plan.lanes["rows-0"].overlap_tick == 33
    assert plan.lanes["events-nucleus"].overlap_tick == -1


moments = st.integers(0, 3_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
units: st.SearchStrategy[Unit] = st.sampled_from(("hour", "day", "month"))


@settings(deadline=None)
@given(st.lists(st.tuples(units, st.lists(moments, max_size=8)), max_size=6))
def test_whatever_was_made_before_each_moment_gets_one_span(
    asked: list[tuple[Unit, list[datetime]]],
) -> None:
    spans: list[Span] = []
    for unit, wanted in asked:
        made = periods.missing(unit, wanted, spans)
        spans += [span for _, span in made]
        assert all(sum(s.start <= m < s.end for s in spans) == 1 for m in wanted)
        for name_unit, span in made:
            assert periods.is_name("bloques", periods.name("bloques", name_unit, span.start))
    ordered = sorted(spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(ordered))


def test_names_and_bounds() -> None:
    moment = datetime(2026, 11, 22, 17, 45, tzinfo=UTC)
    names = [
        periods.name("bloques", unit, periods.floor(unit, moment))
        for unit in ("hour", "day", "month")
    ]
    assert names == ["bloques_2026_11_22_17", "bloques_2026_11_22", "bloques_2026_11"]
    assert periods.span("month", datetime(2026, 12, 31, tzinfo=UTC)).end.year == 2027
    text = "FOR VALUES FROM ('2026-11-22 00:00:00+00') TO ('2026-11-23 00:00:00+00')"
    assert periods.parse_bounds(text) == periods.span("day", moment)
    assert periods.parse_bounds("DEFAULT") is None
    open_end = periods.parse_bounds("FOR VALUES FROM (MINVALUE) TO ('2026-11-23 00:00:00+00')")
    assert open_end is not None
    assert open_end.start.year == 1
    assert not periods.is_name("bloques", "bloques_old")
    ahead = periods.ahead("hour", moment, 4)
    assert ahead[-1] - moment > timedelta(hours=3)
    assert len({periods.floor("hour", m) for m in ahead}) == 5


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg.errors.DiskFull("x"), L.REASON_FULL),
        (psycopg.errors.AdminShutdown("x"), L.REASON_UNREACHABLE),
        (psycopg.errors.InsufficientPrivilege("x"), L.REASON_REFUSED),
        (psycopg.errors.ReadOnlySqlTransaction("x"), L.REASON_SERVER_ERROR),
        (psycopg.OperationalError("connection refused"), L.REASON_UNREACHABLE),
        (
            psycopg.OperationalError('FATAL:  password authentication failed for user "corec"'),
            L.REASON_REFUSED,
        ),
        (
            psycopg.OperationalError("FATAL:  the database system is starting up"),
            L.REASON_UNREACHABLE,
        ),
        (
            psycopg.OperationalError(
                'FATAL:  could not write to file "pg_wal/xlogtemp.7": No space left on device'
            ),
            L.REASON_FULL,
        ),
        (OSError("network is down"), L.REASON_UNREACHABLE),
        (psycopg.ProgrammingError("x"), L.REASON_SERVER_ERROR),
    ],
)
def test_reasons(error: Exception, reason: int) -> None:
    assert reason_of(error) == reason


def test_texts_hold_no_password() -> None:
    error = psycopg.OperationalError("cannot use\n  'hunter2' here")
    assert text_of(error, "host=a password=hunter2") == "cannot use '***' here"
    assert "hunter2" not in text_of(ValueError('"hunter2"'), "postgresql://u:hunter2@[bad")
