"""When two numbers of the compiled and of the plain form agree, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from corec.entities.fields import VIVO
from corec.entities.plain_near import held
from corec.entities.processor import Processor


def close_to(a: Any, b: Any, rtol: float) -> bool:
    """Numbers of which one is real within ``rtol``, others when they are equal."""
    if np.asarray(a).dtype.kind != "f":
        return bool(a == b)
    x, y = float(a), float(b)
    return x == y or abs(x - y) <= rtol * max(1.0, abs(x), abs(y))


def shown(value: Any) -> str:
    """As one would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) or value is None:
        return repr(value)
    return repr(np.asarray(value).tolist())


def settle_births(
    processor: Processor, plains: Sequence[Any], before: Sequence[Mapping[str, Any]], space: Any
) -> list[int]:
    """Give each child that ``plains`` have ``born`` the lowest place of the block that was free
    before the tick, in order of their mothers; who finds none is not born. Returns the places."""
    if not processor.mortal:
        return []
    free = [place for place, state in enumerate(before) if not state[VIVO]]
    born = [child for plain in plains for child in plain.born]
    for child, place in zip(born, free, strict=False):
        state = plains[place].state
        state.update({f.name: np.dtype(f.dtype).type(f.default) for f in processor.state})
        state.update({ring.name: [] for ring in processor.history}, valor=np.float32(0.0))
        state.update({name: held(space, name, value) for name, value in child.items()})
        state["generacion"] = before[place]["generacion"] + 1
    return free[: len(born)]
