"""Random numbers: Random123's known answers, the plain form, and that they look uniform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit, uint64

from corec.kernels.philox import (
    philox4x32,
    philox_reference,
    random_word,
    uniform_reference,
    uniforms,
)

_word: Any = random_word

# kat_vectors of Random123 1.14: philox4x32, 10 rounds: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@njit
def _compiled(counter, key):  # type: ignore[no-untyped-def]  # numba types it
    low = uint64(0xFFFFFFFF)
    a, b, c, d = philox4x32(counter[0], counter[1], counter[2], counter[3], key[0], key[1])
    return a & low, b & low, c & low, d & low


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers_of_the_plain_form(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert philox_reference(counter, key) == expected


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers_of_the_compiled_form(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert _compiled(np.array(counter, np.uint64), np.array(key, np.uint64)) == expected


@pytest.mark.parametrize("first_id", [0, 1, 2, 3, 2**32 - 9])
def test_one_draw_of_many_entities_is_the_plain_draw_of_each(first_id: int) -> None:
    tick, draw, seed = 2**33 + 5, 3, 2**63 + 11
    drawn = uniforms(first_id, 9, tick, draw, seed)
    plain = [uniform_reference(first_id + k, tick, draw, seed) for k in range(9)]
    assert drawn.tolist() == [float(x) for x in plain]
    word = _word(first_id + 4, tick, draw, np.uint64(seed))
    assert np.float32(int(word) >> 8) * np.float32(2.0**-24) == plain[4]


def test_draws_are_uniform_and_independent_of_their_neighbours() -> None:
    count = 1 << 16
    draws = np.array([uniforms(0, count, tick, draw, 42) for tick in (1, 2) for draw in (0, 1)])
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    for sample in draws:
        bins = np.histogram(sample, 64, (0.0, 1.0))[0]
        chi2 = float(((bins - count / 64) ** 2 / (count / 64)).sum())
        assert 20 < chi2 < 130  # 63 degrees of freedom: beyond 1e-6 on either side
    everything = np.vstack([draws, np.roll(draws[0], 1)])
    correlation = np.corrcoef(everything) - np.eye(len(everything))
    assert np.abs(correlation).max() < 5.5 / np.sqrt(count)


def test_another_seed_gives_other_numbers() -> None:
    assert not np.array_equal(uniforms(0, 8, 1, 0, 1), uniforms(0, 8, 1, 0, 2))
    assert not np.array_equal(uniforms(0, 8, 1, 0, 1), uniforms(0, 8, 1, 0, 1 + 2**32))
