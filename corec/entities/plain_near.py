"""``me.neighbours`` and ``me.entity(id)`` in plain Python: the reference of the compiled form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from corec.entities.meeting import Meeting, grid_of
from corec.entities.processor import Processor


class Other:
    """What an entity sees of another one: its id and its public fields, of the last tick."""

    id: int

    def __init__(self, id: int, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields, id=id)

    def __getattr__(self, name: str) -> Any:
        names = ", ".join(vars(self))
        raise AttributeError(f"me.{name} can't be seen of another entity: public are {names}")


class Neighbours:
    """``me.neighbours``, in the order of the space."""

    def __init__(self, others: Sequence[Other], dtypes: Mapping[str, str]) -> None:
        self._others, self._dtypes = others, dtypes

    def __iter__(self) -> Iterator[Other]:
        return iter(self._others)

    def _values(self, field: str) -> list[Any]:
        if field not in self._dtypes:
            raise AttributeError(f"{field!r} is no public field")
        return [getattr(other, field) for other in self._others]

    def _zero(self, field: str) -> Any:
        kind = np.dtype(self._dtypes[field])
        return kind.type(0) if kind.kind == "f" else 0

    def count(self) -> int:
        """How many there are: fewer at the edge of a grid that has one."""
        return len(self._others)

    def sum(self, field: str) -> Any:
        """Added one after the other, from 0."""
        values, total = self._values(field), self._zero(field)
        for value in values:
            total = total + value
        return total

    def mean(self, field: str) -> Any:
        """The sum by the count, 0 when there are none."""
        real = np.float64 if self._dtypes[field] == "f8" else np.float32
        return real(self.sum(field)) / real(max(self.count(), 1))

    def min(self, field: str) -> Any:
        """The first of the least, 0 when there are none."""
        return self._extreme(field, lambda value, found: bool(value < found))

    def max(self, field: str) -> Any:
        """The first of the largest, 0 when there are none."""
        return self._extreme(field, lambda value, found: bool(value > found))

    def _extreme(self, field: str, better: Callable[[Any, Any], bool]) -> Any:
        values = self._values(field)
        found = values[0] if values else self._zero(field)
        for value in values[1:]:
            found = value if better(value, found) else found
        return found

    def count_equal(self, field: str, value: Any) -> int:
        """How many have that number there."""
        return sum(bool(found == value) for found in self._values(field))


class Seen:
    """What the last tick left of the public fields of a whole swarm, for one of its entities."""

    def __init__(
        self, processor: Processor, space: Any, others: Mapping[str, Sequence[Any]], origin: int
    ) -> None:
        dtypes = {f.name: f.dtype for f in processor.state if f.name in processor.public}
        missing = [name for name in processor.public if name not in others]
        if missing:
            raise ValueError(f"others: nothing of {missing[0]!r}, a public field")
        self._columns = {name: np.asarray(others[name], dtype) for name, dtype in dtypes.items()}
        self._count = len(next(iter(self._columns.values())))
        self._dtypes, self._origin = dtypes, origin
        fields = tuple((name, dtypes[name]) for name in processor.public)
        self._meeting = Meeting(self._count, fields, grid_of(space))

    def entity(self, id: int) -> Other:
        """Raises IndexError: the swarm has none of this id."""
        place = int(id) - self._origin
        if not 0 <= place < self._count:
            raise IndexError("me.entity(id): its swarm has no such entity")
        values = {name: column[place] for name, column in self._columns.items()}
        return Other(int(id), {n: v if v.dtype.kind == "f" else int(v) for n, v in values.items()})

    def neighbours(self, id: int) -> Neighbours:
        """Those of the entity ``id``."""
        if self._meeting.grid is None:
            raise ValueError("me.neighbours needs a space: PlainEntity(…, space={…})")
        cells = self._meeting.neighbours(id - self._origin)
        return Neighbours([self.entity(self._origin + cell) for cell in cells], self._dtypes)
