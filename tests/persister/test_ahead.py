"""A batch that was taken ahead is used only where it begins where the lanes are durable."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.persister.ahead import Batches
from corec.persister.batch import START, Mark
from corec.persister.encode import HEADER, TRAILER, Encoder
from corec.persister.source import LaneSource
from corec.persister.stream import STEP_PIECES, STEPS_AHEAD, Stream
from shm.lane import Lane, lane_region_bytes
from tests.persister.small_world import make_plan

CAPACITY = 1 << 14
BLOCKS = 4
PLAIN = Encoder(make_plan(BLOCKS), "corec1", "json")


class Table:
    """How far the lanes are durable, as a writer knows it."""

    def __init__(self, lanes: list[LaneSource]) -> None:
        self.marks = {lane.name: START for lane in lanes}
        self.overlap = -1

    def mark(self, lane: str) -> Mark:
        """How far a lane is durable."""
        return self.marks[lane]

    def overlap_tick(self, lane: str) -> int:
        """None of them was written before."""
        return self.overlap


def push(source: LaneSource, tick: int, block: int) -> bool:
    row = np.zeros(1, L.ROW)
    row["block"], row["canal"], row["unix_ns"] = block, 1, 10**18
    data = row.tobytes()
    return source.lane.push(L.KIND_ROW_FRAME, data, flags=L.ROW_HAS_ROW, a=block, tick=tick)


async def drained(stream: Stream) -> bytes:
    return b"".join([piece async for piece in stream.sent()])


async def run_steps(steps: list[str], encoder: Encoder) -> None:
    sources = [
        LaneSource(
            f"rows-{k}", Lane.create(np.zeros(lane_region_bytes(CAPACITY), np.uint8)), 1, k
        )
        for k in range(2)
    ]  # fmt: skip
    table = Table(sources)
    batches = Batches(sources, encoder, CAPACITY // 2, 400)
    tick, sent = 0, set[tuple[int, int]]()
    written: list[tuple[int, int]] = []
    for step in steps:
        if step == "publish":
            for _ in range(8):
                tick += 1
                sent |= {(tick, b) for b in range(BLOCKS) if push(sources[b % 2], tick, b)}
            continue
        if step == "overlap":
            table.overlap = tick if table.overlap < 0 else -1
            continue
        waiting = [s.waiting(table.mark(s.name).position) for s in sources]
        if not any(waiting):
            continue
        batch = batches.take(sources, table, waiting)
        bulks = [piece.columns() for piece in batch.pieces]
        stream = batch.stream or encoder.stream(bulks)
        assert await drained(stream) == b"".join(PLAIN.rows(bulks))
        if step == "fail":
            continue  # the transaction was rolled back: all of it again
        if step == "lost reply":
            batches.forget()  # it was committed; the next take-over reads so
        for piece, bulk in zip(batch.pieces, bulks, strict=True):
            written += zip(bulk.ticks.tolist(), bulk.blocks.tolist(), strict=True)
            table.marks[piece.lane] = piece.mark
        for source in sources:
            source.release(table.mark(source.name).position)
    for block in range(BLOCKS):
        ticks = [t for t, b in written if b == block]
        assert ticks == sorted(set(ticks))
        assert ticks == sorted(t for t, b in sent if b == block)[: len(ticks)]
    left = sum(1 for source in sources for _ in source.frames(table.mark(source.name).position))
    assert len(written) + left == len(sent)


STEPS = st.sampled_from(["publish", "publish", "write", "write", "fail", "lost reply", "overlap"])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(make_plan(BLOCKS), "corec1", "json")


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_each_row_once_whatever_became_of_the_transaction(
    steps: list[str], encoder: Encoder
) -> None:
    asyncio.run(run_steps(steps, encoder))


def test_it_is_taken_ahead(encoder: Encoder) -> None:
    """The second batch is what had been taken while the first was sent, and not read again."""

    async def run() -> None:
        lane = Lane.create(np.zeros(lane_region_bytes(CAPACITY), np.uint8))
        source = LaneSource("rows-0", lane, 1, 0)
        table = Table([source])
        for tick in range(1, 61):
            assert push(source, tick, 0)
        batches = Batches([source], encoder, CAPACITY // 4, 400)
        first = batches.take([source], table, [source.waiting(0)])
        assert first.stream is not None
        await drained(first.stream)
        await asyncio.sleep(0)  # the loop calls what was due: the next one is begun
        table.marks["rows-0"] = first.pieces[0].mark
        lane.release(first.pieces[0].mark.position)
        lane.data[:] = 0  # whoever reads it now finds nothing
        second = batches.take([source], table, [source.waiting(table.mark("rows-0").position)])
        assert second.stream is not None
        bulk = second.pieces[0].columns()
        done = first.pieces[0].mark.tick
        assert bulk.ticks.tolist() == list(range(done + 1, second.pieces[0].mark.tick + 1))
        assert len(bulk.ticks) > 10
        expected = b"".join(PLAIN.rows([bulk]))
        assert expected.startswith(HEADER)
        assert expected.endswith(TRAILER)
        assert await drained(second.stream) == expected

    asyncio.run(run())


def test_a_stream_is_made_a_bounded_piece_ahead(encoder: Encoder) -> None:
    """And what fails while it is made is raised to whoever sends it."""
    made = []

    def piece() -> bytes:
        made.append(threading.get_ident())
        return b"x"

    def no_piece() -> bytes:
        raise ValueError("a row makes no sense")

    async def main() -> None:
        stream = Stream(iter([*[piece] * 99, no_piece]), encoder.threads)
        await until(lambda: len(made) >= STEPS_AHEAD * STEP_PIECES)
        await asyncio.get_running_loop().run_in_executor(encoder.threads, int)
        assert len(made) == STEPS_AHEAD * STEP_PIECES
        with pytest.raises(ValueError, match="no sense"):
            await drained(stream)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Wait on the loop, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_pieces_are_sent_in_order_whichever_is_made_first(encoder: Encoder) -> None:
    """The first one waits for the second, which another thread makes meanwhile."""
    second = threading.Event()
    all_made: list[bool] = []

    def first_piece() -> bytes:
        assert second.wait(10)
        return b"1"

    def second_piece() -> bytes:
        second.set()
        return b"3"

    async def main() -> None:
        jobs = [first_piece, lambda: b"2", second_piece, lambda: b"4"]
        with ThreadPoolExecutor(2) as threads:
            stream = Stream(iter(jobs), threads, lambda: all_made.append(True))
            assert await drained(stream) == b"1234"
            await until(lambda: all_made == [True])
            for pieces in range(1, 3 * STEPS_AHEAD * STEP_PIECES):
                done = asyncio.Event()
                stream = Stream(iter([lambda: b"x"] * pieces), threads, done.set)
                assert len(await drained(stream)) == pieces
                async with asyncio.timeout(10):
                    await done.wait()

    asyncio.run(main())
