"""What the parameters of the built-in processors may be: where their formulas say something.

A parameter is divided by, is a share, is counted up to; outside of that the formula gives no number
or another one than was asked for, at every reading and without a word. Held to the number that is
computed with, which is a float32. ``corec.suiting`` asks, so ``check``, a start, a reload, ``set``,
a schedule and a ``World`` say the same.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from corec.processors.seasonal import BINS_MAX
from corec.processors.spot import LEARN_MAX

COUNTED_MAX: Final = 2**24
"""A float32 counts up to here by ones, and from here down: more is never reached."""


class Bounds(NamedTuple):
    """From ``least`` to ``most``; both are allowed, unless it is ``open``."""

    least: float = -math.inf
    most: float = math.inf
    open: bool = False

    def hold(self, value: float) -> bool:
        """Whether ``value`` may be, as float32."""
        number = float(np.float32(value))
        if self.open:
            return self.least < number < self.most
        return float(np.float32(self.least)) <= number <= float(np.float32(self.most))

    def __str__(self) -> str:
        least, most = (_shown(end) for end in (self.least, self.most))
        if self.open:
            return f"a number between {least} and {most}, neither of them"
        if math.isfinite(self.most):
            return f"a number from {least} to {most}"
        return f"a number of at least {least}" if math.isfinite(self.least) else "any number"


def _shown(end: float) -> str:
    return f"{int(end):,}" if float(end).is_integer() else f"{end:g}"


ANY: Final = Bounds()
POSITIVE: Final = Bounds(0)
SHARE: Final = Bounds(0, 1)
DIVIDES: Final = Bounds(1e-6)
"""What readings are divided by: so large that no quotient of those there may be is none."""
COUNTED: Final = Bounds(0, COUNTED_MAX - 1)
_HALF: Final = Bounds(0, COUNTED_MAX / 2)
"""Two of them together are counted, too."""
_TICKS: Final = Bounds(1, 2**40)
_PERIODS: Final = Bounds(0, 2**20)
"""Of ``_TICKS`` each, they are an int64."""

_FROM: Final = {"box": POSITIVE}
BOUNDS: Final[dict[str, dict[str, Bounds]]] = {
    "boids": _FROM
    | {"align": ANY, "gather": ANY, "part": ANY, "speed": POSITIVE, "crowd": DIVIDES},
    "detector": {
        "z0": DIVIDES, "warmup": COUNTED, "grain": POSITIVE, "slow": SHARE, "forget": SHARE,
        "cut": POSITIVE, "step": Bounds(0, 1e6), "ease": Bounds(1), "pause": COUNTED,
    },
    "diffusion": {"rate": POSITIVE},
    "ewma": {"alpha": SHARE, "z0": DIVIDES, "warmup": Bounds(0, 2**31), "clip": POSITIVE},
    "forest_fire": {"growth": SHARE, "lightning": SHARE, "seeded": SHARE},
    "grass": _FROM | {"growth": SHARE, "reach": POSITIVE},
    "ising": {"temperature": DIVIDES, "width": Bounds(1, COUNTED_MAX)},
    "kuramoto": {"K": ANY, "omega0": ANY, "spread": ANY, "dt": ANY},
    "life": {"seeded": SHARE},
    "rate": {
        "times": DIVIDES, "alpha": SHARE, "after": COUNTED, "limit": POSITIVE, "pause": COUNTED,
    },
    "schelling": {"wanted": SHARE},
    "seasonal": {
        "period": _TICKS, "bins": Bounds(1, BINS_MAX), "width": DIVIDES, "gamma": SHARE,
        "periods": _PERIODS, "share": SHARE, "pause": COUNTED,
    },
    "sensor": {"mu": ANY, "phi": Bounds(-1, 1, open=True), "noise": ANY},
    "sheep": _FROM
    | {"step": ANY, "hunger": ANY, "food": ANY, "birth": SHARE, "catch": POSITIVE},
    "sir": {"beta": POSITIVE, "gamma": POSITIVE, "seeded": SHARE},
    "sir_graph": {"beta": POSITIVE, "gamma": SHARE, "seeded": SHARE},
    "spot": {
        "risk": Bounds(1e-30, 1), "quantile": Bounds(0.5, 1), "learn": Bounds(2, LEARN_MAX),
        "follow": SHARE, "pause": COUNTED,
    },
    "stuck": {"many": _HALF._replace(least=1), "band": POSITIVE, "again": _HALF, "pause": COUNTED},
    "wolf": _FROM | {"step": ANY, "food": ANY, "birth": SHARE},
}  # fmt: skip
"""By the processor's name and the parameter's."""
