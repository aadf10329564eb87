"""Numbers as somebody wrote them: in a file's name, an id, an answer, a table's cell, a reading."""

from __future__ import annotations

from typing import Final

DIGITS_MAX: Final = 18
"""Every such number is in 64 bits with its sign. Python's own ``int`` raises beyond 4300 digits,
and takes the digits of every script, spaces and underscores."""
_FLOAT32_END: Final = 2.0**128 - 2.0**103
"""What lies halfway between the largest float32 and the number that would come next; it rounds to
an infinity, and all below it to the largest, which is written as 3.4028235e38."""


def whole_number(text: str, digits_max: int = DIGITS_MAX) -> int | None:
    """The number that ``text``, 0-9 and nothing else, says; None: it says none, or with more digits
    than anything of its kind has, leading zeros included."""
    if not (text.isascii() and text.isdecimal() and len(text) <= digits_max):
        return None
    return int(text)


def fits_float32(number: float) -> bool:
    """Whether a number is finite when it is rounded to float32."""
    return abs(number) < _FLOAT32_END
