"""A block's commit word in plain Python: ``tick << 16 | low bits of the step << 1 | copy``.

The kernels write the same word (``kernels.block_words.commit``), which a test holds against this.
"""

from __future__ import annotations

from typing import Any, Final

from corec.layout import STEP_IN_WORD

_TICK: Final = 16
"""Bits below the tick."""


def commit_word(tick: int, step: int = 0, copy: int = 0) -> int:
    """The word that says: ``tick`` is done, and ``step`` steps of the next; the dynamic words of
    ``copy`` count."""
    return tick << _TICK | (step & STEP_IN_WORD) << 1 | copy


def tick_in(word: Any) -> Any:
    """The tick of a commit word, or of an array of them."""
    return word >> _TICK


def copy_in(word: int) -> int:
    """Which copy of the dynamic words counts."""
    return word & 1
