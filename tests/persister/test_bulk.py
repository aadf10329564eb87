"""The compiled way from a lane to a COPY stream gives what the plain one gives, byte for byte."""

from __future__ import annotations

import struct
from typing import Any, cast

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.entities.processor import Processor
from corec.layout.frames import repairs_at, row_entries, row_word
from corec.persister.batch import START, Mark, Piece, has_row, take, take_walked
from corec.persister.bulk import bulk_of, walked
from corec.persister.encode import HEADER, ROW_COLUMNS, TRAILER, Encoder, field
from corec.persister.gaps import row_key
from corec.persister.payload import ZSTD_LEVEL
from corec.persister.source import LaneSource, piece_of
from corec.persister.walk import FIXES_MAX
from corec.persister.writer import hours
from corec.plan import BLOCK_ROW, Plan, Swarm
from shm.lane import Frame, Lane, lane_region_bytes
from tests.persister.written import float_texts

FIRST_OF_SECOND = 3
BIG_NUMBER = 1_234_567
FLOATS = [0.0, -0.0, 0.5, 1 / 3, 1e-45, 3.4e38, 16777216.0, 1e16, np.nan, np.inf, -np.inf]


def plan_of_two() -> Plan:
    """Blocks 0 to 2 in a swarm with numbers of five digits, 3 and 4 in one with more."""
    swarms = tuple(
        Swarm(
            k, name, 1, 100, 100, L.MIB, first, 3, 0, cast(Processor, None), (), 0.05, 0.2
        )
        for k, (name, first) in enumerate([("niño", 0), ("b", FIRST_OF_SECOND - BIG_NUMBER)])
    )  # fmt: skip
    rows = np.zeros(5, BLOCK_ROW)
    rows["swarm"] = [0, 0, 0, 1, 1]
    rows["first_id"] = [0, 100, 200, 4_000_000_000, 2**32 - 50]
    return Plan(swarms, rows, 0)


PLAN = plan_of_two()


def body(rng: np.random.Generator, row: bool, repairs: int, entries: int) -> bytes:
    """The payload of a row frame, of any bits that make sense to somebody."""
    head = np.frombuffer(rng.bytes(L.ROW.itemsize), L.ROW).copy()
    head["unix_ns"] >>= 1
    head["hist_min"], head["hist_max"] = rng.choice(np.array(FLOATS, np.float32), 2)
    fixes = rng.integers(0, 3, (repairs, 4)).astype(np.uint32)
    log = np.frombuffer(rng.bytes(entries * L.LOG_DTYPE.itemsize), L.LOG_DTYPE).copy()
    odd = rng.choice(np.array(FLOATS, np.float32), entries)
    log["valor"] = np.where(rng.random(entries) < 0.3, odd, log["valor"])
    return head.tobytes()[: repairs_at(row)] + fixes.tobytes() + log.tobytes()


def tuples(frames: list[Frame]) -> bytes:
    """The COPY stream of row frames, field by field."""
    zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    parts = [HEADER]
    for frame in frames:
        if not has_row(frame):
            continue
        row = np.frombuffer(frame.payload, L.ROW, 1)[0]
        at = L.ROW.itemsize + frame.b * L.REPAIR.itemsize
        log = np.frombuffer(frame.payload, L.LOG_DTYPE, row_entries(frame.c), at)
        first_id = np.uint32(PLAN.blocks["first_id"][frame.a])
        low, high = float_texts([row["hist_min"], row["hist_max"]])
        document = {
            "desde": int(row["desde"]),
            "hasta": frame.tick,
            "mensajes": {
                "id": first_id + log["local"],
                "tick": log["tick"].tolist(),
                "valor": [orjson.Fragment(t) for t in float_texts(log["valor"])],
            },
            "omitidos": int(row["omitidos"]),
            "histograma": {
                "min": orjson.Fragment(low),
                "max": orjson.Fragment(high),
                "cuentas": row["histograma"].tolist(),
            },
        }
        text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        time = int(row["unix_ns"]) // 1000 - 946_684_800_000_000
        values: list[tuple[str, Any]] = [
            ("<h", row["canal"].astype("<i2")), ("<q", frame.tick), ("<q", time),
            *(("<i", row[n].astype("<i4"))
              for n in ("num_entidades", "activas", "errores", "reparadas")),
            *(("<d", row[n]) for n in ("carga", "umbral", "fitness", "media", "desviacion")),
            ("<q", row["mensajes"]),
        ]  # fmt: skip
        parts.append(struct.pack(">h", len(ROW_COLUMNS)))
        for kind, value in values:
            # reversed and not packed again: a NaN keeps its bits
            raw = struct.pack(kind, value) if isinstance(value, int) else value.tobytes()
            parts.append(field(raw.ljust(struct.calcsize(kind), b"\0")[::-1]))
        parts.append(field(b"corec1") + field(PLAN.block_id(frame.a).encode()))
        parts.append(field(zstd.compress(text)))
    return b"".join([*parts, TRAILER])


@st.composite
def lanes(draw: st.DrawFn) -> Lane:
    """A lane that has wrapped, with frames from its tail to its head."""
    capacity = 1 << draw(st.integers(12, 14))
    start = 8 * draw(st.integers(0, capacity // 8))
    lane = Lane.create(np.zeros(lane_region_bytes(capacity), np.uint8), start=start)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    key = (1, 0, 0)
    strange = draw(st.sampled_from([0.0, 0.05]))
    for _ in range(draw(st.integers(0, 120))):
        if lane.used > capacity // 2 and rng.random() < 0.5:
            frames = list(lane.frames())
            lane.release(frames[int(rng.integers(0, len(frames)))].next_position)
        if rng.random() < strange:
            lane.push(L.KIND_EVENT_FRAME, b"{}", tick=key[0])
            continue
        if rng.random() < 0.85:  # else the same again
            tick, block, step = key[0] + int(rng.integers(0, 3)), *map(int, rng.integers(0, 5, 2))
            key = max(key, (tick, block, step))
        row, repairs = rng.random() < 0.8, int(rng.integers(0, 3)) * (rng.random() < 0.3)
        entries = int(rng.integers(0, 12))
        payload = body(rng, row, repairs, entries) + rng.bytes(int(rng.integers(0, 9)))
        if rng.random() < strange:
            payload = payload[: rng.integers(0, len(payload) + 1)]
        lane.push(
            L.KIND_ROW_FRAME, payload, flags=int(row), a=key[1], b=repairs,
            tick=key[0], c=row_word(key[2], entries),
        )  # fmt: skip
    return lane


def plain(frames: list[Frame], mark: Mark, overlap_tick: int) -> list[Frame]:
    """The frames that need no look of their own, up to the first that does."""
    found: list[Frame] = []
    last = mark[1:4]
    for frame in frames:
        if frame.kind != L.KIND_ROW_FRAME or frame.tick <= overlap_tick:
            break
        key = row_key(frame)
        row = frame.flags & L.ROW_HAS_ROW
        needed = row * (L.ROW.itemsize + 16 * row_entries(frame.c)) + (1 - row) * 8
        needed += L.REPAIR.itemsize * frame.b
        if key > last and needed > len(frame.payload):
            break  # too short; of one that was taken before nobody wants to know
        last = max(last, key)
        found.append(frame)
    return found


def assert_same(fast: Piece, slow: Piece) -> None:
    """Same mark, same columns, same events, same bytes for the database."""
    assert fast.mark == slow.mark
    assert fast.duplicates == slow.duplicates
    bulk, other = fast.columns(), slow.columns()
    for name, ours, theirs in zip(bulk._fields, bulk, other, strict=True):
        assert ours.dtype == theirs.dtype, name
        assert ours.tobytes() == theirs.tobytes(), name
    encoder = Encoder(PLAN, "corec1", "json")
    assert encoder.repairs(bulk) == encoder.repairs(other)
    stream = b"".join(encoder.rows([bulk]))
    assert stream == b"".join(encoder.rows([other])) == tuples(slow.frames)
    cut = len(bulk.rows) // 2
    parts = bulk._replace(rows=bulk.rows[:cut], counts=bulk.counts[:cut], ticks=bulk.ticks[:cut],
                          blocks=bulk.blocks[:cut])  # fmt: skip
    if cut:
        assert stream.startswith(b"".join(encoder.rows([parts]))[: -len(TRAILER)])


@settings(max_examples=150, deadline=None)
@given(lane=lanes(), data=st.data())
def test_walked_is_taken(lane: Lane, data: st.DataObject) -> None:
    frames = list(lane.frames())
    first = data.draw(st.integers(0, len(frames)), label="frames behind the mark")
    limit = data.draw(st.integers(1, 2 * lane.capacity), label="limit")
    position = frames[first - 1].next_position if first else lane.tail
    near = frames[first].tick if first < len(frames) else 0
    overlap = near + data.draw(st.integers(-3, 0), label="overlap") - (near > 0) * 1
    mark = take("rows-0", frames[:first], START).mark._replace(position=position)
    found = walked(lane, position, limit, mark[1:4], overlap)
    expected = plain(list(lane.frames(position, limit)), mark, overlap)
    if not expected:
        assert found is None
        return
    assert found is not None
    assert_same(take_walked("rows-0", found, mark), take("rows-0", expected, mark))


def test_a_frame_of_another_world_s_lane_stops_it() -> None:
    """A header that claims more than there is: for the plain way, which says what is wrong."""
    lane = Lane.create(np.zeros(lane_region_bytes(4096), np.uint8))
    payload = body(np.random.default_rng(1), True, 0, 0)
    lane.push(L.KIND_ROW_FRAME, payload, flags=1, tick=1)
    lane.push(L.KIND_ROW_FRAME, payload, flags=1, tick=2, c=row_word(0, 2**32 - 1))
    found = walked(lane, 0, 4096, START[1:4], -1)
    assert found is not None
    assert found.position == 32 + len(payload)
    after = Mark(found.position, *found.key, 1)
    assert walked(lane, found.position, 4096, found.key, -1) is None
    with pytest.raises(ValueError, match="its header says"):
        take("rows-0", lane.frames(found.position), after).columns()


def test_a_piece_has_a_bounded_number_of_repairs() -> None:
    """Each becomes an event: a transaction of all that a lane holds would take many seconds."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 23), np.uint8))
    half, more = FIXES_MAX // 2, FIXES_MAX + 1
    rng = np.random.default_rng(3)
    for tick, repairs in enumerate([half, half, 1, more, 1], 1):
        data = body(rng, False, repairs, 0)
        lane.push(L.KIND_ROW_FRAME, data, b=repairs, tick=tick, c=row_word(0, 0))
    plain = LaneSource("rows-0", lane, 1)  # of no worker: frame by frame
    quick = LaneSource("rows-0", lane, 1, worker=0)
    mark, sizes = START, []
    while lane.head > mark.position:
        slow, fast = (piece_of(source, mark, 1 << 23, -1) for source in (plain, quick))
        assert_same(fast, slow)
        sizes.append(len(slow.columns().fixes))
        mark = slow.mark
    assert sizes == [2 * half, 1, more, 1]


def test_a_piece_has_a_bounded_number_of_births() -> None:
    """Each becomes an event, as a repair does; what its frames hold is not looked at."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 23), np.uint8))
    half, more = FIXES_MAX // 2, FIXES_MAX + 1
    for tick, births in enumerate([half - 1, half - 1, 0, more, 0], 1):
        lane.push(L.KIND_GENERATION_FRAME, b"", b=births, tick=tick, c=row_word(0, 0))
    lane.push(L.KIND_ROW_FRAME, body(np.random.default_rng(3), False, half, 0), b=half, tick=7)
    lane.push(L.KIND_GENERATION_FRAME, b"", b=half, tick=8, c=row_word(0, 0))
    source, mark, taken = LaneSource("rows-0", lane, 1), START, []
    while lane.head > mark.position:
        piece = piece_of(source, mark, 1 << 23, -1)
        taken.append([frame.b for frame in piece.frames])
        mark = piece.mark
    assert taken == [[half - 1, half - 1], [0], [more], [0, half], [half]]


def test_many_rows_are_cut_into_pieces() -> None:
    """More than one piece of the stream, and rows without a payload."""
    lane = Lane.create(np.zeros(lane_region_bytes(1 << 20), np.uint8))
    rng = np.random.default_rng(5)
    for tick in range(1, 400):
        entries = int(rng.integers(0, 300)) if tick % 50 else 6000
        data = body(rng, True, 0, entries)
        lane.push(L.KIND_ROW_FRAME, data, flags=1, a=tick % 5, tick=tick, c=entries)
    found = walked(lane, 0, 1 << 20, START[1:4], -1)
    assert found is not None
    stream = list(Encoder(PLAN, "corec1", "json").rows([found.bulk, bulk_of([])]))
    assert len(stream) > 5
    assert b"".join(stream) == tuples(list(lane.frames()))
    assert len(hours(found.bulk.rows["unix_ns"])) > 1
    plain_stream = b"".join(Encoder(PLAN, "corec1", "none").rows([found.bulk]))
    assert plain_stream.count(struct.pack(">i", -1)) >= len(found.bulk.rows)
