"""An entity in plain Python: the reference the compiled form is held against.

Real fields are NumPy scalars, so arithmetic follows NEP 50 as in the compiled code: a Python
number adopts the field's type, float32 stays float32. Integer fields read as Python integers, which
are int64 in the compiled code; storing a number that does not fit its integer field raises.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from corec import layout as L
from corec.entities.fields import LIVES_STATE, HistoryField
from corec.entities.plain_near import Neighbours, Other, Seen, position_in
from corec.entities.planning import planned
from corec.entities.processor import Processor, unfit_text
from corec.kernels.draws import normal_reference, whole_reference
from corec.kernels.philox import INV_2_24, word_reference


def stored(name: str, dtype: str, value: Any) -> Any:
    """What field ``name`` of ``dtype`` gives back once ``value`` was stored in it.

    Raises:
        OverflowError: an integer field can't hold the value.
        ValueError: it is to hold a NaN.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(all="ignore"):
            return kind.type(value)
    try:
        whole = int(value)
    except OverflowError:  # infinite
        raise OverflowError(unfit_text(name, dtype)) from None
    if not isinstance(value, float | np.floating):
        whole = (whole + (1 << 63)) % (1 << 64) - (1 << 63)  # compiled integers have 64 bits
    limits = np.iinfo(dtype)
    if not limits.min <= whole <= limits.max:
        raise OverflowError(unfit_text(name, dtype))
    return whole


class PlainHistory:
    """The last ``length`` values of one entity, oldest first."""

    def __init__(self, ring: HistoryField, values: Iterable[float] = ()) -> None:
        self.length = ring.length
        self.values = [np.float32(value) for value in values][-ring.length :]
        self.pushes = 0

    def push(self, value: float) -> None:
        """Append ``value`` (stored as float32); at most PUSHES_PER_CALL_MAX in one call."""
        if self.pushes >= L.PUSHES_PER_CALL_MAX:
            raise IndexError("too many pushes in one call")
        self.pushes += 1
        self.values.append(np.float32(value))
        del self.values[: -self.length]

    def nearest(self, values: Sequence[Any], weights: Sequence[float]) -> np.float32:
        """The least of ``Σ weights[j] · |values[j] − record[j]|`` over the records of as many
        numbers, the oldest value first; 0 of none."""
        width = len(values)
        found = np.float32(0.0)
        for first in range(0, len(self.values) // width * width, width):
            apart = np.float32(0.0)
            for j in range(width):
                distance = abs(np.float32(values[j]) - self.values[first + j])
                apart = apart + np.float32(weights[j]) * distance
            found = apart if first == 0 or apart < found else found
        return found

    def mean(self) -> np.float32:
        """Mean of the values held, 0 when there are none (float32 accumulation)."""
        return self.sum() / np.float32(len(self.values)) if self.values else np.float32(0.0)

    def sum(self) -> np.float32:
        """Of the values held, added up in float32 from the oldest on; 0 of none."""
        total = np.float32(0.0)
        for value in self.values:
            total = total + value
        return total

    def min(self) -> np.float32:
        """The least of the values held, 0 of none."""
        least = self.values[0] if self.values else np.float32(0.0)
        for value in self.values:
            least = min(least, value)
        return least

    def max(self) -> np.float32:
        """The greatest of the values held, 0 of none."""
        most = self.values[0] if self.values else np.float32(0.0)
        for value in self.values:
            most = max(most, value)
        return most

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> np.float32:
        return self.values[index]


class PlainGlobals:
    """``me.globals``: numbers that are the same for all entities."""

    def __init__(self, given: Mapping[str, float]) -> None:
        self.__dict__.update({name: np.float32(value) for name, value in given.items()})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"me.globals.{name} can't be set by an entity")

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(self.__dict__) or "none"
        raise AttributeError(f"me.globals.{name} is not one of the globals, which are: {known}")


class PlainInbox(list[np.float32]):
    """``me.inbox``: what was sent to an entity in the last tick, in order."""

    def sum(self) -> np.float32:
        """Of the values, added up in float32 from the first on; 0 of none."""
        total = np.float32(0.0)
        for value in self:
            total = total + value
        return total


class PlainEntity:
    """``me`` for a processor called as an ordinary function.

    Args:
        processor: the one it will be given to; names and types come from its declaration.
        id, tick, seed: what ``me.random()`` depends on; ``draws`` numbers count as drawn already.
        valor: the entity's last value.
        others, space, origin: what it sees: the public columns of its whole swarm as the last tick
            left them (name → values in order of ids), the swarm's ``space`` as in the config, and
            the id of its first entity. Or ``others`` alone, a ``corec.entities.plain_near.Seen``,
            which has all of that, and the other swarms.
        globals: the named numbers of the configuration.
        inbox: what was sent to it, in order; ``ids``: whom it may send to (anybody, if left out).
        fields: state fields, genes (the middle of their range if left out), parameters,
            ``mean_<field>`` and histories (a list, oldest first).

    Raises:
        AttributeError: for a name the processor did not declare, or one it may only read.
        ValueError: for a gene that is beyond its limits, which no entity has.
    """

    def __init__(
        self,
        processor: Processor,
        /,
        *,
        id: int = 0,
        tick: int = 1,
        seed: int = 42,
        draws: int = 0,
        valor: float = 0.0,
        others: Mapping[str, Sequence[Any]] | Seen | None = None,
        space: Any = None,
        origin: int = 0,
        globals: Mapping[str, float] | None = None,
        inbox: Sequence[float] = (),
        ids: range | None = None,
        **fields: Any,
    ) -> None:
        processor = planned(processor, space)
        own: dict[str, Any] = {"_dtypes": {f.name: f.dtype for f in processor.state}}
        own.update(id=id, tick=tick, valor=np.float32(valor), activo=True)
        own.update(_seed=seed, _draw=draws)
        if others is not None and not isinstance(others, Seen):
            others = Seen(processor, space, others, origin)
        own["_seen"] = others
        own["born"], own["sent"], own["moves"] = [], [], False
        own["_sends"], own["_ids"] = processor.sends, ids
        own["_position"] = position_in(others.space if others is not None else space)
        if processor.reads_inbox:
            own["inbox"] = PlainInbox(np.float32(value) for value in inbox)
        own["globals"] = PlainGlobals(globals or {})
        own.update({name: np.float32(default) for name, default in processor.params})
        own.update({f"mean_{name}": np.float32(0.0) for name in processor.means})
        own.update({g.name: np.float32(0.5) * (np.float32(g.low) + np.float32(g.high))
                    for g in processor.genes})  # fmt: skip
        own.update({ring.name: PlainHistory(ring) for ring in processor.history})
        own.update({f.name: stored(f.name, f.dtype, f.default) for f in processor.state})
        self.__dict__.update(own)
        for name, value in fields.items():
            if name not in own or name.startswith("_") or name == "globals":
                raise AttributeError(f"{processor.name} has no field or parameter {name!r}")
            ring = next((r for r in processor.history if r.name == name), None)
            if ring is not None:
                self.__dict__[name] = PlainHistory(ring, value)
            else:
                self.__dict__[name] = stored(name, own["_dtypes"].get(name, "f4"), value)
        for gene in processor.genes:
            if not gene.low <= (found := float(self.__dict__[gene.name])) <= gene.high:
                allowed = f"allowed {gene.low} to {gene.high}"
                raise ValueError(f"{processor.name}: gene {gene.name!r} is {found}, {allowed}")

    def __setattr__(self, name: str, value: Any) -> None:
        dtype = self._dtypes.get(name)
        if dtype is None:
            raise AttributeError(f"me.{name} can't be set: it is not a declared state field")
        self.__dict__[name] = stored(name, dtype, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"me.{name} is not declared")

    def _sees(self) -> Seen:
        seen: Seen | None = self.__dict__["_seen"]
        if seen is None:
            raise ValueError("it sees nobody: PlainEntity(…, others={…}) gives it some")
        return seen

    @property
    def neighbours(self) -> Neighbours:
        """Who is near, as the last tick left them."""
        return self._sees().neighbours(int(self.id))

    def entity(self, id: int) -> Other:
        """Any entity, as the last tick left it; IndexError: there is none."""
        return self._sees().entity(operator.index(id))

    def die(self) -> None:
        """It lives no longer, once this call is over; its place is free from the next tick on."""
        if "vivo" not in self._dtypes:
            raise AttributeError("me.die is not for one with mortal=False")
        self.vivo = 0

    def spawn(self, **fields: float) -> None:
        """A child with these fields, for a free place of its block at the end of the tick; on a
        plane where its mother is now, if they do not say where."""
        dtypes = self._dtypes
        if "vivo" not in dtypes:
            raise AttributeError("me.spawn is not for one with mortal=False")
        for name in fields:
            if name not in dtypes or name in LIVES_STATE:
                raise TypeError(f"me.spawn takes state fields, found {name!r}")
        given = {name: getattr(self, name) for name in self._position} | fields
        self.__dict__["born"].append({n: stored(n, dtypes[n], v) for n, v in given.items()})

    def move_to_empty(self) -> None:
        """It wants to be in an empty cell in the next tick, at random, if there is one for it."""
        if "vivo" not in self._dtypes:
            raise AttributeError("me.move_to_empty is not for one with mortal=False")
        self.__dict__["moves"] = True

    def send(self, id: int, value: float) -> None:
        """Give ``value`` to the entity ``id``, which gets it in the next tick.

        Raises:
            IndexError: there is no such entity, or the call has sent as much as ``sends`` says.
            ValueError: the value is not finite.
        """
        if not self._sends:
            raise AttributeError("me.send needs @corec.micro(sends=…)")
        if len(self.sent) >= self._sends:
            raise IndexError("me.send: more values in one call than sends=… says")
        who = operator.index(id)
        if self._ids is not None and who not in self._ids:
            raise IndexError("me.send(id, value): there is no such entity")
        with np.errstate(all="ignore"):
            number = np.float32(value)
        if not np.isfinite(number):
            raise ValueError("me.send(id, value): the value is not finite")
        self.sent.append((who, number))

    def _word(self) -> int:
        own = self.__dict__
        draw = own["_draw"]
        own["_draw"] = draw + 1
        return word_reference(int(self.id), int(self.tick), draw, self._seed)

    def random(self) -> np.float32:
        """Uniform float32 in [0, 1): draw k of (seed, entity, tick)."""
        return np.float32(self._word() >> 8) * INV_2_24

    def normal(self) -> np.float32:
        """Standard normal float32, of two draws."""
        first = self._word()
        return normal_reference(first, self._word())

    def randint(self, a: int, b: int) -> int:
        """A whole number from ``a`` to ``b``, both among them, of two draws.

        Raises:
            ValueError: ``a`` is greater than ``b``.
        """
        low, high = operator.index(a), operator.index(b)
        if low > high:
            raise ValueError("me.randint(a, b): a is greater than b")
        first = self._word()
        return whole_reference(first, self._word(), low, high)
