"""``globals`` and ``schedule``: named numbers, and what is set by itself at which tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from corec.config.faults import Fault
from corec.config.keys import Section, key
from corec.config.umbral import FLOAT32_MAX

TICK_MAX: Final = 1 << 40
_TICK: Final = f"an integer from 1 to {TICK_MAX}"
GLOBALS_MAX: Final = 64
GLOBAL_ALLOWED: Final = "a finite number that float32 can hold, under a Python name without __"
GlobalName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
GlobalNumber = Annotated[float, Field(strict=True, ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
SETS_MAX: Final = 64
ENTRIES_MAX: Final = 1000


class Scheduled(Section):
    """What is set from one tick on, or again and again."""

    at: int | None = key(
        f"null or {_TICK}",
        "The first tick that runs with it.",
        None,
        strict=True,
        ge=1,
        le=TICK_MAX,
    )
    every: int | None = key(
        f"null or {_TICK}",
        "Instead of at: it is set again every so many ticks.",
        None,
        strict=True,
        ge=1,
        le=TICK_MAX,
    )
    first: int | None = key(
        f"null (every) or {_TICK}",
        "With every: the first of these ticks.",
        None,
        alias="from",
        strict=True,
        ge=1,
        le=TICK_MAX,
    )
    until: int | None = key(
        f"null (for ever) or {_TICK}",
        "With every: none of these ticks is later.",
        None,
        strict=True,
        ge=1,
        le=TICK_MAX,
    )
    sets: dict[str, Any] = key(
        f"an object of 1 to {SETS_MAX} values by path, such as globals.beta, bloques.ID.umbral or"
        " bloques.ID.parametros.NAME (or ID.NAME)",
        "What is set.",
        alias="set",
        min_length=1,
        max_length=SETS_MAX,
    )

    def last(self, tick: int) -> int | None:
        """The latest of its ticks up to ``tick``."""
        begin = self.begin
        if tick < begin:
            return None
        if self.every is None:
            return begin
        end = tick if self.until is None else min(tick, self.until)
        return begin + (end - begin) // self.every * self.every

    def following(self, tick: int) -> int | None:
        """The first of its ticks after ``tick``."""
        if tick < self.begin:
            return self.begin
        if self.every is None:
            return None
        found = self.begin + ((tick - self.begin) // self.every + 1) * self.every
        return None if self.until is not None and found > self.until else found

    @property
    def begin(self) -> int:
        """The first of its ticks."""
        return self.at or self.first or self.every or 1


def entry_faults(raw: Any) -> Iterator[Fault]:
    """What is wrong between the keys of each entry of ``schedule``, as it is written."""
    if not isinstance(raw, list | tuple):
        return
    for index, one in enumerate(raw):
        if not isinstance(one, Mapping):
            continue
        where = f"schedule[{index}]"
        given = [name for name in ("at", "every") if one.get(name) is not None]
        if len(given) != 1:
            yield Fault(where, " and ".join(given) or "neither at nor every", "one of at and every")
        elif given == ["at"]:
            for name in ("from", "until"):
                if one.get(name) is not None:
                    yield Fault(f"{where}.{name}", "it beside at", "from and until beside every")
        else:
            begin, until = one.get("from") or one["every"], one.get("until")
            numbers = all(type(number) is int for number in (begin, until))
            if numbers and until < begin:
                yield Fault(f"{where}.until", str(until), f"a tick from {begin} on")
