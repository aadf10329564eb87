"""A bloque's ``collect``: which statistics of its blocks go into the database, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from corec.config.faults import Fault
from corec.config.keys import Section, key
from corec.config.measures import ALLOWED, Expression, parse_expression

EVERY_MAX: Final = 1_000_000_000
STATS_MAX: Final = 32


class Collect(Section):
    """Some statistics of each block, told together."""

    every: int = key(
        f"an integer from 1 to {EVERY_MAX}",
        "After each tick that is a multiple of it.",
        strict=True,
        ge=1,
        le=EVERY_MAX,
    )
    stats: tuple[str, ...] = key(
        f"a list of 1 to {STATS_MAX} of: {ALLOWED}",
        "What is told of each block: numbers of the columns that a frame of the swarm has.",
        min_length=1,
        max_length=STATS_MAX,
    )

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """``stats``, understood. Raises ValueError."""
        return tuple(parse_expression(text) for text in self.stats)


def collect_faults(
    collect: Iterable[Collect], columns: list[str], where: str
) -> Iterator[Fault]:
    """What of ``collect`` makes no sense for a bloque whose entities have ``columns``."""
    for k, one in enumerate(collect):
        for j, text in enumerate(one.stats):
            place = f"{where}.collect[{k}].stats[{j}]"
            try:
                expression = parse_expression(text)
            except ValueError as error:
                found, _, allowed = str(error).removeprefix("found ").partition(", expected ")
                yield Fault(place, found, allowed)
                continue
            if expression.column not in columns:
                yield Fault(place, repr(text), f"one of the columns {', '.join(columns)}")
