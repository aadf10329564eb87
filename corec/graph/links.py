"""A graph as compressed rows in one stretch of memory that nobody writes once it is made.

It is derived from the configuration (``source``), like machine code: whoever starts processes
makes it before the fork, and they all read the same pages. So it is in no segment, checkpoint or
adoption; what it was made of is in the fingerprint. The bytes::

    head    i64[8]      entities, links, and byte offsets of starts, who and weight (0: none)
    starts  i64[n + 1]  links of entity i are starts[i] … starts[i + 1] − 1
    who     u32[links]  the other end, counted from the first entity of the swarm; ascending
    weight  f32[links]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shm.layout import Counted

HEAD_WORDS: Final = 8
_h = Counted()
H_ENTITIES: Final = _h()
H_LINKS: Final = _h()
H_STARTS: Final = _h()
H_WHO: Final = _h()
H_WEIGHT: Final = _h()
_ALIGN: Final = 64


class Doubled(ValueError):
    """An edge is there twice, and each has a weight; ``row`` counts edges from 0."""

    def __init__(self, row: int, first: int) -> None:
        self.row, self.first = row, first
        super().__init__(f"edge {row} is edge {first} once more")


@dataclass(frozen=True)
class Links:
    """``memory`` is u8[…] as drawn above; the rest are views of it."""

    memory: NDArray[np.uint8]
    starts: NDArray[np.int64]
    who: NDArray[np.uint32]
    weight: NDArray[np.float32] | None

    @property
    def count(self) -> int:
        """How many links: of an undirected graph two for each edge."""
        return int(self.who.size)

    def of(self, entity: int) -> NDArray[np.uint32]:
        """The neighbours of one, in ascending order."""
        return self.who[int(self.starts[entity]) : int(self.starts[entity + 1])]

    def weights_of(self, entity: int) -> NDArray[np.float32] | None:
        """The weights of its links, in the same order."""
        between = slice(int(self.starts[entity]), int(self.starts[entity + 1]))
        return None if self.weight is None else self.weight[between]


def links_of(
    n: int, source: NDArray[np.int64], target: NDArray[np.int64],
    weight: NDArray[np.float32] | None, directed: bool,
) -> Links:  # fmt: skip
    """The graph of ``n`` entities with these edges; one that is there twice is one link.

    Raises:
        Doubled: one is there twice, and edges have weights.
    """
    edges = source.size
    if not directed:
        source, target = np.concatenate((source, target)), np.concatenate((target, source))
        weight = None if weight is None else np.concatenate((weight, weight))
    keys = source.astype(np.uint64) * np.uint64(n) + target.astype(np.uint64)
    if weight is None:
        keys.sort()
        keys = keys[np.append(True, keys[1:] != keys[:-1])] if keys.size else keys
    else:
        order = np.argsort(keys, kind="stable")
        keys, weight = keys[order], weight[order]
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if twice.size:
            rows = order[[twice, twice + 1]] % edges  # both directions of an edge are one row
            worst = int(np.argmin(rows.max(axis=0)))
            raise Doubled(int(rows[:, worst].max()), int(rows[:, worst].min()))
    return _laid_out(n, keys, weight)


def _laid_out(n: int, keys: NDArray[Any], weight: NDArray[np.float32] | None) -> Links:
    count = int(keys.size)
    starts_at = HEAD_WORDS * 8
    who_at = _up(starts_at + (n + 1) * 8)
    weight_at = _up(who_at + count * 4)
    size = _up(weight_at + (count * 4 if weight is not None else 0))
    memory = np.zeros(size + _ALIGN, np.uint8)
    skip = -int(memory.ctypes.data) % _ALIGN
    memory = memory[skip : skip + size]
    head = memory[: HEAD_WORDS * 8].view(np.int64)
    head[[H_ENTITIES, H_LINKS, H_STARTS, H_WHO]] = n, count, starts_at, who_at
    starts = memory[starts_at : starts_at + (n + 1) * 8].view(np.int64)
    who = memory[who_at : who_at + count * 4].view(np.uint32)
    source = keys // np.uint64(n)
    np.cumsum(np.bincount(source.astype(np.int64), minlength=n), out=starts[1:])
    who[:] = keys - source * np.uint64(n)
    weights = None
    if weight is not None:
        head[H_WEIGHT] = weight_at
        weights = memory[weight_at : weight_at + count * 4].view(np.float32)
        weights[:] = weight
    views: list[NDArray[Any]] = [memory, starts, who]
    for each in [*views, *([weights] if weights is not None else [])]:
        each.flags.writeable = False
    return Links(memory, starts, who, weights)


def _up(size: int) -> int:
    return size + -size % _ALIGN
