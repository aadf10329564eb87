"""Checking the arguments of control requests: every fault is one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from corec.control.protocol import ControlError, brief


def only(args: Mapping[str, Any], *known: str) -> None:
    """Raise ``ControlError`` when ``args`` has a key that is not in ``known``."""
    unknown = sorted(set(args) - set(known))
    if unknown:
        expected = ", ".join(known) or "no arguments"
        raise ControlError(
            f"found argument {brief(unknown[0])}, expected {expected}", "bad_request"
        )


def integer(args: Mapping[str, Any], name: str, low: int, high: int, default: int | None) -> int:
    """``args[name]`` as an integer from ``low`` to ``high``; ``default`` None: it must be there."""
    value = args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ControlError(
            f"{name}: found {brief(value)}, expected an integer from {low} to {high}", "bad_request"
        )
    return value


def number(args: Mapping[str, Any], name: str, low: float, high: float, allowed: str) -> float:
    """``args[name]`` as a finite number from ``low`` to ``high``."""
    value = args.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ControlError(f"{name}: found {brief(value)}, expected {allowed}", "bad_request")
    if not math.isfinite(value) or not low <= value <= high:
        raise ControlError(f"{name}: found {brief(value)}, expected {allowed}", "bad_request")
    return float(value)
