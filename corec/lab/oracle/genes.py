"""Genes at the start, and the words that evolution draws (docs/rules.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from corec.lab.oracle.philox import philox

KEY: Final = 0x65766F6C7563696F
Genes = dict[str, np.float32]


@lru_cache(maxsize=1 << 12)
def _four(seed: int, identity: int, group: int, after: int) -> tuple[int, int, int, int]:
    key = seed ^ KEY
    return philox((identity, group, after % 2**32, after >> 32), (key % 2**32, key >> 32))


def word(seed: int, identity: int, k: int, after: int) -> int:
    """Word ``k`` of an entity after tick ``after``."""
    return _four(seed, identity, k >> 2, after)[k & 3]


def number(w: int) -> np.float32:
    """Uniform in [0, 1)."""
    return np.float32(w >> 8) * np.float32(2.0**-24)


def first_genes(seed: int, identity: int, spec: Mapping[str, Sequence[float]]) -> Genes:
    """The genes of an entity at the start."""
    found = {}
    for k, (name, (low, high, _)) in enumerate(spec.items()):
        a, b = np.float32(low), np.float32(high)
        found[name] = min(a + number(word(seed, identity, k, 0)) * (b - a), b)
    return found
