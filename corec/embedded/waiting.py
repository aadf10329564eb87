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


def side_by_side(*waits: Iterator[None]) -> Iterator[None]:
    """The steps of all ``waits``, one of each in turn. What the first of them raises is raised when
    the others are over; of the others it is a note."""
    going, errors = list(waits), list[Exception]()
    while True:
        for steps in list(going):
            try:
                next(steps)
            except StopIteration:
                going.remove(steps)
            except Exception as error:  # noqa: BLE001 - raised below
                going.remove(steps)
                errors.append(error)
        if not going:
            break
        yield
    if errors:
        for other in errors[1:]:
            errors[0].add_note(str(other))
        raise errors[0]
