"""What an entity that notices silence has beside what it declares (docs/rules.md, Silence)."""

from __future__ import annotations

from typing import Any, Final

SILENCE_MAX: Final = 1 << 40
"""Ticks; at ten a second some thousand years."""
HEARD: Final = "heard"
"""Tick of the last reading."""
QUIET: Final = "quiet"
"""Whether the silence since then was told."""
SILENCE_STATE: Final = {HEARD: "i8", QUIET: "u1"}
"""The state fields that ``silence`` adds, the last ones."""


def fell_silent(me: Any) -> Any:
    """What ``silence`` without an ``on_silence`` does: a message, whatever the umbral learns."""
    return 1.0
