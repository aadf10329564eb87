"""The schedule of faults: a pure function of the seed and the length of the run.

Three independent sequences run beside each other, so that processes die while a server is away:
one for the instance's processes, one for each server and the way to it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

CALM_SECONDS: Final = 2.0
NEEDS_SERVERS: Final = ("kill supervisor", "kill everything")
EVERYBODY: Final = (*NEEDS_SERVERS, "more workers", "fewer workers", "reload")
"""These end every process of the instance."""
WORKERS: Final = 2
WORKERS_MAX: Final = 5
Span = tuple[float, float]

# what, how likely, how long it lasts (seconds; 0 = at once)
PROCESS_FAULTS: Final[tuple[tuple[str, float, Span], ...]] = (
    ("kill worker", 10, (0.0, 0.0)),
    ("kill persister", 6, (0.0, 0.0)),
    ("kill broker", 6, (0.0, 0.0)),
    ("kill nucleus", 4, (0.0, 0.0)),
    ("kill tasks", 5, (0.0, 0.0)),
    ("kill supervisor", 9, (0.0, 0.0)),
    ("kill everything", 2, (0.0, 0.0)),
    ("stop worker", 3, (0.05, 1.0)),
    ("stop persister", 2, (0.05, 1.5)),
    ("stop broker", 2, (0.05, 1.5)),
    ("stop nucleus", 1, (0.05, 1.0)),
    ("freeze worker", 0.2, (13.0, 14.0)),
    ("freeze persister", 0.2, (13.0, 14.0)),
    ("freeze broker", 0.2, (13.0, 14.0)),
    ("freeze nucleus", 0.2, (13.0, 14.0)),
    ("fulldisk nucleus", 1, (2.0, 6.0)),
    ("more workers", 1, (0.0, 0.0)),
    ("fewer workers", 1, (0.0, 0.0)),
    ("reload", 1, (0.0, 0.0)),
)
POSTGRES_FAULTS: Final[tuple[tuple[str, float, Span], ...]] = (
    ("cut postgres", 6, (0.0, 1.5)),
    ("delay postgres", 3, (0.3, 3.0)),
    ("hold postgres", 2, (0.2, 4.0)),
    ("restart postgres", 4, (0.0, 2.0)),
    ("fulldisk postgres", 1, (3.0, 6.0)),
    ("fillspool postgres", 1, (25.0, 45.0)),
)
VALKEY_FAULTS: Final[tuple[tuple[str, float, Span], ...]] = (
    ("cut valkey", 6, (0.0, 1.5)),
    ("delay valkey", 3, (0.3, 3.0)),
    ("hold valkey", 2, (0.2, 2.5)),
    ("restart valkey", 4, (0.0, 2.0)),
    ("stop valkey", 2, (0.2, 2.0)),
)
FAULTS: Final = PROCESS_FAULTS + POSTGRES_FAULTS + VALKEY_FAULTS
_SEQUENCES: Final[tuple[tuple[str, tuple[tuple[str, float, Span], ...], Span], ...]] = (
    ("processes", PROCESS_FAULTS, (0.15, 1.2)),
    ("postgres", POSTGRES_FAULTS, (0.8, 5.0)),
    ("valkey", VALKEY_FAULTS, (0.8, 5.0)),
)
_AFTER_SECONDS: Final = {
    "kill supervisor": 1.0,
    "kill everything": 1.0,
    "restart postgres": 1.0,
    "restart valkey": 1.0,
}


@dataclass(frozen=True)
class Fault:
    """One fault: seconds after the start, what, which of several (0 ≤ pick < 1), how long."""

    at: float
    what: str
    pick: float
    lasts: float

    @property
    def end(self) -> float:
        """Seconds after the start."""
        return self.at + self.lasts

    def __str__(self) -> str:
        lasts = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.at:7.2f} s  {self.what}{lasts}"


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of ``seconds``, by time; the same seed gives the same list."""
    processes, *servers = [
        _sequence(random.Random(f"{seed} {name}"), faults, gap, seconds)
        for name, faults, gap in _SEQUENCES
    ]
    away = [fault for faults in servers for fault in faults]
    # who starts the instance anew has to reach the servers
    processes = [
        replace(f, what="kill worker")
        if f.what in NEEDS_SERVERS and any(a.at - 1.0 <= f.at <= a.end + 1.0 for a in away)
        else f
        for f in processes
    ]
    return sorted(_bounded(_left_frozen(processes)) + away, key=lambda f: f.at)


def _left_frozen(faults: list[Fault]) -> list[Fault]:
    """Nobody touches a frozen process or its group: it is the supervisor that has to notice it."""
    frozen = [f for f in faults if f.what.startswith("freeze")]

    def touches(fault: Fault, other: Fault) -> bool:
        role = other.what.partition(" ")[2]
        return fault.what.partition(" ")[2] == role or fault.what in EVERYBODY

    return [
        fault
        for fault in faults
        if not any(
            other is not fault and other.at <= fault.at <= other.end and touches(fault, other)
            for other in frozen
        )
    ]


def _bounded(faults: list[Fault]) -> list[Fault]:
    """The number of workers stays between 1 and ``WORKERS_MAX``."""
    found, workers = [], WORKERS
    for fault in faults:
        if fault.what in NEEDS_SERVERS:
            workers = WORKERS
        if fault.what in ("more workers", "fewer workers"):
            up = workers == 1 or (fault.what == "more workers" and workers < WORKERS_MAX)
            workers += 1 if up else -1
            fault = replace(fault, what="more workers" if up else "fewer workers")
        found.append(fault)
    return found


def _sequence(
    dice: random.Random, table: tuple[tuple[str, float, Span], ...], gap: Span, seconds: float
) -> list[Fault]:
    names = [name for name, _, _ in table]
    weights = [weight for _, weight, _ in table]
    spans = {name: span for name, _, span in table}
    faults: list[Fault] = []
    at = CALM_SECONDS
    while True:
        at += dice.uniform(*gap)
        what = dice.choices(names, weights)[0]
        lasts = dice.uniform(*spans[what])
        pick = dice.random()
        if at > seconds:
            return faults
        if at + lasts > seconds:
            continue
        faults.append(Fault(round(at, 3), what, pick, round(lasts, 3)))
        # a frozen process is noticed by others: what else happens goes on meanwhile
        at += _AFTER_SECONDS.get(what, 0.0) + (0.0 if what.startswith("freeze") else lasts)


def any_seed() -> int:
    """A seed for a run that was given none; it is printed."""
    return random.SystemRandom().randrange(2**31)
