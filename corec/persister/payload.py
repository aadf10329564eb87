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

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from corec.persister.bulk import Bulk
from corec.persister.text import ENTRY_TEXT_MAX, ROW_TEXT_MAX, as_words, write_json

ZSTD_LEVEL = 3


class Payloads(NamedTuple):
    """Payloads of some rows, joined, and the length of each."""

    data: bytes
    lengths: npt.NDArray[np.int64]


class PayloadEncoder:
    """Makes payloads; keeps one compressor and its memory, so it is for one thread at a time."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._out = np.empty(0, np.uint8)

    def encode(self, bulk: Bulk, first_ids: npt.NDArray[np.uint64]) -> Payloads:
        """The payload of each row; ``first_ids``: uint64[n], the id of its block's entity 0."""
        n = len(bulk.rows)
        room = n * ROW_TEXT_MAX + len(bulk.logs) * ENTRY_TEXT_MAX
        if self._out.size < room:
            self._out = np.empty(room, np.uint8)
        segments = np.empty(2 * n, np.uint64)
        used = write_json(
            as_words(bulk.rows), bulk.ticks, first_ids, bulk.counts, as_words(bulk.logs),
            self._out, segments,
        )  # fmt: skip
        text = self._out[:used].data
        compressed = self._zstd.multi_compress_to_buffer(
            zstandard.BufferWithSegments(text, segments.view(np.uint8).data)
        )
        # mypy's idea of a BufferSegment lacks that it is a buffer
        parts: list[Any] = [compressed[k] for k in range(n)]
        return Payloads(b"".join(parts), np.fromiter(map(len, parts), np.int64, n))
