"""The oracle's own random numbers: Random123's known answers, and the conversion to float32."""

from __future__ import annotations

import numpy as np
import pytest

from corec.lab.oracle.philox import Words, philox, uniform

# kat_vectors of Random123 1.14: philox4x32, 10 rounds: counter, key, result
KNOWN: list[tuple[Words, tuple[int, int], Words]] = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: Words, key: tuple[int, int], expected: Words) -> None:
    assert philox(counter, key) == expected


def test_the_upper_24_bits_make_the_number() -> None:
    word = philox((0, 0, 0, 0), (0, 0))[2]
    drawn = uniform(0, 2, 0, 0)
    assert type(drawn) is np.float32
    assert float(drawn) == (word >> 8) / 2**24


def test_seed_entity_tick_and_draw_all_count() -> None:
    first = (2**63 + 11, 2**32 - 1, 2**33 + 5, 3)
    others = [tuple(v ^ (k == at) for k, v in enumerate(first)) for at in range(4)]
    assert len({float(uniform(*given)) for given in [first, *others]}) == 5
