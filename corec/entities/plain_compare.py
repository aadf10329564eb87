"""An entity in plain Python beside its compiled form: run through a tick, and compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corec.entities.fields import VIVO
from corec.entities.plain import PlainEntity, PlainHistory
from corec.entities.plain_near import held, settled
from corec.entities.processor import Processor
from corec.entities.silence import HEARD, QUIET
from corec.kernels.philox import word_reference


def close_to(a: Any, b: Any, rtol: float) -> bool:
    """Numbers of which one is real within ``rtol``, others when they are equal; of those that are
    not finite, the same infinity, and NaN both."""
    if np.asarray(a).dtype.kind != "f":
        return bool(a == b)
    x, y = float(a), float(b)
    if math.isfinite(x) and math.isfinite(y):
        return abs(x - y) <= rtol * max(1.0, abs(x), abs(y))
    return x == y or (math.isnan(x) and math.isnan(y))


def numbers_of(processor: Processor) -> list[str]:
    """What an entity has, but for histories: valor, state fields, genes."""
    return ["valor", *(f.name for f in processor.state), *(g.name for g in processor.genes)]


def shown(value: Any) -> str:
    """As one would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | range) or value is None:
        return repr(value)
    return repr(np.asarray(value).tolist())


class Difference(AssertionError):
    """The compiled and the plain form of a processor do not agree; the text says where."""


class Plain:
    """One entity in plain Python through one tick."""

    def __init__(self, processor: Processor, state: Mapping[str, Any], space: Any) -> None:
        self.processor, self.space = processor, space
        self.start, self.state = state, dict(state)
        self.failures: list[str] = []
        self.born: list[dict[str, Any]] = []
        self.sent: list[tuple[int, tuple[int, Any]]] = []
        self.values: list[Any] = []
        self.moves = False
        self.calls = 0

    def hear(self, tick: int) -> None:
        """What a reading stores before the entity runs."""
        if self.processor.silence:
            self.state[HEARD], self.state[QUIET] = tick, 0

    def run(
        self,
        *value: Any,
        draws: int = 0,
        function: Callable[..., Any] | None = None,
        place: int = 0,
    ) -> None:
        """Call the function once, or another of the processor; a failure leaves the state as it
        was."""
        self.calls += 1
        self.values += [np.asarray(v).tolist() for v in value]
        read = {name: getattr(value[0], name) for name in self.processor.kept if value}
        me = PlainEntity(self.processor, **(self.state | read), draws=draws)
        function = function or self.processor.function
        try:
            with np.errstate(all="ignore"):
                valor = np.float32(self.processor.plain(function)(me, *value))
        except Exception as error:  # noqa: BLE001  # whatever it is
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        if not np.isfinite(valor):
            self.failures.append(f"it returns {valor}")
            return
        if (state := settled(self.space, self.processor, me)) is None:
            self.failures.append("its position is no number")
            return
        self.state.update(state, valor=valor)
        self.born += me.born
        self.sent += [(place, one) for one in me.sent]
        self.moves = me.moves
        for ring in self.processor.history:
            history: PlainHistory = getattr(me, ring.name)
            self.state[ring.name] = list(history.values)

    def check(self, compiled: Mapping[str, Any], failed: int, rtol: float) -> None:
        """Raise ``Difference`` unless the compiled entity failed as often and ended alike."""
        if failed != len(self.failures):
            said = "; ".join(self.failures) or "none"
            self._differ("failures", f"{failed} of {self.calls}", f"{len(self.failures)} ({said})")
        for name in numbers_of(self.processor):
            if not close_to(compiled[name], self.state[name], rtol):
                self._differ(name, compiled[name], self.state[name])
        for ring in self.processor.history:
            a, b = list(compiled[ring.name]), list(self.state[ring.name])
            if len(a) != len(b) or not all(map(close_to, a, b, [rtol] * len(a))):
                self._differ(ring.name, [float(x) for x in a], [float(x) for x in b])

    def _differ(self, field: str, compiled: Any, plain: Any) -> None:
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.start.items())
        fed = f" and the values {self.values}" if self.values else ""
        where = f"{self.processor.name}: entity {self.start['id']}, tick {self.start['tick']}"
        raise Difference(
            f"{where}: {field}: compiled {shown(compiled)}, plain {shown(plain)}. "
            f"To step through it: PlainEntity({self.processor.function.__name__}, {given}){fed}"
        )


def letters_of(plains: Sequence[Plain]) -> list[tuple[int, Any]]:
    """What ``plains`` have sent, as it arrives in the next tick: (id, value) in the order of the
    calls, which are those of the arrivals, or of the entities; no more than a block sends."""
    sent = [(place, n, one) for n, plain in enumerate(plains) for place, one in plain.sent]
    room = max((plain.processor.sends for plain in plains), default=0) * len(plains)
    return [one for _, _, one in sorted(sent, key=lambda item: item[:2])][:room]


def settle_births(
    processor: Processor, plains: Sequence[Any], before: Sequence[Mapping[str, Any]], space: Any
) -> list[int]:
    """Give each child that ``plains`` have ``born`` the lowest place of the block that was free
    before the tick, in order of their mothers; who finds none is not born. Returns the places."""
    if not processor.mortal:
        return []
    free = [place for place, state in enumerate(before) if not state[VIVO]]
    born = [(child, plain.state) for plain in plains for child in plain.born]
    for (child, mother), place in zip(born, free, strict=False):
        state = plains[place].state
        state.update({gene.name: mother[gene.name] for gene in processor.genes})
        state.update({f.name: np.dtype(f.dtype).type(f.default) for f in processor.state})
        state.update({ring.name: [] for ring in processor.history}, valor=np.float32(0.0))
        state.update({name: held(space, name, value) for name, value in child.items()})
        state["generacion"] = before[place]["generacion"] + 1
    return free[: len(born)]


def check_moves(plains: Sequence[Plain], after: Sequence[Mapping[str, Any]], rtol: float) -> None:
    """Whether those of the last tick who wanted to move are where they should be: turn by turn, by
    a random number of each, into the free places by one of each. Raises Difference."""
    if not any(plain.moves for plain in plains):
        return

    def turn(place: int) -> tuple[int, int]:
        start = plains[place].start
        return word_reference(start["id"], start["tick"], 0xFFFFFFFF, start["seed"]), place

    lives = [bool(plain.state[VIVO]) for plain in plains]
    movers = sorted((k for k, p in enumerate(plains) if p.moves and lives[k]), key=turn)
    free = sorted((k for k, alive in enumerate(lives) if not alive), key=turn)
    wanted = [dict(plain.state) for plain in plains]
    for old, new in zip(movers, free, strict=False):
        age = plains[new].state["generacion"] + 1
        wanted[new] = {**plains[old].state, "generacion": age}
        wanted[old][VIVO] = 0
    names = numbers_of(plains[0].processor)
    for plain, found, state in zip(plains, after, wanted, strict=True):
        for name in names:
            if not close_to(found[name], state[name], rtol):
                plain._differ(f"{name} after moves", found[name], state[name])
