"""The table in ``shm.layout`` and its constants say the same; sizes are what they should be."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm import layout


@given(st.integers(0, 2**48), st.integers(0, 20).map(lambda k: 1 << k))
def test_align_up_is_the_next_multiple(n: int, a: int) -> None:
    aligned = layout.align_up(n, a)
    assert aligned % a == 0
    assert n <= aligned < n + a


@pytest.mark.parametrize(("n", "a"), [(-1, 8), (5, 0), (5, 3), (5, -8)])
def test_align_up_refuses(n: int, a: int) -> None:
    with pytest.raises(ValueError, match="align_up"):
        layout.align_up(n, a)


def test_layout_hash_is_a_stable_u64() -> None:
    # BLAKE2b-64 of the text, little-endian: stored in files, so it may never change.
    assert layout.layout_hash("block v1") == 0xBEE5264F6C34D714
    assert layout.layout_hash("block v1") != layout.layout_hash("block v2")
    assert 0 <= layout.layout_hash("") < 2**64


def test_lane_words_are_where_the_table_says() -> None:
    rows = re.findall(r"^ +(\d+)  (LANE_[A-Z_]+) ", layout.__doc__ or "", re.MULTILINE)
    assert len(rows) == 9
    for word, name in rows:
        assert getattr(layout, name) == int(word), name


def test_segment_fields_are_where_the_table_says() -> None:
    table = (layout.__doc__ or "").split("Segment header page::")[1].split("Lane region")[0]
    rows = [
        (int(o), int(s), n)
        for o, s, n in re.findall(r"^ +(\d+) +(\d+)  (\w+)", table, re.MULTILINE)
    ]
    end = 0
    for offset, size, _ in rows:
        assert offset == end
        end = offset + size
    assert end == layout.SEGMENT_HEADER_BYTES
    fields = re.findall(r"\d*[a-zA-Z]", layout.SEGMENT_HEADER.format.lstrip("<"))
    fields = [f for group in fields for f in _single(group)]
    assert [struct.calcsize("<" + f) for f in fields] == [size for _, size, _ in rows[:9]]
    assert rows[-1] == (layout.SEGMENT_CRC_OFFSET, layout.SEGMENT_CRC.size, "crc32c")


def _single(group: str) -> list[str]:
    count, code = group[:-1], group[-1]
    return [group] if code == "s" or not count else [code] * int(count)


@given(st.integers(0, 10_000))
def test_frame_bytes(payload_len: int) -> None:
    size = layout.frame_bytes(payload_len)
    assert size % 8 == 0
    assert 0 <= size - layout.FRAME_HEADER_BYTES - payload_len < 8
