"""The waiting times between attempts, whoever tries again."""

from __future__ import annotations

import pytest

from corec.process.backoff import FIRST_SECONDS, MOST_SECONDS, Backoff


@pytest.mark.parametrize("first", [0.0002, FIRST_SECONDS])
@pytest.mark.parametrize("most", [FIRST_SECONDS, 2.0, MOST_SECONDS])
def test_it_doubles_to_its_limit_and_starts_again(first: float, most: float) -> None:
    backoff = Backoff(1, most, first)
    wanted = first
    for _ in range(20):
        assert wanted / 2 <= backoff.next_seconds() <= wanted
        wanted = min(most, 2 * wanted)
    assert wanted == most
    backoff.reset()
    assert backoff.next_seconds() <= first


def test_two_who_fail_together_do_not_try_together() -> None:
    assert Backoff(1).next_seconds() != Backoff(2).next_seconds()
