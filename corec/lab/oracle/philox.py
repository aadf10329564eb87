"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).

Held against Random123's known answers by ``tests/oracle/test_philox.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
WEYL: Final = (0x9E3779B9, 0xBB67AE85)
WORD: Final = 0xFFFFFFFF
Words = tuple[int, int, int, int]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Four 32-bit words for a counter of four and a key of two."""
    a, b, c, d = counter
    first, second = key
    for _ in range(ROUNDS):
        left, right = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = right >> 32 ^ b ^ first, right & WORD, left >> 32 ^ d ^ second, left & WORD
        first, second = (first + WEYL[0]) & WORD, (second + WEYL[1]) & WORD
    return a, b, c, d


@lru_cache(maxsize=1 << 16)
def four_neighbours(seed: int, group: int, tick: int, draw: int) -> Words:
    """The words of draw number ``draw`` for the entities 4 · group … 4 · group + 3."""
    return philox((group, draw, tick & WORD, tick >> 32), (seed & WORD, seed >> 32))


def word(seed: int, entity: int, tick: int, draw: int) -> int:
    """Word number ``draw`` (from 0) of an entity at a tick: 32 bits."""
    return four_neighbours(seed, entity // 4, tick, draw)[entity % 4]


def uniform(seed: int, entity: int, tick: int, draw: int) -> np.float32:
    """Draw number ``draw`` (from 0) of an entity at a tick: 24 bits of its word, over 2²⁴."""
    return np.float32(word(seed, entity, tick, draw) >> 8) * np.float32(2.0**-24)
