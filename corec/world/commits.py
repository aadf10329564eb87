"""A block's commit word in plain Python: ``tick << 16 | low bits of the step << 1 | copy``.

The kernels write the same word (``kernels.block_words.word_of``), which a test holds against this.
"""

from __future__ import annotations

from typing import Any

from corec.layout import COMMIT_TICK_SHIFT, STEP_IN_WORD


def commit_word(tick: int, step: int = 0, copy: int = 0) -> int:
    """The word that says: ``tick`` is done, and ``step`` steps of the next; the dynamic words of
    ``copy`` count."""
    return tick << COMMIT_TICK_SHIFT | (step & STEP_IN_WORD) << 1 | copy


def tick_in(word: Any) -> Any:
    """The tick of a commit word, or of an array of them."""
    return word >> COMMIT_TICK_SHIFT


def copy_in(word: int) -> int:
    """Which copy of the dynamic words counts."""
    return word & 1
