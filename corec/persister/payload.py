"""The column ``payload``: Zstandard level 3 of a JSON object, made and (``read``) taken apart.

::

    {"desde": first tick, "hasta": last tick,
     "mensajes": {"id": [...], "tick": [...], "valor": [...]},     three lists of equal length
     "omitidos": messages that did not fit into the block's log,
     "histograma": {"min": x, "max": y, "cuentas": [16 counts]}}

The messages are in the order they were emitted.  The histogram is over the block's good values of
tick ``hasta``, in equal bins from min to max; min and max are null when there was none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import zstandard

from corec import layout as L
from shm.lane import Frame

ZSTD_LEVEL = 3
_ROW_BYTES = L.ROW.itemsize
_REPAIR_BYTES = L.REPAIR.itemsize


class PayloadEncoder:
    """Makes payloads; keeps one compressor, so it is for one thread."""

    def __init__(self, first_id: npt.NDArray[np.unsignedinteger]) -> None:
        """``first_id``: unsigned integer[blocks], the id of each block's entity 0."""
        self._first_id = np.ascontiguousarray(first_id, np.uint32)
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)

    def encode(self, frames: Sequence[Frame], rows: npt.NDArray[np.void]) -> Iterator[bytes]:
        """The payload of each frame; ``rows`` is ROW[len(frames)], theirs in the same order.

        Raises ValueError when a frame is shorter than its header says.
        """
        n = len(frames)
        logs = b"".join(log_view(frame) for frame in frames)
        entries = np.frombuffer(logs, L.LOG_DTYPE)
        counts = np.fromiter((frame.c for frame in frames), np.int64, n)
        ends = np.cumsum(counts)
        if n and int(ends[-1]) != entries.size:
            raise ValueError(f"row frames: found {entries.size} log entries, not {ends[-1]}")
        blocks = np.fromiter((frame.a for frame in frames), np.int64, n)
        ticks = np.fromiter((frame.tick for frame in frames), np.int64, n)
        ids = np.repeat(self._first_id[blocks], counts) + entries["local"]
        when = np.repeat(ticks, counts) - entries["tick_delta"]
        values = np.ascontiguousarray(entries["valor"])
        since = rows["desde"].tolist()
        omitted = rows["omitidos"].tolist()
        lowest, highest = rows["hist_min"], rows["hist_max"]
        bins = rows["histograma"].tolist()
        begin = 0
        for k, (frame, end) in enumerate(zip(frames, ends.tolist(), strict=True)):
            body = {
                "desde": since[k],
                "hasta": frame.tick,
                "mensajes": {
                    "id": ids[begin:end],
                    "tick": when[begin:end],
                    "valor": values[begin:end],
                },
                "omitidos": omitted[k],
                "histograma": {"min": lowest[k], "max": highest[k], "cuentas": bins[k]},
            }
            begin = end
            yield self._zstd.compress(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


def repairs_at(frame: Frame) -> int:
    """Byte offset of REPAIR[b] in a row frame's payload."""
    return _ROW_BYTES if frame.flags & L.ROW_HAS_ROW else 0


def log_view(frame: Frame) -> memoryview:
    """The bytes of LOG_DTYPE[c] in a row frame's payload."""
    start = repairs_at(frame) + frame.b * _REPAIR_BYTES
    return frame.payload[start : start + frame.c * L.LOG_DTYPE.itemsize]


def repairs_of(frame: Frame) -> npt.NDArray[np.void]:
    """REPAIR[b] of a row frame; raises ValueError when the payload is too short."""
    return np.frombuffer(frame.payload, L.REPAIR, frame.b, repairs_at(frame))
