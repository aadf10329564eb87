"""A user's module of helpers, reached as a module and by name."""

from __future__ import annotations

from typing import Any

GAIN = 0.3
STEPS = (0.5, 0.25)


def half(x: Any, share: Any = 0.5) -> Any:
    """A default that must not widen float32."""
    return x * share


def scaled(x: Any) -> Any:
    """Reads a constant of its own module."""
    return GAIN * x + STEPS[1]


def shaken(me: Any) -> Any:
    """Draws for the entity it is given."""
    return me.random() - 0.5
