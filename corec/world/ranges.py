"""Which worker has which blocks: contiguous ranges of nearly equal numbers of entities. Pure."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from corec.world.plan import Plan


def split_blocks(plan: Plan, workers: int) -> list[tuple[int, int]]:
    """``workers`` ranges (lo, hi) of block indices; some are empty when blocks are few."""
    ends = np.cumsum(plan.blocks["entidades"])
    total = int(ends[-1])
    cuts = [0]
    for k in range(1, workers):
        cut = int(np.searchsorted(ends, total * k / workers, side="left")) + 1
        cuts.append(min(max(cut, cuts[-1]), plan.n_blocks))
    cuts.append(plan.n_blocks)
    return list(pairwise(cuts))
