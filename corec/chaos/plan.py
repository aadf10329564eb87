"""The schedule of faults: a pure function of the seed and the length of the run."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

GAP_SECONDS: Final = (0.15, 1.2)
CALM_SECONDS: Final = 2.0

# what, how likely, how long it lasts (seconds; 0 = at once)
FAULTS: Final = (
    ("kill worker", 10, (0.0, 0.0)),
    ("kill persister", 6, (0.0, 0.0)),
    ("kill broker", 6, (0.0, 0.0)),
    ("kill nucleus", 4, (0.0, 0.0)),
    ("kill supervisor", 2, (0.0, 0.0)),
    ("stop worker", 3, (0.05, 1.0)),
    ("stop persister", 2, (0.05, 1.5)),
    ("stop broker", 2, (0.05, 1.5)),
    ("stop nucleus", 1, (0.05, 1.0)),
    ("restart postgres", 2, (0.0, 0.0)),
    ("kill valkey", 2, (0.0, 0.0)),
    ("stop postgres", 1, (0.2, 2.0)),
    ("stop valkey", 1, (0.2, 2.0)),
    ("more workers", 1, (0.0, 0.0)),
    ("fewer workers", 1, (0.0, 0.0)),
    ("reload", 1, (0.0, 0.0)),
)


@dataclass(frozen=True)
class Fault:
    """One fault: seconds after the start, what, which of several (0 ≤ pick < 1), how long."""

    at: float
    what: str
    pick: float
    lasts: float

    def __str__(self) -> str:
        lasts = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.at:7.2f} s  {self.what}{lasts}"


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of ``seconds``; the same seed gives the same list."""
    dice = random.Random(seed)
    names = [name for name, _, _ in FAULTS]
    weights = [weight for _, weight, _ in FAULTS]
    spans = {name: span for name, _, span in FAULTS}
    faults: list[Fault] = []
    at = CALM_SECONDS
    while True:
        at += dice.uniform(*GAP_SECONDS)
        if at > seconds:
            return faults
        what = dice.choices(names, weights)[0]
        lasts = dice.uniform(*spans[what])
        faults.append(Fault(round(at, 3), what, dice.random(), round(lasts, 3)))
        at += lasts
        if what in ("kill supervisor", "restart postgres", "kill valkey"):
            at += 1.0
