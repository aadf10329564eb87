"""Statistics that ``collect`` asks for, as docs/sql.md gives them."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from corec.lab.oracle.block import Block
from corec.lab.oracle.compare import keys, lists, same

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge,
    "<": operator.lt, ">": operator.gt,
}  # fmt: skip
FORM: Final = re.compile(r"(\w+)\((\w+)(?:\s*(,|[<>=!]=?)\s*(\S+))?\)")
CLOSE: Final = 1e-12
"""Of what is added up, in which order the documents don't say."""


@dataclass(frozen=True)
class Statistics:
    """What was told of one block behind a tick: numbers by expression, None for what is none."""

    tick: int
    block: str
    entidades: int
    values: Mapping[str, float | None]
    sizes: Mapping[str, float]
    """Of what is added up in an order that the documents don't say: how large the numbers are."""


def wishes(config: Mapping[str, Any], name: str) -> list[tuple[int, Sequence[str]]]:
    """(every, expressions) that are asked for of a bloque."""
    bloque = next(one for one in config["bloques"] if one["id"] == name)
    found = [*_list(bloque.get("collect", ()))]
    found += [one for one in _list(config.get("collect", ())) if one.get("swarm") in (None, name)]
    return [(int(one["every"]), one["stats"]) for one in found]


def _list(given: Any) -> list[Any]:
    return [given] if isinstance(given, Mapping) else list(given)


def measured(block: Block, expressions: Sequence[str], tick: int) -> Statistics:
    """These numbers of a block, as it is."""
    values, sizes = {}, {}
    for text in expressions:
        reduce, numbers, bound = terms(block, text)
        if reduce in ("mean", "std", "sum", "quantile"):
            sizes[text] = max(map(abs, numbers)) * (len(numbers) if reduce == "sum" else 1)
        found = quantile(numbers, bound) if reduce == "quantile" else REDUCE[reduce](numbers)
        values[text] = found if math.isfinite(found) else None
    return Statistics(tick, block.settings.name, block.n, values, sizes)


def terms(block: Block, text: str) -> tuple[str, list[float], float]:
    """What is done with which numbers, and of a quantile which one."""
    form = FORM.fullmatch(text)
    assert form is not None, text
    reduce, name, compare, bound = form.groups()
    values = column(block, name)
    if compare in COMPARE:
        limit = np.float32(float(bound)) if _single(block, name) else float(bound)
        whole = Decimal(bound)  # a whole number is compared as it is written
        values = [
            COMPARE[compare](value, whole if isinstance(value, int) else limit) for value in values
        ]
    return reduce, [float(value) for value in values], float(bound or 0.0)


def _single(block: Block, name: str) -> bool:
    kind = block.settings.kind
    return name == "valor" or name in kind.genes or kind.state.get(name, ("",))[0] == "f4"


def column(block: Block, name: str) -> list[Any]:
    """Of all places of a block."""
    if name in ("activo", "fallos"):
        return [getattr(entity, name) for entity in block.entities]
    if name in block.settings.kind.genes:
        return [entity.genes[name] for entity in block.entities]
    return [entity.state[name] for entity in block.entities]


def _sum(values: Sequence[float]) -> float:
    if all(map(math.isfinite, values)):
        return math.fsum(values)
    return sum(values)


def _std(values: Sequence[float]) -> float:
    mean = _sum(values) / len(values)
    away = [value - mean for value in values]
    return math.sqrt(_sum([d * d for d in away]) / len(values))


def _least(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)


def _most(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


REDUCE: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "mean": lambda values: _sum(values) / len(values), "std": _std,
    "min": _least, "max": _most, "sum": _sum,
    "count": lambda values: float(sum(value != 0.0 for value in values)),
}  # fmt: skip


def quantile(values: Sequence[float], q: float) -> float:
    """Between the two nearest of those in order, in proportion."""
    if any(map(math.isnan, values)):
        return math.nan
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    if at == low or ordered[low] == ordered[high]:
        return ordered[low]
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def same_statistics(
    found: Sequence[tuple[int, str, Mapping[str, Any]]], said: Sequence[Statistics]
) -> None:  # fmt: skip
    """What was told, as (tick, block, detalle), against what the oracle says.

    Raises:
        Disagreement: they differ.
    """
    wanted = sorted(said, key=lambda one: (one.tick, one.block))
    mine = sorted(found, key=lambda one: one[:2])
    lists("statistics", [one[:2] for one in mine], [(one.tick, one.block) for one in wanted])
    for (tick, block, told), its in zip(mine, wanted, strict=True):
        at = f"statistics of {block} tick {tick}"
        same(f"{at}.entidades", told["entidades"], its.entidades)
        keys(at, told["values"], its.values)
        for text, value in its.values.items():
            if not _close(told["values"][text], value, its.sizes.get(text, 0.0)):
                same(f"{at}.{text}", told["values"][text], value)


def _close(found: float | None, wanted: float | None, size: float) -> bool:
    """Whether they are alike but for the order in which something was added up. ``size``: of the
    numbers that were."""
    if found is None or wanted is None:
        return found is wanted
    return found == wanted or abs(found - wanted) <= CLOSE * size
