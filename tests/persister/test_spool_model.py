"""The spool against a list: random appends, reads, commits, drops, crashes and torn ends."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.persister.batch import START, Mark, take
from corec.persister.gaps import KIND_GAP_FRAME
from corec.persister.source import LaneSource
from corec.persister.spool import Spool
from corec.persister.spool_format import WHY_DROP_NEW, Extent, SpoolDamaged, merged, scan
from corec.persister.spooler import cut
from shm.lane import Lane, lane_region_bytes

CAPACITY = 1 << 12
CAP_BYTES = 1 << 20
LANE = "rows-0"


class Model:
    """One lane of rows numbered from 0: row n has tick n."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        region = np.zeros(lane_region_bytes(CAPACITY) + 64, np.uint8)
        offset = -region.ctypes.data % 64
        self.lane = Lane.create(region[offset : offset + lane_region_bytes(CAPACITY)])
        self.folder = folder
        self.published = 0
        self.table: list[int] = []
        self.lost: list[tuple[int, int, int]] = []
        self.mark = START
        self.begin()

    def begin(self) -> None:
        """A persister starts: it reads the files and knows the mark from the database."""
        self.spool = Spool(self.folder, "corec1", 7, {LANE: 1}, CAP_BYTES)
        self.spool.file_bytes = 4096
        assert self.spool.open()
        self.source = LaneSource(LANE, self.lane, 1, 0)
        self.source.spooled = self.spool.current
        self.spool.current.marks = {LANE: self.mark}

    def publish(self) -> None:
        """The worker goes on until the lane is full or it has done enough."""
        for _ in range(self.random.randrange(8)):
            size = self.random.randrange(900)
            fields = {"flags": L.ROW_HAS_ROW, "tick": self.published}
            if not self.lane.push(L.KIND_ROW_FRAME, bytes(size), **fields):
                return
            self.published += 1

    async def spool_some(self, release: bool, gap: bool) -> None:
        """Move some frames; ``release`` false: killed before it; ``gap``: drop them."""
        begin = self.source.to_spool()
        frames = list(self.lane.frames(begin, self.random.randrange(1, 5000)))
        key = self.source.spooled.last_key(LANE)
        chunks = cut(self.source, frames, begin, max(key, self.mark[1:4]))
        if not chunks:
            return
        if gap:
            lost = [chunk.extent._replace(why=WHY_DROP_NEW) for chunk in chunks]
            await self.spool.put_gaps(lost)
        else:
            await self.spool.append(chunks)
        if release:
            self.lane.release(chunks[-1].extent.end)

    def drain(self, limit: int, released: bool) -> None:
        """Write some to the table; ``released`` false: killed after COMMIT."""
        piece = take(LANE, self.source.frames(self.mark.position, limit), self.mark)
        for frame in piece.frames:
            if frame.kind == KIND_GAP_FRAME:
                self.lost.append((len(self.table), frame.tick, frame.b))
            else:
                self.table.append(frame.tick)
        self.mark = piece.mark
        if released:
            self.lane.release(self.mark.position)
            self.spool.current.marks = {LANE: self.mark}
            self.spool.collect(self.spool.current)

    def crash(self) -> None:
        """A persister is killed, perhaps while it wrote, and another starts."""
        self.spool.close()
        files = sorted(self.folder.glob("*.log"))
        if files and self.random.random() < 0.5:
            torn = self.random.randbytes(self.random.randrange(1, 300))
            with open(files[-1], "ab") as file:
                file.write(torn)
        (self.folder / "spool-000000000000.tmp").write_bytes(b"half")
        self.begin()

    def check(self) -> None:
        """Every row is in the table or in a gap between its neighbours, and in order."""
        assert self.table == sorted(set(self.table))
        assert self.mark.rows == len(self.table)
        seen = set(self.table)
        missing = [n for n in range(self.mark.tick + 1) if n not in seen]
        assert len(missing) == sum(rows for _, _, rows in self.lost)
        for at, last, rows in self.lost:
            before = self.table[at - 1] if at else -1
            after = self.table[at] if at < len(self.table) else self.mark.tick + 1
            assert before < last - rows + 1 <= last < after


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), drops=st.booleans())
def test_any_order_of_things(seed: int, drops: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_any_order(Model(Path(folder), seed), drops))


async def _any_order(model: Model, drops: bool) -> None:
    for _ in range(60):
        model.publish()
        match model.random.randrange(8):
            case 0 | 1 | 2:
                await model.spool_some(release=True, gap=False)
            case 3:
                await model.spool_some(release=False, gap=False)
                model.crash()
            case 4 | 5:
                model.drain(model.random.randrange(1, 6000), released=True)
            case 6:
                model.drain(3000, released=False)
                model.crash()
            case 7 if drops and model.random.random() < 0.5:
                await model.spool_some(release=True, gap=True)
            case 7 if drops:
                model.spool.current.on_the_way = {}
                await model.spool.drop_oldest()
        model.check()
    while model.source.waiting(model.mark.position) or model.spool.current.files:
        model.drain(1 << 20, released=True)
    model.check()
    model.spool.close()
    assert model.mark.tick == model.published - 1
    assert sorted(model.folder.glob("*.log")) == []


def test_frames_on_their_way_are_not_dropped(tmp_path: Path) -> None:
    async def run() -> None:
        model = Model(tmp_path, 3)
        for _ in range(12):
            model.publish()
            await model.spool_some(release=True, gap=False)
        first = [file.number for file in model.spool.current.files]
        end = model.spool.current.files[1].first[LANE] + 8
        model.spool.current.on_the_way = {LANE: end}
        await model.spool.drop_oldest()
        files = model.spool.current.files
        assert [(file.number, file.stub) for file in files[:3]] == [
            (first[0], False), (first[1], False), (first[2], True),
        ]  # fmt: skip
        await model.spool.drop_oldest()
        assert [file.stub for file in files[:3]] == [False, False, True]
        assert files[2].covers == first[2]
        assert files[2].number == first[3]
        model.spool.close()

    asyncio.run(run())


def test_only_one_has_the_spool(tmp_path: Path) -> None:
    first, second = (Spool(tmp_path / "spool", "corec1", 7, {}, CAP_BYTES) for _ in range(2))
    assert first.open()
    assert first.open()
    assert not second.open()
    first.close()
    assert second.open()
    second.close()


@pytest.mark.parametrize("size", [0, 7, 40, 90])
def test_file_torn_in_its_head(size: int, tmp_path: Path) -> None:
    model = Model(tmp_path, 5)
    while not model.published:
        model.publish()
    asyncio.run(model.spool_some(release=False, gap=False))
    (path,) = tmp_path.glob("*.log")
    os.truncate(path, size)
    with pytest.raises(EOFError):
        scan(path, last=True)
    with pytest.raises(SpoolDamaged):
        scan(path, last=False)
    model.crash()
    assert model.spool.current.files == []
    model.drain(1 << 20, released=True)
    model.check()
    model.spool.close()


def test_gaps_that_follow_each_other_are_one() -> None:
    first = Extent(LANE, 0, 64, 1, 3, 5, 2, 0, 4, 1, WHY_DROP_NEW)
    second = Extent(LANE, 64, 128, 2, 6, 9, -1, -1, 0, 3, WHY_DROP_NEW)
    assert merged(first, second) == Extent(LANE, 0, 128, 2, 3, 9, 2, 0, 4, 4, WHY_DROP_NEW)
    assert Mark(*START) == START
