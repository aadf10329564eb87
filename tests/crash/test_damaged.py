"""A world in memory of which one file is damaged, foreign or older is refused and stays as it is.

The segments' own checks (each byte of a header flipped, each wrong length) are in
``tests/shm/test_segment.py``. Here every file of a world takes its turn, and ``corec run`` meets
the damage as its user would: one line that names the file and what was found, exit code 2, no byte
changed. ``--fresh`` moves such a world aside and deletes nothing of it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import google_crc32c
import pytest

from corec.config import Config, load_config
from corec.plan import Plan, make_plan
from corec.supervisor import segments
from corec.supervisor.lanes import lane_files
from corec.world.shape import read_shape, shape
from shm.layout import SEGMENT_CRC, SEGMENT_CRC_OFFSET, SEGMENT_HEADER, SEGMENT_HEADER_BYTES
from shm.segment import SegmentRefused
from tests.crash.worlds import instance, world
from tests.e2e.conftest import Make
from tests.support.instance import Instance, small_config

WORKERS = 2
EPOCH_FIELD, LAYOUT_FIELD = 7, 4


def flip(path: Path, offset: int, chance: random.Random) -> None:
    """Change one byte of a file."""
    with path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ chance.randrange(1, 256)]), offset)


def rewrite(path: Path, field: int) -> None:
    """A sound header that differs in one field: a file of an older layout, of another world."""
    with path.open("r+b", buffering=0) as file:
        page = os.pread(file.fileno(), SEGMENT_HEADER_BYTES, 0)
        fields = list(SEGMENT_HEADER.unpack_from(page))
        fields[field] ^= 1
        page = SEGMENT_HEADER.pack(*fields).ljust(SEGMENT_CRC_OFFSET, b"\0")
        os.pwrite(file.fileno(), page + SEGMENT_CRC.pack(google_crc32c.value(page)), 0)


def header(path: Path, chance: random.Random) -> None:
    """A flipped byte somewhere in the header."""
    flip(path, chance.randrange(SEGMENT_HEADER_BYTES), chance)


def older(path: Path, _: random.Random) -> None:
    """Another layout."""
    rewrite(path, LAYOUT_FIELD)


def foreign(path: Path, _: random.Random) -> None:
    """The same layout, another world's epoch."""
    rewrite(path, EPOCH_FIELD)


def truncated(path: Path, chance: random.Random) -> None:
    """Shorter than its header says."""
    os.truncate(path, chance.randrange(path.stat().st_size))


def gone(path: Path, _: random.Random) -> None:
    """Not there."""
    path.unlink()


def text(path: Path, _: random.Random) -> None:
    """Something else under its name."""
    path.write_bytes(b"not a segment\n" * 1000)


def lane_words(path: Path, chance: random.Random) -> None:
    """A flipped byte in the magic of the lane itself."""
    flip(path, SEGMENT_HEADER_BYTES + chance.randrange(8), chance)


DAMAGES: dict[str, tuple[Callable[[Path, random.Random], None], str]] = {
    "header": (header, ""),
    "older": (older, "layout"),
    "foreign": (foreign, "epoch"),
    "truncated": (truncated, "bytes"),
    "gone": (gone, "no such file"),
    "text": (text, "magic"),
    "lane words": (lane_words, "lane"),
}


@pytest.fixture
def seed() -> int:
    """Which bytes are damaged; printed, so that a failure can be repeated."""
    chosen = random.SystemRandom().randrange(2**31)
    print(f"seed {chosen}")
    return chosen


@pytest.fixture
def small(tmp_path: Path, shm_dir: Path) -> Iterator[tuple[Config, Plan, Path]]:
    """A world in memory that nobody runs."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(small_config()))
    config = load_config(path, environ={})
    plan = make_plan(config)
    folder = shm_dir / "world"
    folder.mkdir()
    segments.create(config, folder, WORKERS, None, plan, lambda _done, _of: None)
    yield config, plan, folder
    segments.remove(folder)


def contents(folder: Path) -> dict[str, int]:
    """Checksum of every file of a world."""
    files = [*folder.glob("*.seg"), *folder.glob("*.lane")]
    return {path.name: google_crc32c.value(path.read_bytes()) for path in files}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_of_a_world(small: tuple[Config, Plan, Path], damage: str, seed: int) -> None:
    config, plan, folder = small
    chance = random.Random(seed)
    harm, says = DAMAGES[damage]
    for name in ["control.seg", "world.seg", *lane_files(plan, WORKERS)]:
        if damage == "lane words" and not name.endswith(".lane"):
            continue
        if damage == "foreign" and name == "control.seg":
            continue  # its epoch is what the others are held against
        path = folder / name
        sound = path.read_bytes()
        harm(path, chance)
        before = contents(folder)
        with pytest.raises(SegmentRefused) as refused:
            segments.adopt(config, folder, plan)
        assert refused.value.path == path
        assert says in refused.value.found, name
        assert not segments.fits(config, folder, plan)
        assert contents(folder) == before, "a refused world was changed"
        path.write_bytes(sound)
    assert segments.fits(config, folder, plan)
    assert read_shape(folder) == shape(plan, config.seed)


def test_a_control_segment_of_another_world_is_told_by_the_others(
    small: tuple[Config, Plan, Path],
) -> None:
    config, plan, folder = small
    foreign(folder / "control.seg", random.Random(0))
    with pytest.raises(SegmentRefused, match="epoch") as refused:
        segments.adopt(config, folder, plan)
    assert refused.value.path == folder / "world.seg"


def killed_world(one: Instance) -> int:
    """A running instance whose supervisor is killed; the tick it had reached."""
    run = one.start("--tick-hz", "50", "--workers", str(WORKERS)).ready().until_tick(5)
    tick = int(run.status()["tick"])
    run.process.kill()
    run.process.wait()
    return tick


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_a_start_meets_the_damage(make: Make, seed: int) -> None:
    one = instance(make, world())
    tick = killed_world(one)
    chance = random.Random(seed)
    turns = (("control.seg", "header"), ("world.seg", "truncated"), ("in.lane", "older"),
             ("rows-1.lane", "foreign"), ("out-0.lane", "lane words"),
             ("events-nucleus.lane", "gone"))  # fmt: skip
    for name, damage in turns:
        path = one.folder / name
        sound = path.read_bytes()
        DAMAGES[damage][0](path, chance)
        before = contents(one.folder)
        ended = one.run("--ticks", "1")
        assert (ended.code, ended.out) == (2, ""), ended.err[-2000:]
        assert "Traceback" not in ended.err
        (line,) = ended.complaints
        assert name in line
        assert DAMAGES[damage][1] in line
        assert "--fresh" in line
        assert contents(one.folder) == before
        path.write_bytes(sound)
    summary = one.run("--ticks", "1").summary
    assert summary["tick"] > tick, "the repaired world goes on"


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_fresh_moves_a_damaged_world_aside(make: Make, seed: int) -> None:
    one = instance(make, world())
    killed_world(one)
    flip(one.folder / "world.seg", 100, random.Random(seed))
    damaged = contents(one.folder)
    ended = one.run("--fresh", "--ticks", "3", "--tick-hz", "0")
    assert ended.summary["tick"] == 3
    assert "set aside" in ended.err
    (aside,) = one.folder.glob("aside-*")
    assert contents(aside) == damaged
    for path in aside.iterdir():
        path.unlink()
    aside.rmdir()
    assert one.run("--ticks", "2", "--tick-hz", "0").summary["tick"] == 5
