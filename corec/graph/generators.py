"""Random graphs whose edges are the same on every machine and in every version.

Only the raw words of NumPy's Philox are used, whose stream NumPy promises to keep, and arithmetic
that IEEE 754 rounds in one way: the logarithm is a series of its own. The words of a graph are
those of key ``seed`` from the first on, in the order in which the functions below take them.

    erdos_renyi(p)        each pair with probability p (Gilbert 1959), by the gaps between edges
                          (Batagelj and Brandes, *Phys. Rev. E* 71, 2005)
                          of a directed graph each pair in each of its two orders
    watts_strogatz(k, p)  a ring of k neighbours each (of an odd k: k − 1), every edge's end moved
                          with probability p (*Nature* 393, 1998), never to itself or to where an
                          edge is
    barabasi_albert(m)    m edges of each new entity to ends of edges before (*Science* 286, 1999);
                          an edge to itself or to where one is, is left out (Batagelj and Brandes)
    complete              all pairs, of a directed graph in both orders
    ring, cycle           each with the one before and the one behind; directed, to that alone
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ends = NDArray[np.int64]
Edges = tuple[Ends, Ends]
_ROUNDS_MAX: Final = 1000
_TERMS: Final = 12


class Words:
    """Numbers out of Philox4x64-10 of one key."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed % (1 << 64))

    def uniform(self, count: int) -> NDArray[np.float64]:
        """In [0, 1), multiples of 2⁻⁵³."""
        words: NDArray[np.uint64] = self._bits.random_raw(count)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: Any, count: int) -> Ends:
        """Whole numbers from 0 to ``limit`` − 1, a number or one for each, at most 2⁵³."""
        found: Ends = (self.uniform(count) * limit).astype(np.int64)
        return found


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive numbers, within a few ulp, the same bits everywhere."""
    fraction, exponent = np.frexp(x)
    low = fraction < 0.7071067811865476
    fraction, exponent = np.where(low, 2.0 * fraction, fraction), exponent - low
    s = (fraction - 1.0) / (fraction + 1.0)
    square, total = s * s, np.zeros_like(s)
    for k in range(_TERMS, -1, -1):
        total = total * square + 1.0 / (2 * k + 1)
    found: NDArray[np.float64] = exponent * 0.6931471805599453 + 2.0 * s * total
    return found


def erdos_renyi(n: int, words: Words, p: float, directed: bool = False) -> Edges:
    """Each of the n(n − 1)/2 pairs is an edge with probability ``p``; of a ``directed`` graph each
    of the n(n − 1) in which order counts."""
    pairs = n * (n - 1) if directed else n * (n - 1) // 2
    if p <= 0.0 or pairs == 0:
        return _none()
    if p >= 1.0:
        return _pair_of(np.arange(pairs, dtype=np.int64), n, directed)
    least = float(log(np.array([1.0 - p]))[0]) or -p  # 1 − p is 1: the logarithm is −p, then
    found, at = [], -1
    while at < pairs:
        expected = p * (pairs - at)
        count = int(expected + 6.0 * expected**0.5) + 64
        with np.errstate(over="ignore"):  # a gap beyond all numbers is one beyond all pairs
            gaps = np.minimum(log(1.0 - words.uniform(count)) / least, float(pairs))
        places = at + np.cumsum(gaps.astype(np.int64) + 1)
        found.append(places[places < pairs])
        at = int(places[-1])
    return _pair_of(np.concatenate(found), n, directed)


def _none() -> Edges:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _pair_of(place: Ends, n: int, directed: bool) -> Edges:
    """Pair number ``place`` of (1, 0), (2, 0), (2, 1), (3, 0), …, or, where order counts, of
    (0, 1), (0, 2), …, (0, n − 1), (1, 0), (1, 2), …"""
    if directed:
        source, other = np.divmod(place, max(n - 1, 1))
        return source, other + (other >= source)
    high = ((1.0 + np.sqrt(1.0 + 8.0 * place)) / 2.0).astype(np.int64)
    high -= high * (high - 1) // 2 > place  # the root was rounded
    high += (high + 1) * high // 2 <= place
    return high, place - high * (high - 1) // 2


def watts_strogatz(n: int, words: Words, k: int, p: float) -> Edges:
    """A ring of ``k`` neighbours, each edge's far end moved with probability ``p``."""
    source = np.repeat(np.arange(n, dtype=np.int64), k // 2)
    target = (source + np.tile(np.arange(1, k // 2 + 1, dtype=np.int64), n)) % n
    moved = words.uniform(source.size) < p
    pending = np.flatnonzero(moved)
    taken = np.sort(_key(n, source[~moved], target[~moved]))
    for _ in range(_ROUNDS_MAX):
        if pending.size == 0:
            break
        ends = words.below(n, pending.size)
        keys = _key(n, source[pending], ends)
        near = np.minimum(np.searchsorted(taken, keys), max(taken.size - 1, 0))
        there = taken[near] == keys if taken.size else np.zeros(keys.size, bool)
        first = np.zeros(keys.size, bool)
        first[np.unique(keys, return_index=True)[1]] = True
        good = first & ~there & (ends != source[pending])
        target[pending[good]] = ends[good]
        taken = np.sort(np.concatenate((taken, keys[good])), kind="stable")
        pending = pending[~good]
    return source, target  # one that found no place in a full graph is where it was


def _key(n: int, a: Ends, b: Ends) -> Ends:
    return np.minimum(a, b) * n + np.maximum(a, b)


def barabasi_albert(n: int, words: Words, m: int) -> Edges:
    """``m`` edges of each entity, to the ends of edges before: often to those with many.

    Ends stand in one list, edge e's at 2e (the new entity) and 2e + 1 (a copy of an entry drawn
    from those before it, itself included). What a copy copies is followed until it is a new one's.
    """
    edges = n * m
    source = np.repeat(np.arange(n, dtype=np.int64), m)
    drawn = words.below(2 * np.arange(edges, dtype=np.int64) + 1, edges)
    place = drawn.copy()
    copies = np.flatnonzero(place & 1)
    while copies.size:
        place[copies] = drawn[place[copies] >> 1]
        copies = copies[(place[copies] & 1) == 1]
    target = source[place >> 1]
    return source[source != target], target[source != target]


def generated(n: int, edges: Mapping[str, Any], seed: int, directed: bool = False) -> Edges:
    """The edges of ``{"generator": …}``, checked (``corec.config.space_faults``)."""
    words = Words(int(edges.get("seed", seed)))
    if edges["generator"] == "erdos_renyi":
        return erdos_renyi(n, words, float(edges["p"]), directed)
    if edges["generator"] == "complete":
        return erdos_renyi(n, words, 1.0, directed)
    if edges["generator"] in ("ring", "cycle"):
        first = np.arange(n if n > 1 else 0, dtype=np.int64)
        return first, (first + 1) % n
    if edges["generator"] == "watts_strogatz":
        return watts_strogatz(n, words, int(edges["k"]), float(edges["p"]))
    return barabasi_albert(n, words, int(edges["m"]))
