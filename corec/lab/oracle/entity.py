"""What a processor is to the oracle, and ``me``: one entity during one call (docs/entities.md)."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any, Final

import numpy as np

from corec.lab.oracle.calls import Calls, Inbox
from corec.lab.oracle.philox import uniform, word
from corec.lab.oracle.rounded import cos, log

PUSHES_PER_CALL: Final = 4
State = dict[str, Any]
"""``valor``, the state fields and the histories (lists, oldest first) of one entity by name."""


@dataclass(frozen=True)
class Kind:
    """A processor as its user declared it."""

    name: str
    kind: str  # "micro" or "celu"
    function: Callable[..., Any]
    init: Callable[..., Any] | None
    state: Mapping[str, tuple[str, Any]]  # name → (type, initial value)
    history: Mapping[str, int]  # name → length
    params: Mapping[str, float]
    means: tuple[str, ...]
    alerts: bool
    silence: int = 0
    on_silence: Callable[..., Any] | None = None
    values: tuple[str, ...] = ()
    """Names of what a reading has; none: one number."""
    kept: tuple[str, ...] = ()
    """Those of them that are state, too: an alert names them."""
    alert_fields: tuple[str, ...] = ()
    genes: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    fitness: str = "valor"
    mortal: bool = False
    sends: int = 0
    reads_inbox: bool = False
    public: tuple[str, ...] = ()
    migrate: Callable[..., Any] | None = None

    @property
    def takes(self) -> bool:
        """Whether others may send it something."""
        return self.reads_inbox or (self.kind == "celu" and len(self.values) < 2)

    def reading(self, numbers: Any) -> Any:
        """What the function is called with for a reading."""
        if not self.values:
            return np.float32(numbers)
        form: Any = namedtuple("Reading", self.values)  # type: ignore[misc]  # names of a user
        return form(*(np.float32(number) for number in numbers))


def kind_of(processor: Any) -> Kind:
    """The declaration behind ``@corec.micro`` or ``@corec.celu``, and the plain functions."""
    wide = any(f.dtype == "f8" for f in processor.state)
    function, init, on_silence = (
        _wide(each) if wide and each is not None else each
        for each in (processor.function, processor.init, processor.on_silence)
    )
    return Kind(
        processor.name,
        processor.kind,
        function,
        init,
        {f.name: (f.dtype, f.default) for f in processor.state},
        {h.name: h.length for h in processor.history},
        dict(processor.params),
        tuple(processor.means),
        processor.alerts,
        processor.silence,
        on_silence,
        tuple(processor.values),
        tuple(processor.kept),
        tuple(processor.alert_fields),
        {g.name: (g.low, g.high, g.sigma) for g in processor.genes},
        processor.fitness,
        processor.mortal,
        processor.sends,
        processor.reads_inbox,
        tuple(processor.public),
        processor.migrate,
    )


def _wide(function: Any) -> Any:
    """``function`` whose own real constants are float64: they adopt no other type."""
    return FunctionType(
        _of_float64(function.__code__), function.__globals__, function.__name__,
        function.__defaults__, function.__closure__,
    )  # fmt: skip


def _of_float64(code: CodeType) -> CodeType:
    constants = (
        _of_float64(each) if isinstance(each, CodeType)
        else np.float64(each) if type(each) is float else each
        for each in code.co_consts
    )  # fmt: skip
    return code.replace(co_consts=tuple(constants))


def stored(kind: str, value: Any) -> Any:
    """What a field of this type gives back once ``value`` was put in: rounded to it, or for an
    integer field cut to its whole part.

    Raises:
        OverflowError, ValueError: it does not fit the integer field, or is no number.
    """
    number = np.dtype(kind)
    if number.kind == "f":
        with np.errstate(all="ignore"):
            return number.type(value)
    held, limits = int(value), np.iinfo(number)
    if not limits.min <= held <= limits.max:
        raise OverflowError(f"{held} does not fit {kind}")
    return held


class History:
    """``me.h``: the last ``length`` numbers, oldest first."""

    def __init__(self, length: int, values: list[np.float32]) -> None:
        self._length, self.values, self._pushes = length, list(values), 0

    def push(self, value: Any) -> None:
        """Append; a fifth push in one call raises."""
        if self._pushes == PUSHES_PER_CALL:
            raise IndexError("more pushes than a call may make")
        self._pushes += 1
        with np.errstate(all="ignore"):
            self.values.append(np.float32(value))
        del self.values[: -self._length]

    def mean(self) -> np.float32:
        """Added up in float32 from the oldest on; 0 of none."""
        total = np.float32(0.0)
        for value in self.values:
            total = total + value
        return total / np.float32(len(self.values)) if self.values else total

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

    def __getitem__(self, place: int) -> np.float32:
        return self.values[place]

    def __iter__(self) -> Iterator[np.float32]:
        return iter(self.values)


class Me:
    """``me``: fields that can be read, the declared ones that can be set, and ``random()``."""

    def __init__(
        self, kind: Kind, identity: int, tick: int, seed: int, state: State,
        read_only: Mapping[str, Any], draws: int = 0, calls: Calls | None = None,
    ) -> None:  # fmt: skip
        """``read_only``: parameters, means and ``globals`` by the names they are read with."""
        own = self.__dict__
        own.update(read_only)
        own.update(state)
        for name, length in kind.history.items():
            own[name] = History(length, state[name])
        own.update(id=identity, tick=tick, activo=True, _kind=kind, _seed=seed, _draws=draws)
        own["_calls"] = calls or Calls()

    def __setattr__(self, name: str, value: Any) -> None:
        kind, _ = self._kind.state[name]
        self.__dict__[name] = stored(kind, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"me.{name} is not declared")

    def _draw(self) -> int:
        own = self.__dict__
        own["_draws"] += 1
        return int(own["_draws"]) - 1

    def _word(self) -> int:
        return word(self._seed, self.id, self.tick, self._draw())

    def random(self) -> np.float32:
        """Uniform in [0, 1)."""
        return uniform(self._seed, self.id, self.tick, self._draw())

    def normal(self) -> np.float32:
        """Standard normal, of two words."""
        u = (np.float32(self._word() >> 1) + np.float32(0.5)) * np.float32(2.0**-31)
        v = np.float32(self._word() >> 1) * np.float32(2.0**-31)
        return np.float32(np.sqrt(np.float32(-2.0) * log(u)) * cos(np.float32(6.2831855) * v))

    def randint(self, a: int, b: int) -> int:
        """A whole number from ``a`` to ``b``, of two words."""
        if a > b:
            raise ValueError("a > b")
        high = self._word()
        return a + (high * 2**32 + self._word()) * (b - a + 1) // 2**64

    @property
    def inbox(self) -> Inbox:
        """What was sent to it in the last tick."""
        found: Inbox = self._calls.inbox
        return found

    @property
    def neighbours(self) -> Any:
        """Who is near, as the last tick left them."""
        return self._calls.sees(self.id)

    def entity(self, identity: int) -> Any:
        """Any entity, as the last tick left it."""
        return self._calls.finds(int(identity))

    def send(self, identity: int, value: Any) -> None:
        """Give a number to another entity in the next tick."""
        self._calls.send(identity, value)

    def die(self) -> None:
        """It lives no longer once this call is over."""
        self.vivo = 0

    def spawn(self, **given: Any) -> None:
        """A child with these fields; on a plane where its mother is, if they do not say where."""
        types = self._kind.state
        child = {name: getattr(self, name) for name in self._calls.stands} | given
        self._calls.born.append({n: stored(types[n][0], value) for n, value in child.items()})

    def move_to_empty(self) -> None:
        """It wants to be in an empty cell."""
        self._calls.moves = True

    def fields(self) -> State:
        """The state fields and histories as they are now."""
        own, kind = self.__dict__, self.__dict__["_kind"]
        found = {name: own[name] for name in kind.state}
        found.update({name: own[name].values for name in kind.history})
        return found
