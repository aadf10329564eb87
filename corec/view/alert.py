"""One alert, wherever it comes from."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple


class Alert(NamedTuple):
    """What one entity of a processor with ``alerts=True`` emitted."""

    tick: int
    id: int
    valor: float
    canal: int
    procesador: str
    entry: str
    """The entry of the stream that it came in; the same when it is handed over again."""
    omitted: int
    """How many more of this tick, canal and processor the entry counts and does not name."""
    fields: Mapping[str, Any] = {}
    """What the processor's ``alerts=(…)`` names."""


Alerts = Generator[Alert, None, None]
"""To be looped over; ``close()`` ends it."""
