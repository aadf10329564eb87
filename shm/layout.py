"""Every offset, size and magic of shared memory.  All integers are little-endian.

Segment (a file)::

    byte 0                                                            4096
    +--------------------------------------------------------------+----------------------+
    | header page                                                  | payload, page-aligned|
    +--------------------------------------------------------------+----------------------+

Segment header page::

    offset  size  field
         0     8  magic            b"SHMSEG\\r\\n"  (a text-mode copy breaks it visibly)
         8     4  version          u32
        12     4  header_bytes     u32, 4096
        16    16  kind             ASCII, zero-padded
        32     8  layout_hash      u64, of the description of what the payload holds
        40     8  size             u64, bytes of the whole file
        48     8  payload_bytes    u64, bytes asked for (size = 4096 + this, rounded up to a page)
        56     8  epoch            u64, chosen by the creator, never changed
        64     8  created_unix_ns  u64
        72  4020  zero
      4092     4  crc32c           u32, of bytes 0..4091

Lane region (anywhere in a payload, 8-byte aligned; 128-byte aligned to keep lines apart)::

    byte 0         128        256        384        512        640    1024    1024 + capacity
    +----------+----------+----------+----------+----------+------+-----------------------+
    | describe | producer | consumer | consumer | producer | zero | frames                |
    |          |          |          | sleeping | sleeping |      | capacity = 2**k bytes |
    +----------+----------+----------+----------+----------+------+-----------------------+

    word  field             writer    meaning
       0  LANE_MAGIC        creator   LANE_MAGIC_VALUE, stored last
       1  LANE_CAPACITY     creator   bytes, a power of two
       2  LANE_START        creator   position of the first frame ever
      16  LANE_HEAD         producer  first byte not yet published (release / acquire)
      17  LANE_TAIL_SEEN    producer  the tail the producer saw last
      32  LANE_TAIL         consumer  first byte not yet released (release / acquire)
      33  LANE_HEAD_SEEN    consumer  the head the consumer saw last
      48  LANE_CONSUMER_SLEEPING  consumer  doorbell flag: ring me when you publish
      64  LANE_PRODUCER_SLEEPING  producer  doorbell flag: ring me when you release

Frame (8-byte aligned, never split by the wrap)::

    offset  size  field
         0     4  payload_len  u32, bytes
         4     2  kind         u16, 0 = padding
         6     2  flags        u16
         8     4  a            u32, the user's
        12     4  b            u32, the user's
        16     8  tick         u64
        24     8  c            u64, the user's
        32     n  payload, then 0..7 bytes of anything up to the next multiple of 8

Padding record: only its first 8 bytes mean anything (there may be no more room before the wrap):
kind 0, payload_len = all the bytes from its start to the wrap, flags 0.
"""

from __future__ import annotations

import hashlib
import struct
import sys


class Counted:
    """Numbers the places of a table one behind the other, so that no two names share one."""

    def __init__(self, line: int = 1) -> None:
        """``line``: places of a line, which one writer has for itself."""
        self.end = 0
        self._line = line

    def __call__(self, places: int = 1) -> int:
        """The first of the next ``places``."""
        first = self.end
        self.end += places
        return first

    def each(self, names: int) -> tuple[int, ...]:
        """The next ``names`` places, one each."""
        return tuple(self() for _ in range(names))

    def line(self, free: int = 0) -> None:
        """What follows begins a line, behind so many that are free."""
        self.end = (-(-self.end // self._line) + free) * self._line


PAGE_BYTES = 4096
LINE_BYTES = 128
"""Two 64-byte lines: x86 prefetches lines in pairs, and some arm64 cores have 128-byte lines."""
WORD_BYTES = 8

SEGMENT_MAGIC = b"SHMSEG\r\n"
SEGMENT_VERSION = 1
SEGMENT_HEADER_BYTES = PAGE_BYTES
SEGMENT_KIND_BYTES = 16
SEGMENT_HEADER = struct.Struct("<8sII16sQQQQQ")
SEGMENT_CRC = struct.Struct("<I")
SEGMENT_CRC_OFFSET = SEGMENT_HEADER_BYTES - SEGMENT_CRC.size

LANE_CONTROL_BYTES = 8 * LINE_BYTES
LANE_MAGIC_VALUE = int.from_bytes(b"SHMLANE1", "little")
LANE_CAPACITY_MIN = 256
LANE_CAPACITY_MAX = 1 << 40
_lane = Counted(LINE_BYTES // WORD_BYTES)
LANE_MAGIC = _lane()
LANE_CAPACITY = _lane()
LANE_START = _lane()
_lane.line()
LANE_HEAD = _lane()
LANE_TAIL_SEEN = _lane()
_lane.line()
LANE_TAIL = _lane()
LANE_HEAD_SEEN = _lane()
_lane.line()
LANE_CONSUMER_SLEEPING = _lane()
_lane.line()
LANE_PRODUCER_SLEEPING = _lane()

FRAME_HEADER_BYTES = 32
FRAME_ALIGN = 8
FRAME_HEADER = struct.Struct("<IHHIIQQ")
KIND_PADDING = 0


def align_up(n: int, a: int) -> int:
    """The smallest multiple of ``a`` that is not below ``n`` (``a`` a positive power of two).

    Raises ValueError for another ``a`` or a negative ``n``.
    """
    if a <= 0 or a & (a - 1) or n < 0:
        raise ValueError(f"align_up({n}, {a}): found a size or alignment that is no power of two")
    return (n + a - 1) & ~(a - 1)


def layout_hash(description: str) -> int:
    """64-bit BLAKE2b of a text that describes a layout; equal texts, equal memory."""
    return int.from_bytes(hashlib.blake2b(description.encode(), digest_size=8).digest(), "little")


def segment_bytes(payload_bytes: int) -> int:
    """Size in bytes of the file of a segment with this payload."""
    return SEGMENT_HEADER_BYTES + align_up(payload_bytes, PAGE_BYTES)


def frame_bytes(payload_len: int) -> int:
    """Bytes a frame with this payload takes in a lane, padding at the wrap not counted."""
    return FRAME_HEADER_BYTES + align_up(payload_len, FRAME_ALIGN)


assert sys.byteorder == "little", "shared-memory words are read in place as little-endian"
assert SEGMENT_HEADER.size == 72 <= SEGMENT_CRC_OFFSET == 4092
assert len(SEGMENT_MAGIC) == 8
assert FRAME_HEADER.size == FRAME_HEADER_BYTES
assert FRAME_HEADER_BYTES % FRAME_ALIGN == 0
assert LANE_CONTROL_BYTES == 1024
assert all(
    word * WORD_BYTES % LINE_BYTES == 0
    for word in (LANE_HEAD, LANE_TAIL, LANE_CONSUMER_SLEEPING, LANE_PRODUCER_SLEEPING)
), "words of two writers share a line"
