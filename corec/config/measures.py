"""Numbers of a column: ``mean(x)``, ``count(fase == 1)``, ``quantile(x, 0.9)``.

What sweeps measure of a swarm, and what ``collect`` has told of each block.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_NUMBER: Final = r"-?[\d.]+(?:e-?\d+)?"
_EXPRESSION: Final = re.compile(
    rf"(mean|std|min|max|sum|count)\(\s*(\w+)\s*(?:(==|!=|<=|>=|<|>)\s*({_NUMBER})\s*)?\)"
)
_QUANTILE: Final = re.compile(rf"(quantile)\(\s*(\w+)\s*(,)\s*({_NUMBER})\s*\)")
_COMPARE: Final = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge,
    "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_REDUCE: Final[Mapping[str, Callable[[NDArray[Any]], float]]] = {
    "mean": lambda x: float(x.mean(dtype=np.float64)) if x.size else float("nan"),
    "std": lambda x: float(x.std(dtype=np.float64)) if x.size else float("nan"),
    "min": lambda x: float(x.min()) if x.size else float("nan"),
    "max": lambda x: float(x.max()) if x.size else float("nan"),
    "sum": lambda x: float(x.sum(dtype=np.float64)),
    "count": lambda x: float(np.count_nonzero(x)),
}
_EXACT: Final = 1e19
"""Beyond that no column has whole numbers."""
ALLOWED: Final = (
    'mean, std, min, max, sum or count of a column, as "mean(valor)", or of a comparison, as '
    '"mean(fase == 1)", which is the share of entities for which it holds; or a quantile, as '
    '"quantile(valor, 0.9)"'
)


class Expression(NamedTuple):
    """A column, perhaps compared, reduced to one number."""

    text: str
    reduce: str
    column: str
    compare: str | None
    bound: float
    """What is compared with, a whole number as an int: float64 has not all that an i8 column has;
    of a quantile which one, 0 to 1."""

    def mean_of(self, values: NDArray[Any]) -> float:
        """The mean of what a ``std`` is about. ``values``: of the column."""
        return self._replace(reduce="mean").of(values)

    @np.errstate(all="ignore")  # what is not finite is said, not warned of
    def of(self, values: NDArray[Any]) -> float:
        """``values``: of the column."""
        if self.reduce == "quantile":
            return _quantile(values.astype(np.float64), self.bound)
        if self.compare is not None:
            if values.dtype == np.bool_:
                values = values.view(np.uint8)  # as blocks have it
            values = _COMPARE[self.compare](values, self.bound)
        return _REDUCE[self.reduce](values)


def _quantile(values: NDArray[np.float64], which: float) -> float:
    """Between the two nearest in order, in proportion; NumPy's own is no number beside an infinite
    one, and beyond float64 between two that are far apart."""
    if not values.size or np.isnan(values).any():
        return float("nan")
    place = which * (values.size - 1)
    low = int(place)
    high, share = min(low + 1, values.size - 1), place - low
    ordered = np.partition(values, (low, high))
    below, above = float(ordered[low]), float(ordered[high])
    return below if not share or below == above else below * (1.0 - share) + above * share


def parse_expression(text: str) -> Expression:
    """Raises ValueError: it is none; the text says what was expected."""
    match = _EXPRESSION.fullmatch(text.strip()) or _QUANTILE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"found {text!r}, expected {ALLOWED}")
    try:
        bound = _number(match[4]) if match[3] else 0.0
    except ValueError:
        raise ValueError(f"found {text!r}, expected a number in the place of {match[4]}") from None
    if match[1] == "quantile":
        if not 0.0 <= bound <= 1.0:
            raise ValueError(f"found {text!r}, expected a quantile from 0 to 1")
        return Expression(text, match[1], match[2], None, bound)
    return Expression(text, match[1], match[2], match[3], bound)


def _number(text: str) -> float:
    """As it is written. Raises ValueError."""
    found = float(text)
    if not found.is_integer() or abs(found) >= _EXACT:
        return found
    exact = Decimal(text) if found else Decimal(0)
    return int(exact) if exact == exact.to_integral_value() else found
