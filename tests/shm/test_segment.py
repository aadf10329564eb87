"""Segments: what they hold, what is refused, and what a full file system leaves behind."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from shm import killpoint, layout
from shm.segment import Segment, SegmentNoSpace, SegmentRefused, remove_leftovers
from tests.shm.helpers import KILLED, fork, reap

LAYOUT = layout.layout_hash("a test's layout")


def make(path: Path, **changes: Any) -> Segment:
    arguments: dict[str, Any] = {
        "kind": "arena",
        "layout_hash": LAYOUT,
        "payload_bytes": 10_000,
        "epoch": 7,
    }
    return Segment.create(path, **(arguments | changes))


def attach(path: Path, **changes: Any) -> Segment:
    arguments: dict[str, Any] = {"kind": "arena", "layout_hash": LAYOUT}
    return Segment.attach(path, **(arguments | changes))


def test_what_one_writes_another_reads(tmp_path: Path) -> None:
    path = tmp_path / "arena"
    with make(path) as first, attach(path) as second, attach(path, writable=False) as third:
        assert first.payload.size == 10_000
        assert first.words.size == 1250
        assert first.payload.ctypes.data % layout.PAGE_BYTES == 0
        assert not first.payload.any()
        first.words[1249] = 2**64 - 1
        second.payload[0] = 5
        assert third.payload[0] == 5
        assert third.words[1249] == 2**64 - 1
        with pytest.raises(ValueError, match="read-only"):
            third.payload[0] = 6
        for segment in (first, second, third):
            assert (segment.epoch, segment.kind, segment.layout_hash) == (7, "arena", LAYOUT)
            assert segment.created_unix_ns == first.created_unix_ns
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == layout.segment_bytes(10_000) == 16_384
    assert status.st_blocks * 512 >= status.st_size, "not allocated in full"
    assert os.listdir(tmp_path) == ["arena"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make(tmp_path / "arena").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "arena").stat().st_mode) == 0o600


def test_a_view_keeps_the_memory_after_close(tmp_path: Path) -> None:
    segment = make(tmp_path / "arena")
    view = segment.words[:4]
    view[2] = 11
    assert segment.close() is False
    assert segment.close() is True
    assert segment.closed
    assert view[2] == 11
    with pytest.raises(ValueError, match="closed"):
        segment.payload.sum()
    del view
    again = attach(tmp_path / "arena")
    assert again.words[2] == 11
    assert again.close() is True


def test_every_flipped_header_byte_is_refused(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "arena"
    make(path).close()
    with path.open("r+b", buffering=0) as file:
        descriptor = file.fileno()
        page = os.pread(descriptor, layout.SEGMENT_HEADER_BYTES, 0)
        for offset, byte in enumerate(page):
            os.pwrite(descriptor, bytes([byte ^ chance.randrange(1, 256)]), offset)
            with pytest.raises(SegmentRefused) as refused:
                attach(path)
            assert refused.value.path == path
            assert refused.value.found != refused.value.expected
            os.pwrite(descriptor, bytes([byte]), offset)
    attach(path).close()


@pytest.mark.parametrize(
    ("change", "found", "expected"),
    [
        ({"kind": "lanes"}, "kind b'arena'", "kind b'lanes'"),
        ({"layout_hash": 5}, f"layout {LAYOUT:016x}", "0000000000000005"),
    ],
)
def test_another_segment_is_refused(
    tmp_path: Path, change: dict[str, Any], found: str, expected: str
) -> None:
    make(tmp_path / "arena").close()
    with pytest.raises(SegmentRefused) as refused:
        attach(tmp_path / "arena", **change)
    assert (refused.value.found, refused.value.expected) == (found, expected)
    assert found in str(refused.value)
    assert str(tmp_path / "arena") in str(refused.value)


@pytest.mark.parametrize("size", [0, 1, 71, 4095, 4096, 16_383, 16_385, 20_480])
def test_a_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "arena"
    make(path).close()
    os.truncate(path, size)
    with pytest.raises(SegmentRefused, match="bytes"):
        attach(path)


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        attach(tmp_path / "nothing")
    (tmp_path / "text").write_bytes(b"x" * 9000)
    with pytest.raises(SegmentRefused, match="magic"):
        attach(tmp_path / "text")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SegmentRefused, match="regular file"):
        attach(tmp_path / "fifo")
    make(tmp_path / "arena").close()
    (tmp_path / "link").symlink_to(tmp_path / "arena")
    with pytest.raises(OSError, match="symbolic links"):
        attach(tmp_path / "link")


@pytest.mark.parametrize(
    "wrong",
    [{"kind": ""}, {"kind": "x" * 17}, {"kind": "año"}, {"payload_bytes": 0}, {"epoch": -1},
     {"layout_hash": 1 << 64}],
)  # fmt: skip
def test_impossible_arguments_leave_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="segment"):
        make(tmp_path / "arena", **wrong)
    assert os.listdir(tmp_path) == []


def test_more_than_the_file_system_holds(tmp_path: Path) -> None:
    with pytest.raises(SegmentNoSpace, match="bytes") as refused:
        make(tmp_path / "arena", payload_bytes=1 << 50)
    assert refused.value.asked_bytes == layout.segment_bytes(1 << 50)
    assert 0 <= refused.value.free_bytes < 1 << 50
    assert str(refused.value.asked_bytes) in str(refused.value)
    assert os.listdir(tmp_path) == []


def test_an_allocation_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def child() -> None:
        limit = 1 << 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        make(tmp_path / "small", payload_bytes=limit // 2).close()
        with pytest.raises(SegmentNoSpace) as refused:
            make(tmp_path / "large", payload_bytes=2 * limit)
        assert refused.value.asked_bytes > 2 * limit
        assert os.listdir(tmp_path) == ["small"]

    assert reap(fork(child)) == 0


def test_a_full_tmpfs_is_an_error_at_creation(tmp_path: Path) -> None:
    # A tmpfs of one MiB in a mount namespace of the child's own; it goes with the child.
    unable = 77

    def child() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        new_user, new_mounts = 0x10000000, 0x00020000
        user, group = os.geteuid(), os.getegid()
        flags = new_mounts if user == 0 else new_user | new_mounts
        folder = str(tmp_path).encode()
        private = 1 << 18 | 1 << 14  # MS_PRIVATE | MS_REC: nothing shows outside
        if libc.unshare(flags):
            os._exit(unable)
        if user:
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        if libc.mount(b"none", b"/", None, private, None) or libc.mount(
            b"tmpfs", folder, b"tmpfs", 0, b"size=1m"
        ):
            os._exit(unable)
        first = make(tmp_path / "first", payload_bytes=600_000)
        with pytest.raises(SegmentNoSpace) as refused:
            make(tmp_path / "second", payload_bytes=600_000)
        assert 0 < refused.value.free_bytes < 600_000
        assert os.listdir(tmp_path) == ["first"]
        first.payload[:] = 1
        first.unlink()
        make(tmp_path / "second", payload_bytes=100_000).payload[:] = 1

    status = reap(fork(child))
    if status == unable:
        pytest.skip("this machine lets nobody mount a tmpfs in a namespace")
    assert status == 0


def test_a_killed_creator_leaves_no_half_segment(tmp_path: Path) -> None:
    def child() -> None:
        killpoint.arm("segment.create.before_rename")
        make(tmp_path / "arena")

    assert reap(fork(child)) == KILLED
    with pytest.raises(FileNotFoundError):
        attach(tmp_path / "arena")
    assert len(os.listdir(tmp_path)) == 1
    assert remove_leftovers(tmp_path) == 1
    assert remove_leftovers(tmp_path) == 0
    assert os.listdir(tmp_path) == []


def test_a_new_segment_takes_the_name_and_the_old_mapping_lives(tmp_path: Path) -> None:
    path = tmp_path / "arena"
    old = make(path, epoch=1)
    old.payload[0] = 1
    new = make(path, epoch=2)
    assert old.payload[0] == 1
    assert new.payload[0] == 0
    old.unlink()  # the name is the new one's by now
    with attach(path) as found:
        assert found.epoch == 2
    new.unlink()
    new.unlink()
    assert os.listdir(tmp_path) == []
    assert old.close()
    assert new.close()
