"""How much room the post of a block takes (``corec.layout.post``). Arithmetic."""

from __future__ import annotations

from corec import layout as L
from corec.entities.processor import Processor
from corec.layout.post import POST_HEAD_BYTES, SEND


def has_post(processor: Processor) -> bool:
    """Whether a block of it leaves anything to the next tick."""
    return processor.mortal or processor.sends > 0


def record_bytes(processor: Processor) -> int:
    """Bytes of what one call of ``spawn`` leaves: the state fields, the mother's id."""
    return 8 * (len(processor.state) + 1)


def sends_room(processor: Processor, cap: int) -> int:
    """How many values the entities of a block send in a tick, at most."""
    return processor.sends * cap


def children_at(processor: Processor, cap: int) -> int:
    """Offset of the children in a copy."""
    return POST_HEAD_BYTES + SEND.itemsize * sends_room(processor, cap)


def moves_at(processor: Processor, cap: int) -> int:
    """Offset of the moves in a copy."""
    children = cap * record_bytes(processor) if processor.mortal else 0
    return children_at(processor, cap) + children


def post_bytes(processor: Processor, cap: int) -> int:
    """Bytes of one copy; 0: there is none."""
    if not has_post(processor):
        return 0
    moves = 4 * cap if processor.mortal else 0
    return L.column_bytes(moves_at(processor, cap) + moves, 1)


def post_offset(processor: Processor, cap: int, cold: int) -> int:
    """Offset of copy 0 from hot copy 0; ``cold``: bytes of the cold pairs."""
    return 2 * (processor.copy_bytes(cap) + processor.gene_bytes(cap)) + cold
