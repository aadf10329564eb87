"""Whose turn it is: the draws of each, as the plain generator makes them, in order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from corec.kernels.philox import word_reference
from corec.kernels.turns import LAST_DRAW, by_turn

SEED, TICK = 2**63 + 11, 2**40 + 7


def in_plain_python(places: NDArray[np.int64], origin: int) -> list[int]:
    """The indices of ``places``, by the draw of each and by its index."""

    def turn(k: int) -> tuple[int, int]:
        return word_reference(origin + int(places[k]), TICK, int(LAST_DRAW), SEED), k

    return sorted(range(places.size), key=turn)


@pytest.mark.parametrize("origin", [0, 1, 2, 3, 4097])
@pytest.mark.parametrize(
    "places", [[], [0], [3], [0, 1, 2, 3, 4, 5], [5, 9, 1_000_000], [7, 4_000_000_000]], ids=len
)
def test_turns_are_the_draws_of_each(places: list[int], origin: int) -> None:
    given = np.array(places, np.int64)
    turns = by_turn(given, origin, TICK, np.uint64(SEED), given.size)
    assert turns.tolist() == in_plain_python(given, origin)


@pytest.mark.parametrize("share", [0.05, 0.6])
def test_many_have_theirs_too_wherever_their_draws_come_from(share: float) -> None:
    """Below one in eight each draw is made by itself, above all of the range at once."""
    given = np.flatnonzero(np.random.default_rng(2).random(3000) < share)
    wanted = in_plain_python(given, 3)
    for count in (given.size, given.size // 2 - 1, 70, 1, 0):
        assert by_turn(given, 3, TICK, np.uint64(SEED), count).tolist() == wanted[:count]
