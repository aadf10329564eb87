"""Genes: heritable numbers of an entity, which its processor reads and never writes: drawn at the
start, then made by evolution, or a mother's in her child."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from corec.entities.errors import ProcessorError


@dataclass(frozen=True)
class Gene:
    """One gene: float32 from ``low`` to ``high``, both among them; a mutation is normal around it
    with the deviation ``sigma``. All three are rounded to float32."""

    name: str
    low: float
    high: float
    sigma: float


def declared_genes(genes: Any, owner: str) -> tuple[Gene, ...]:
    """The genes of ``{"phi": (low, high, sigma)}``. Raises ProcessorError."""
    if not isinstance(genes, Mapping):
        raise ProcessorError(f"{owner}: genes is a {type(genes).__name__}, allowed a dict")
    return tuple(_gene(str(name), spec, owner) for name, spec in genes.items())


def _gene(name: str, spec: Any, owner: str) -> Gene:
    allowed = (
        "allowed (low, high, sigma), these and high - low finite as float32, low ≤ high, sigma ≥ 0"
    )
    try:
        given = tuple(spec)
        if not all(isinstance(one, Real) and not isinstance(one, bool) for one in given):
            raise TypeError
        with np.errstate(all="ignore"):
            low, high, sigma = (float(np.float32(one)) + 0.0 for one in given)
            span = float(np.float32(high - low))
    except (TypeError, ValueError, OverflowError):
        raise ProcessorError(f"{owner}: gene {name!r} is {spec!r}, {allowed}") from None
    if not all(map(math.isfinite, (low, high, sigma, span))) or low > high or sigma < 0.0:
        raise ProcessorError(f"{owner}: gene {name!r} is {spec!r}, {allowed}")
    return Gene(name, low, high, sigma)


def declared_fitness(fitness: Any, fields: Mapping[str, Any], genes: Any, owner: str) -> str:
    """The state field that is the fitness, or ``valor``. Raises ProcessorError."""
    if fitness is None:
        return "valor"
    if not genes:
        raise ProcessorError(f"{owner}: fitness={fitness!r} without genes, allowed beside genes")
    if fitness != "valor" and fitness not in fields:
        names = ", ".join(["valor", *fields])
        raise ProcessorError(f"{owner}: fitness={fitness!r}, allowed one of {names}")
    return str(fitness)
