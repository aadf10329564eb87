"""Graphs: who is linked with whom, and the edges that a generator makes (docs/rules.md).

Philox4x64-10 (Salmon, Moraes, Dror, Shaw, SC'11) is this file's own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL: Final = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
WORD: Final = 2**64 - 1
TERMS: Final = 12
TRIES_MAX: Final = 1000
Edge = tuple[int, int]


def philox(counter: int, key: int) -> tuple[int, int, int, int]:
    """Four 64-bit words for a counter of 256 bits and a key of 64."""
    a, b, c, d = (counter >> 64 * k & WORD for k in range(4))
    first, second = key, 0
    for _ in range(ROUNDS):
        left, right = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = right >> 64 ^ b ^ first, right & WORD, left >> 64 ^ d ^ second, left & WORD
        first, second = (first + WEYL[0]) & WORD, (second + WEYL[1]) & WORD
    return a, b, c, d


def numbers(seed: int) -> Iterator[float]:
    """Uniform in [0, 1), one after the other."""
    for counter in itertools.count(1):
        for word in philox(counter, seed % 2**64):
            yield (word >> 11) * 2.0**-53


def log(x: float) -> float:
    """The series of docs/rules.md."""
    fraction, exponent = math.frexp(x)
    if fraction < 0.7071067811865476:
        fraction, exponent = 2.0 * fraction, exponent - 1
    s = (fraction - 1.0) / (fraction + 1.0)
    total = 0.0
    for k in range(TERMS, -1, -1):
        total = total * (s * s) + 1.0 / (2 * k + 1)
    return exponent * 0.6931471805599453 + 2.0 * s * total


def erdos_renyi(n: int, draws: Iterator[float], p: float, directed: bool) -> list[Edge]:
    """Pairs with gaps between them."""
    pairs = all_pairs(n, directed)
    if p >= 1.0:
        return pairs
    found, at = [], -1
    while p > 0.0 and pairs:
        gap = log(1.0 - next(draws)) / log(1.0 - p)
        at += math.floor(min(gap, len(pairs))) + 1
        if at >= len(pairs):
            break
        found.append(pairs[at])
    return found


def all_pairs(n: int, directed: bool) -> list[Edge]:
    """In the order in which they are counted."""
    if directed:
        return list(itertools.permutations(range(n), 2))
    return [(high, low) for high in range(1, n) for low in range(high)]


def watts_strogatz(n: int, draws: Iterator[float], k: int, p: float) -> list[Edge]:
    """A ring, some of whose edges end elsewhere."""
    edges = [(i, (i + step) % n) for i in range(n) for step in range(1, k // 2 + 1)]
    moved = [next(draws) < p for _ in edges]
    there = {frozenset(edge) for edge, moves in zip(edges, moved, strict=True) if not moves}
    waiting = [number for number, moves in enumerate(moved) if moves]
    for _ in range(TRIES_MAX):
        ends = [math.floor(next(draws) * n) for _ in waiting]
        later = []
        for number, end in zip(waiting, ends, strict=True):
            begin = edges[number][0]
            pair = frozenset((begin, end))
            if end == begin or pair in there:
                later.append(number)
                continue
            edges[number] = begin, end
            there.add(pair)
        waiting = later
        if not waiting:
            break
    return edges


def barabasi_albert(n: int, draws: Iterator[float], m: int) -> list[Edge]:
    """Each new entity's edges lead to ends of edges before."""
    ends: list[int] = []
    for edge in range(n * m):
        ends.append(edge // m)
        ends.append(ends[math.floor(next(draws) * (2 * edge + 1))])
    return [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if a != b]


def generated(
    n: int, rules: Mapping[str, Any], seed: int, directed: bool = False
) -> list[Edge]:  # fmt: skip
    """The edges of ``{"generator": …}``."""
    draws = numbers(int(rules.get("seed", seed)))
    if rules["generator"] == "erdos_renyi":
        return erdos_renyi(n, draws, float(rules["p"]), directed)
    if rules["generator"] == "watts_strogatz":
        return watts_strogatz(n, draws, int(rules["k"]), float(rules["p"]))
    if rules["generator"] == "barabasi_albert":
        return barabasi_albert(n, draws, int(rules["m"]))
    if rules["generator"] == "complete":
        return all_pairs(n, directed)
    return [(i, (i + 1) % n) for i in range(n) if n > 1]


class Graph:
    """The links of one bloque, whose entities are counted from 0."""

    def __init__(self, n: int, edges: Sequence[Sequence[float]], directed: bool) -> None:
        """``edges``: source, target and, where they have weights, a weight."""
        self._links: list[dict[int, np.float32]] = [{} for _ in range(n)]
        for source, target, *weight in edges:
            a, b, w = int(source), int(target), np.float32(weight[0] if weight else 1.0)
            self._links[a][b] = w
            if not directed:
                self._links[b][a] = w

    def around(self, place: int) -> list[tuple[int, np.float32]]:
        """The other ends of its edges with their weights, in order."""
        return sorted(self._links[place].items(), key=lambda link: link[0])
