"""``me.neighbours`` and ``me.entity(id)`` in plain Python: the reference of the compiled form.

On a plane everything is taken in float32, operation by operation, as ``kernels.plane`` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corec.entities.fields import VIVO
from corec.entities.meeting import cells_of, meeting_of, reach_of, read_as, space_of
from corec.entities.planning import planned
from corec.entities.processor import Processor
from corec.graph.links import Links
from corec.graph.source import Source


class Other:
    """What an entity sees of another one: its id and its public fields, of the last tick; of a
    neighbour also what lies between the two."""

    id: int

    def __init__(self, id: int, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields, id=id)

    def __getattr__(self, name: str) -> Any:
        names = ", ".join(vars(self))
        raise AttributeError(f"me.{name} can't be seen of another entity: public are {names}")


class Neighbours:
    """``me.neighbours``, in the order of the space."""

    def __init__(
        self, others: Sequence[Other], dtypes: Mapping[str, str],
        of: Callable[[str], Neighbours] | None = None,
    ) -> None:  # fmt: skip
        self._others, self._dtypes, self._of = others, dtypes, of

    def of(self, swarm: str) -> Neighbours:
        """Those of another swarm on the same plane, one of the processor's ``see``."""
        if self._of is None:
            raise AttributeError(f"{swarm!r} is no swarm that is seen")
        return self._of(swarm)

    def __iter__(self) -> Iterator[Other]:
        return iter(self._others)

    def _values(self, field: str) -> list[Any]:
        if field not in self._dtypes:
            raise AttributeError(f"{field!r} is no public field")
        return [getattr(other, field) for other in self._others]

    def _zero(self, field: str) -> Any:
        kind = np.dtype(self._dtypes[field])
        return kind.type(0) if kind.kind == "f" else 0

    def count(self, swarm: str | None = None) -> int:
        """How many there are: fewer at the edge of a grid that has one."""
        return len(self._others) if swarm is None else self.of(swarm).count()

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


def _read(value: Any, kind: str) -> Any:
    return value if kind == "i8" else np.dtype(kind).type(value)


class Seen:
    """What the last tick left of the public fields of a whole swarm, for those who look.

    Args:
        processor: the swarm's.
        space: its ``space`` as in the config.
        others: field → values of all its entities in order of ids; nothing being public, of any.
        origin: id of the first.
        links: of a graph; read from where ``space`` says if left out.
        seen: name → other swarms: on a plane who is near, and whom ``me.entity(id)`` finds.
    """

    def __init__(
        self, processor: Processor, space: Any, others: Mapping[str, Sequence[Any]],
        origin: int = 0, links: Links | None = None, seen: Mapping[str, Seen] | None = None,
    ) -> None:  # fmt: skip
        processor = planned(processor, space)
        dtypes = {f.name: f.dtype for f in processor.state if f.name in processor.public}
        missing = [name for name in processor.public if name not in others]
        if missing:
            raise ValueError(f"others: nothing of {missing[0]!r}, a public field")
        self._columns = {name: np.asarray(others[name], dtype) for name, dtype in dtypes.items()}
        self._count = max(map(len, others.values()), default=0)
        self._dtypes, self._origin = dtypes, origin
        self.space = space_of(space)
        if self.space is not None and self.space.kind == "graph" and links is None:
            links = Source(self.space, self._count, 42, Path.cwd(), "space.edges").links
        self._links, self._seen = links, dict(seen or {})
        self._meeting = meeting_of(self._count, processor.shown, self.space)
        self._cells: dict[tuple[int, ...], list[int]] = {}
        if self._meeting.plane is not None:
            lives = self._columns.get(VIVO, np.ones(self._count, np.uint8))
            for place in np.flatnonzero(lives).tolist():
                self._cells.setdefault(self._cell(self.at(place)), []).append(place)

    def entity(self, id: int) -> Other:
        """Any entity, of this swarm or another. Raises IndexError: there is none of this id."""
        known = (self, *self._seen.values())
        for seen in known:
            place = int(id) - seen._origin
            if 0 <= place < seen._count:
                kinds = read_as(field for one in known for field in one._dtypes.items())
                fields = {n: _read(v, kinds[n]) for n, v in seen._fields(place).items()}
                return Other(int(id), fields)
        raise IndexError("me.entity(id): there is no such entity")

    def _fields(self, place: int) -> dict[str, Any]:
        values = {name: column[place] for name, column in self._columns.items()}
        return {n: v if v.dtype.kind == "f" else int(v) for n, v in values.items()}

    def _one(self, place: int, **between: Any) -> Other:
        return Other(self._origin + place, {**self._fields(place), **between})

    def neighbours(self, id: int) -> Neighbours:
        """Those of the entity ``id``."""
        place = id - self._origin
        if self._meeting.grid is not None:
            found = [self._one(k) for k in self._meeting.neighbours(place)]
        elif self._links is not None:
            found = list(self._linked(place, self._links))
        elif self._meeting.plane is not None:
            return self._around(self, place)
        else:
            raise ValueError("me.neighbours needs a space: PlainEntity(…, space={…})")
        return Neighbours(found, self._dtypes)

    def _linked(self, place: int, links: Links) -> Iterator[Other]:
        weights = links.weights_of(place)
        for k, other in enumerate(links.of(place).tolist()):
            between = {} if weights is None else {"weight": weights[k]}
            yield self._one(other, **between)

    def at(self, place: int) -> tuple[np.float32, ...]:
        """The position of one on a plane."""
        assert self.space is not None
        return tuple(self._columns[name][place] for name in self.space.position or ())

    def _cell(self, position: Sequence[np.float32]) -> tuple[int, ...]:
        assert self.space is not None
        found = []
        counts = cells_of(self.space, self._count)
        for value, side, count in zip(position, self.space.sizes, counts, strict=True):
            at = value * (np.float32(count) / np.float32(side))
            found.append(0 if not at >= 0 else int(at) if at < np.float32(count) else count - 1)
        return tuple(found)

    def _around(self, other: Seen, place: int) -> Neighbours:
        """Who of ``other`` is near one of this swarm."""
        space = self.space
        assert space is not None
        assert other.space is not None
        mine, most = self.at(place), np.float32(space.radius) * np.float32(space.radius)
        axes, counts = [], cells_of(other.space, other._count)
        for centre, side, count in zip(other._cell(mine), space.sizes, counts, strict=True):
            reach = reach_of(space.radius, side, count)
            cells = range(centre - reach, centre + reach + 1)
            if not space.wrap:
                axes.append([cell for cell in cells if 0 <= cell < count])
            elif not axes and len(cells) >= count:
                axes.append(list(range(count)))  # a whole row
            else:
                axes.append([cell % count for cell in cells[:count]])
        found = []
        for outer in itertools.product(*reversed(axes)):
            for k in other._cells.get(tuple(reversed(outer)), ()):
                if other is self and k == place:
                    continue
                deltas, square = self._apart(mine, other.at(k))
                if square <= most:
                    names = zip(("dx", "dy", "dz"), deltas, strict=False)
                    found.append(other._one(k, **dict(names), distance2=square))
        return Neighbours(found, other._dtypes, lambda name: self._around(self._seen[name], place))

    def _apart(
        self, mine: Sequence[np.float32], theirs: Sequence[np.float32]
    ) -> tuple[list[np.float32], np.float32]:
        assert self.space is not None
        deltas, total = [], np.float32(0.0)
        for a, b, length in zip(theirs, mine, self.space.sizes, strict=True):
            side = np.float32(length)
            d, half = a - b, side * np.float32(0.5)
            if self.space.wrap:
                d = d - side if d > half else d + side if d < -half else d
            deltas.append(d)
            total = total + d * d
        return deltas, total


def position_in(space: Any) -> tuple[str, ...]:
    """The fields that say where on a plane an entity is; elsewhere there are none."""
    known = space_of(space)
    return (known.position or ()) if known is not None and known.kind == "plane" else ()


def held(space: Any, name: str, value: np.float32) -> np.float32:
    """What field ``name`` holds once ``value`` was stored in it: a position stays on its plane."""
    known, position = space_of(space), position_in(space)
    if known is None or name not in position:
        return value
    side = np.float32(known.sizes[position.index(name)])
    zero = np.float32(0.0)
    if not known.wrap:
        return min(side, max(zero, value))  # in this order, as in ``kernels.plane``
    if zero <= value < side:
        return value
    with np.errstate(all="ignore"):
        turned = value - side * np.floor(value / side)
    return turned if zero <= turned < side else zero


def settled(space: Any, processor: Processor, me: Any) -> dict[str, Any] | None:
    """The state that ``me`` has after its call, positions on their plane; None: one is no number,
    which fails the entity."""
    known = space_of(space)
    if known is not None and not all(np.isfinite(getattr(me, n)) for n in known.position or ()):
        return None
    return {f.name: held(known, f.name, getattr(me, f.name)) for f in processor.state}
