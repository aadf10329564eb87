"""A bloque's ``umbral``: above which value a good one becomes a message, and how that may move."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, PlainSerializer

from corec.config.faults import Fault, found_text
from corec.config.keys import Section, key

FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
UMBRAL_MIN: Final = 0.1
UMBRAL_MAX: Final = 0.9
UMBRAL_FIRST: Final = 0.5
ALWAYS: Final = "siempre"
NEVER: Final = "nunca"
_NUMBER: Final = "a finite number that float32 can hold"


class Limits(NamedTuple):
    """Between what the umbral moves, and where it starts; all rounded to float32."""

    least: float
    most: float
    first: float


def _single(number: float) -> float:
    return float(np.float32(number))


class Umbral(Section):
    """``umbral`` written out; equal ``min`` and ``max`` are a fixed one."""

    min: float = key(
        f"{_NUMBER}, not above max",
        "The umbral does not fall below this.",
        UMBRAL_MIN,
        strict=True,
        ge=-FLOAT32_MAX,
        le=FLOAT32_MAX,
    )
    max: float = key(
        f"{_NUMBER}, not below min",
        "The umbral does not rise above this.",
        UMBRAL_MAX,
        strict=True,
        ge=-FLOAT32_MAX,
        le=FLOAT32_MAX,
    )
    inicial: float | None = key(
        "null (0.5, moved between min and max) or a number from min to max",
        "The umbral of the first tick of a new world.",
        None,
        strict=True,
        ge=-FLOAT32_MAX,
        le=FLOAT32_MAX,
    )

    @classmethod
    def fixed(cls, number: float) -> Umbral:
        """An umbral that does not move; an infinite one is none of the numbers a file may have."""
        return cls.model_construct(min=number, max=number, inicial=None)

    @property
    def limits(self) -> Limits:
        """What the kernels take."""
        least, most = _single(self.min), _single(self.max)
        first = UMBRAL_FIRST if self.inicial is None else _single(self.inicial)
        return Limits(least, most, min(max(first, least), most))


def limits_of(value: Any) -> Limits:
    """The limits of an ``umbral`` as a file has it, which is known to be a right one."""
    spelled = _spelled(value)
    return (spelled if isinstance(spelled, Umbral) else Umbral.model_validate(spelled)).limits


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_limit(value: object) -> bool:
    """Whether it is a number that an umbral may have as a limit."""
    return isinstance(value, int | float) and _is_number(value) and abs(value) <= FLOAT32_MAX


def _spelled(value: Any) -> Any:
    if isinstance(value, str) and value in (ALWAYS, NEVER):
        return Umbral.fixed(-math.inf if value == ALWAYS else math.inf)
    if is_limit(value):
        return Umbral.fixed(float(value))
    return value


def _written(umbral: Umbral) -> Any:
    """As a file has it."""
    if umbral.min != umbral.max:
        return umbral.model_dump(exclude_none=True)
    if math.isinf(umbral.min):
        return ALWAYS if umbral.min < 0 else NEVER
    return umbral.min


def as_written(limits: Limits) -> Any:
    """Between what it moves, or where it stands, as JSON data."""
    one = Umbral.model_construct(min=limits.least, max=limits.most, inicial=None)
    return _written(one)


UmbralKey = Annotated[
    Umbral,
    BeforeValidator(_spelled, json_schema_input_type=Umbral | float | Literal["siempre", "nunca"]),
    PlainSerializer(_written),
]


def umbral_faults(raw: Any, place: tuple[str | int, ...], where: str) -> Iterator[Fault]:
    """What is wrong between the keys of an ``umbral`` as it is written."""
    if not isinstance(raw, Mapping):
        return
    given = {"min": raw.get("min", UMBRAL_MIN), "max": raw.get("max", UMBRAL_MAX)}
    if not all(_is_number(value) for value in given.values()):
        return
    least, most = given["min"], given["max"]
    if least > most:
        name = "min" if "min" in raw else "max"
        allowed = f"at most max, which is {most}" if name == "min" else f"at least min, {least}"
        yield Fault(f"{where}.{name}", found_text(raw[name], (*place, name)), allowed)
        return
    first = raw.get("inicial")
    if first is not None and _is_number(first) and not least <= first <= most:
        found = found_text(first, (*place, "inicial"))
        yield Fault(f"{where}.inicial", found, f"a number from min to max, {least} to {most}")
