"""What a tick leaves is read as it left it, and settled once, in every interleaving."""

from __future__ import annotations

import pytest

from tests.model.explore import explore
from tests.model.posts import MUTANTS, Posts

OWNERS = (0, 1, 1)


def test_no_kill_does_harm() -> None:
    found = explore(Posts(3, OWNERS))
    assert found.fault is None, found.told()
    assert found.states > 1000
    assert found.finished


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    found = explore(Posts(3, OWNERS, mutant))
    assert found.fault is not None
    assert "reads" in found.fault or "twice" in found.fault, found.told()
