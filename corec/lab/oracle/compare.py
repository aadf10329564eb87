"""Field by field: what was found against what the oracle says, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Disagreement(AssertionError):
    """The machine and the oracle say different things; the text says where."""


def same(where: str, found: Any, wanted: Any) -> None:
    """Numbers are equal to the bit, a NaN to a NaN.

    Raises:
        Disagreement: they are not.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        keys(where, found, wanted)
        for key, value in wanted.items():
            same(f"{where}.{key}", found[key], value)
    elif not _equal(found, wanted):
        raise Disagreement(f"{where}: found {_text(found)}, the oracle says {_text(wanted)}")


def keys(where: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    """The same keys on both sides."""
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    if missing or extra:
        raise Disagreement(
            f"{where}: {len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}"
        )


def lists(where: str, found: list[Any], wanted: list[Any]) -> None:
    """The same things in the same order."""
    for number, (mine, its) in enumerate(zip(found, wanted, strict=False)):
        if not _equal(mine, its):
            raise Disagreement(
                f"{where}[{number}]: found {_text(mine)}, the oracle says {_text(its)}"
            )
    if len(found) != len(wanted):
        at = min(len(found), len(wanted))
        more = found[at:] or wanted[at:]
        raise Disagreement(
            f"{where}: found {len(found)}, the oracle says {len(wanted)}; the first beyond: "
            f"{_text(more[0])}"
        )


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float | np.floating) and isinstance(found, float | np.floating):
        a, b = np.float64(found), np.float64(wanted)
        return bool(a.tobytes() == b.tobytes() or (np.isnan(a) and np.isnan(b)))
    if isinstance(wanted, tuple | list):
        same_length = isinstance(found, tuple | list) and len(found) == len(wanted)
        return same_length and all(map(_equal, found, wanted))
    return bool(found == wanted)


def _text(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_text, value)) + ")"
    return repr(value)
