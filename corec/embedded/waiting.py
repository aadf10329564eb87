"""Waiting, in one place.

What takes time with a server is a generator that yields while there is nothing to do but wait. Who
has nothing else to do drives it with ``waited_for``; the supervisor takes a step of it at each turn
of its watch loop, and looks after everybody else between two of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

LOOK_SECONDS: Final = 0.005


def waited_for(steps: Iterator[None]) -> None:
    """Take every step of ``steps``, with a short sleep between two."""
    for _ in steps:
        time.sleep(LOOK_SECONDS)
