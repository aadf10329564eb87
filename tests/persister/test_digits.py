"""Decimal text by compiled code: it reads back as the same bits, and is no longer than it says."""

from __future__ import annotations

import json

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from corec.persister.digits import FLOAT_TEXT_MAX, NUMBER_TEXT_MAX
from tests.persister.written import float_texts, number_texts


def assert_reads_back(values: np.ndarray) -> None:
    texts = float_texts(values)
    assert max(map(len, texts)) <= FLOAT_TEXT_MAX
    found = np.array([json.loads(text) for text in texts], np.float64).astype(np.float32)
    wrong = np.flatnonzero(found.view(np.uint32) != values.view(np.uint32))
    assert not wrong.size, [(values[k], texts[k]) for k in wrong[:5]]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_every_float_reads_back(values: list[float]) -> None:
    assert_reads_back(np.array(values, np.float32))


def test_all_magnitudes_read_back() -> None:
    """A hundred thousand bit patterns, each edge of a power of ten and of two among them."""
    bits = np.arange(0, 0x7F80_0000, 21_001, dtype=np.uint32)
    powers = np.array([float(f"1e{k}") for k in range(-45, 39)], np.float32)
    edges = np.concatenate([powers, 2.0 ** np.arange(-149, 128)]).astype(np.float32)
    near = np.concatenate(
        [edges.view(np.uint32).astype(np.int64) + d for d in range(-3, 4)]
    ).astype(np.uint32)
    patterns = np.concatenate([bits, near[near < 0x7F80_0000]])
    assert_reads_back(patterns.view(np.float32))
    assert_reads_back((patterns | np.uint32(1 << 31)).view(np.float32))


def test_usual_values_are_as_short_as_can_be() -> None:
    """Between 0.1 and 1 the text is as long as orjson's, which writes the shortest."""
    values = np.random.default_rng(5).uniform(0.1, 1.0, 200_000).astype(np.float32)
    values = np.concatenate([values, (np.arange(1, 1000) / 1000).astype(np.float32)])
    values = values[(values >= 0.1) & (values < 1.0)]
    shortest = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")
    assert float_texts(values) == shortest


def test_what_json_has_no_number_for_is_null() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -np.nan], np.float32)
    assert float_texts(values) == ["null"] * 4
    assert float_texts(np.array([0.0, -0.0, 1.0, -20.5], np.float32)) == [
        "0.0", "-0.0", "1.0", "-20.5",
    ]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_every_number(numbers: list[int]) -> None:
    assert number_texts(numbers) == [str(number) for number in numbers]


def test_all_four_digits_and_all_lengths() -> None:
    numbers = [*range(10_000), *(k * 10_000 + 7 for k in range(10_000))]
    numbers += [10**k + d for k in range(1, 20) for d in (-1, 0, 1)] + [2**64 - 1]
    texts = number_texts(np.array(numbers, np.uint64))
    assert texts == [str(number) for number in numbers]
    assert max(map(len, texts)) == NUMBER_TEXT_MAX
