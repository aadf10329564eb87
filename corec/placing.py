"""Where everything lies in one block. Pure arithmetic."""

from __future__ import annotations

from typing import Final, NamedTuple

from corec import layout as L
from corec.entities.post import post_bytes
from corec.entities.processor import Processor
from shm.layout import PAGE_BYTES, align_up

BLOCK_ENTITIES_MAX: Final = 65_535  # the message log numbers them in 16 bits


class BlockPlace(NamedTuple):
    """Offsets inside one block, bytes."""

    hot: int
    cold: int  # from hot
    log: int
    log_cap: int
    model: int
    model_bytes: int
    hist: int


def cold_bytes(cap: int) -> int:
    """Bytes of the cold pairs: activo, fallos, racha, marks, two copies each."""
    return 2 * (3 * L.column_bytes(cap, 1) + L.column_bytes(cap, 4))


def _room(processor: Processor, cap: int, block_bytes: int) -> tuple[int, int, int]:
    """(bytes of the hot region, bytes of the history region, bytes to spare: < 0, it won't fit)."""
    pairs = processor.copy_bytes(cap) + processor.gene_bytes(cap) + post_bytes(processor, cap)
    hot = align_up(2 * pairs + cold_bytes(cap), L.COLUMN_ALIGN)
    hist = align_up(processor.history_bytes(cap), PAGE_BYTES)
    model_min = L.MODEL_BYTES_MIN if block_bytes >= 5 * L.MIB else 0
    log_min = L.LOG_DTYPE.itemsize * cap
    return hot, hist, block_bytes - L.BLOCK_HOT_BASE - hot - hist - log_min - model_min


def place_block(processor: Processor, cap: int, block_bytes: int) -> BlockPlace | None:
    """Where everything lies in one block; None when it does not fit.

    The log begins a page where there is room for it, so that the messages between two rows of an
    ordinary block lie in one page: a step then touches the page of the words, the pages of the hot
    columns and this one, all of them neighbours in the page table.
    """
    hot_bytes, hist_bytes, spare = _room(processor, cap, block_bytes)
    if spare < 0 or cap > BLOCK_ENTITIES_MAX:
        return None
    log = L.BLOCK_HOT_BASE + hot_bytes
    log += min(-log % PAGE_BYTES, spare // L.COLUMN_ALIGN * L.COLUMN_ALIGN)
    hist = block_bytes - hist_bytes
    model_min = L.MODEL_BYTES_MIN if block_bytes >= 5 * L.MIB else 0
    log_cap = min(L.LOG_CAP_MAX, (hist - model_min - log) // L.LOG_DTYPE.itemsize)
    model = align_up(log + log_cap * L.LOG_DTYPE.itemsize, L.COLUMN_ALIGN)
    cold = 2 * processor.copy_bytes(cap)
    return BlockPlace(L.BLOCK_HOT_BASE, cold, log, log_cap, model, max(0, hist - model), hist)


def most_entities(processor: Processor, block_bytes: int) -> int:
    """The largest block of ``processor`` that fits into ``block_bytes``."""
    low, high = 0, BLOCK_ENTITIES_MAX
    while low < high:
        middle = (low + high + 1) // 2
        if place_block(processor, middle, block_bytes) is None:
            high = middle - 1
        else:
            low = middle
    return low
