"""Whole numbers as somebody wrote them: in a file's name, an id, an answer, a table's cell."""

from __future__ import annotations

from typing import Final

DIGITS_MAX: Final = 18
"""Every such number is in 64 bits with its sign. Python's own ``int`` raises beyond 4300 digits,
and takes the digits of every script, spaces and underscores."""


def whole_number(text: str, digits_max: int = DIGITS_MAX) -> int | None:
    """The number that ``text``, 0-9 and nothing else, says; None: it says none, or with more digits
    than anything of its kind has, leading zeros included."""
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max):
        return None
    return int(text)
