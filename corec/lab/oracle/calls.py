"""What one call does to others, as docs/rules.md and docs/entities.md give it: what it sends, the
children it has, whether it wants to go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

LIVES: Final = ("vivo", "generacion")
"""State fields of a mortal that belong to its place."""
Letter = tuple[int, np.float32]
"""The id that a value is for, and the value."""
Reaches = Callable[[int], None]
"""Raises when there is no entity of this id, or one that takes nothing."""


Sees = Callable[[int], Any]
"""What ``me.neighbours`` is for an entity."""
Finds = Callable[[int], Any]
"""What ``me.entity`` is for an id.

Raises IndexError: there is no such entity."""


class Inbox(list[np.float32]):
    """``me.inbox``: what was sent to an entity in the last tick, in order."""

    def sum(self) -> np.float32:
        """Added up in float32 from the first on; 0 of none."""
        total = np.float32(0.0)
        for value in self:
            total = total + value
        return total


def nobody(identity: int) -> None:
    """There is nobody to send to.

    Raises:
        IndexError: always.
    """
    raise IndexError(f"no entity {identity}")


def nothing(identity: int) -> Any:
    """It stands nowhere.

    Raises:
        LookupError: always.
    """
    raise LookupError(f"{identity} has no neighbours")


@dataclass
class Calls:
    """Of one call; ``limit``: how many values it may send."""

    limit: int = 0
    reaches: Reaches = nobody
    inbox: Inbox = field(default_factory=Inbox)
    sent: list[Letter] = field(default_factory=list)
    born: list[dict[str, Any]] = field(default_factory=list)
    """The fields that were given to each child."""
    stands: tuple[str, ...] = ()
    """The fields that say where on a plane it is."""
    moves: bool = False
    sees: Sees = nothing
    finds: Finds = nobody

    def send(self, identity: int, value: Any) -> None:
        """One value more.

        Raises:
            IndexError, TypeError, ValueError: as the table in docs/entities.md says.
        """
        if len(self.sent) == self.limit:
            raise IndexError("more values than sends")
        self.reaches(int(identity))
        number = np.float32(value)
        if not np.isfinite(number):
            raise ValueError("not finite")
        self.sent.append((int(identity), number))
