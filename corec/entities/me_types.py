"""Numba types of ``me`` and of what is reached from it: histories, neighbours, other entities, the
inbox. All are the entity's pointer, an iterator and another entity a number more.

What is done with them is elsewhere (``cursor``, ``mailing``, ``others``, …): here nothing is
compiled, so each of those may import all of these.
"""

from __future__ import annotations

import hashlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from corec.entities.meeting import Meeting
from corec.entities.members import members_of
from corec.entities.processor import Processor

BYTE_POINTER = ir.IntType(8).as_pointer()


def wide(kind: Any) -> Any:
    """What a member is in the user's function: integers are int64, so that no mixture of signed
    and unsigned turns into float64; one that does not fit its field when it is stored raises."""
    return types.int64 if isinstance(kind, types.Integer) else kind


class EntityType(types.Type):
    """Numba type of ``me`` for one processor."""

    def __init__(
        self, processor: Processor, predraws: int, cap: int, init: bool = False,
        meeting: Meeting | None = None,
    ) -> None:  # fmt: skip
        self.processor, self.init, self.meeting, self.cap = processor, init, meeting, cap
        self.members_by_use = members_of(processor, predraws, init, meeting)
        self.readable = self.members_by_use.readable
        self.writable = self.members_by_use.writable
        self.members = self.members_by_use.all
        self.dtypes = {f.name: f.dtype for f in processor.state}
        self.seen = {name: wide(kind) for name, kind in self.readable + self.writable}
        self.rings = {ring.name: ring for ring in processor.history}
        self.predraws = predraws
        self.index = {name: k for k, (name, _) in enumerate(self.members)}
        text = repr((init, predraws, self.members, processor.history, meeting, cap))
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        super().__init__(f"Entity<{processor.name}:{digest}>".replace("<locals>", "locals"))

    @property
    def key(self) -> str:
        """Two types are one when their members, rings and processor are."""
        return str(self.name)


class HistoryType(types.Type):
    """Numba type of ``me.<history>``: the entity's pointer, and which ring."""

    def __init__(self, entity: EntityType, ring: str) -> None:
        self.entity = entity
        self.ring = ring
        super().__init__(f"History({entity.name}.{ring})")


class GlobalsType(types.Type):
    """Numba type of ``me.globals``: the entity's pointer."""

    def __init__(self, entity: EntityType) -> None:
        self.entity = entity
        super().__init__(f"Globals({entity.name})")


class InboxType(types.IterableType):
    """Numba type of ``me.inbox``: the entity's pointer (``mailing`` has what is done with it)."""

    trips = None

    def __init__(self, entity: EntityType) -> None:
        self.entity = entity
        super().__init__(f"Inbox({entity.name})")

    @property
    def iterator_type(self) -> Any:
        return InboxIterator(self)


class InboxIterator(
    types.SimpleIteratorType  # type: ignore[name-defined, misc]  # Numba's types do not say it
):
    """Numba type of the iterator over ``me.inbox``."""

    def __init__(self, inbox: InboxType) -> None:
        self.entity = inbox.entity
        super().__init__(f"iter({inbox.name})", types.float32)


class NeighboursType(types.IterableType):
    """Numba type of ``me.neighbours``: the entity's pointer (``aggregates`` has what is done with
    it). ``target``: of which swarm they are, the own first."""

    def __init__(self, entity: EntityType, target: int = 0) -> None:
        self.entity, self.target = entity, target
        super().__init__(f"Neighbours({entity.name}, {target})")

    @property
    def trips(self) -> int | None:
        """How many there are at most; None: that is not known when it is compiled."""
        meeting = self.entity.meeting
        return len(meeting.steps) if meeting is not None and meeting.grid is not None else None

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of what is seen of them."""
        meeting = self.entity.meeting
        assert meeting is not None
        return meeting.plane.shown[self.target].fields if meeting.plane else meeting.fields

    @property
    def iterator_type(self) -> Any:
        return NeighboursIterator(self)


class OtherType(types.Type):
    """Numba type of another entity: (``me``, a number): of a neighbour (``target``: in which of the
    swarms that are seen), or of any one by its id."""

    def __init__(self, entity: EntityType, near: bool, target: int = 0) -> None:
        self.entity, self.near, self.target = entity, near, target
        super().__init__(f"Other({entity.name}, {near}, {target})")

    @property
    def listed(self) -> bool:
        """Whether it stands in a list of neighbours, of a graph or a plane."""
        meeting = self.entity.meeting
        return self.near and meeting is not None and meeting.grid is None

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """(name, dtype) of what is seen of it."""
        return NeighboursType(self.entity, self.target).fields


class NeighboursIterator(
    types.SimpleIteratorType  # type: ignore[name-defined, misc]  # Numba's types do not say it
):
    """Numba type of the iterator over ``me.neighbours``."""

    def __init__(self, near: NeighboursType) -> None:
        self.entity = near.entity
        self.target = near.target
        super().__init__(f"iter({near.name})", OtherType(near.entity, True, near.target))


class _PointerModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, BYTE_POINTER)


register_model(EntityType)(_PointerModel)
register_model(HistoryType)(_PointerModel)
register_model(NeighboursType)(_PointerModel)
register_model(GlobalsType)(_PointerModel)
register_model(InboxType)(_PointerModel)
