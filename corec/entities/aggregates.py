"""What is asked of ``me.neighbours`` in compiled code, whatever space they are in.

A grid's are read by ``near``, a graph's and a plane's by ``linked``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import float32, float64, int64, types
from numba.core.errors import TypingError

from corec.entities import linked
from corec.entities import near as cells
from corec.entities.me_types import NeighboursType
from shm.jit import intrinsic, method


def _way(near: NeighboursType) -> Any:
    """The module that reads these neighbours."""
    return linked if near.entity.meeting is None or near.entity.meeting.grid is None else cells


def _field(near: NeighboursType, field: Any, what: str) -> int:
    shown = [name for name, _ in near.fields] if near.entity.meeting else []
    name = getattr(field, "literal_value", None)
    if isinstance(name, str) and name in shown:
        return shown.index(name)
    text = repr(name) if name is not None else "no constant text"
    known = ", ".join(shown)
    raise TypingError(f"me.neighbours.{what} takes a public field ({known}), found {text}")


def _target(near: NeighboursType, swarm: Any, what: str) -> NeighboursType:
    """The neighbours that are of ``swarm``."""
    name = getattr(swarm, "literal_value", None)
    plane = near.entity.meeting.plane if near.entity.meeting is not None else None
    names = [shown.name for shown in plane.shown[1:]] if plane is not None else []
    if not isinstance(name, str) or name not in names:
        known = ", ".join(names) or "none"
        text = repr(name) if name is not None else "no constant text"
        raise TypingError(f"me.neighbours.{what} takes a swarm of see=(…) ({known}), found {text}")
    return NeighboursType(near.entity, 1 + names.index(name))


@method(NeighboursType, "of", prefer_literal=True)
def _of(near: Any, swarm: Any) -> Callable[..., Any]:
    others = _target(near, swarm, "of")

    @intrinsic
    def turned(typing_context: Any, neighbours: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0]

        return others(neighbours), generate

    def of(near: Any, swarm: Any) -> Any:
        return turned(near)

    return of


@method(NeighboursType, "count", prefer_literal=True)
def _count(near: Any, swarm: Any = None) -> Callable[..., Any]:
    if swarm is None or isinstance(swarm, types.NoneType | types.Omitted):
        count = _way(near).counted(near)

        def counted(near: Any, swarm: Any = None) -> Any:
            return count(near)

        return counted
    count = linked.counted(_target(near, swarm, "count"))

    def counted_of(near: Any, swarm: Any = None) -> Any:
        return count(near)

    return counted_of


@method(NeighboursType, "sum", prefer_literal=True)
def _sum(near: Any, field: Any) -> Callable[..., Any]:
    total = _way(near).summed(near, _field(near, field, "sum"))

    def summed(near: Any, field: Any) -> Any:
        return total(near)

    return summed


@method(NeighboursType, "mean", prefer_literal=True)
def _mean(near: Any, field: Any) -> Callable[..., Any]:
    place = _field(near, field, "mean")
    total, count = _way(near).summed(near, place), _way(near).counted(near)
    real = float64 if linked.column_of(near, place) == types.float64 else float32

    def mean(near: Any, field: Any) -> Any:
        number = count(near)
        return real(total(near)) / real(max(number, int64(1)))

    return mean


@method(NeighboursType, "min", prefer_literal=True)
def _min(near: Any, field: Any) -> Callable[..., Any]:
    least = _way(near).extreme(near, _field(near, field, "min"), "<")

    def minimum(near: Any, field: Any) -> Any:
        return least(near)

    return minimum


@method(NeighboursType, "max", prefer_literal=True)
def _max(near: Any, field: Any) -> Callable[..., Any]:
    most = _way(near).extreme(near, _field(near, field, "max"), ">")

    def maximum(near: Any, field: Any) -> Any:
        return most(near)

    return maximum


@method(NeighboursType, "count_equal", prefer_literal=True)
def _count_equal(near: Any, field: Any, value: Any) -> Callable[..., Any]:
    given = types.unliteral(value)
    place = _field(near, field, "count_equal")
    if not isinstance(given, types.Integer | types.Boolean | types.Float):
        raise TypingError(f"me.neighbours.count_equal takes a number, found {given}")
    equal = _way(near).equal(near, place, given)

    def counted(near: Any, field: Any, value: Any) -> Any:
        return equal(near, value)

    return counted
