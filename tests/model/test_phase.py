"""Every interleaving of a phase and its kills reads what the last tick left; mutants do not."""

from __future__ import annotations

import pytest

from tests.model.explore import explore
from tests.model.phase import MUTANTS, Phases

OWNERS = (0, 1, 1)


def test_no_kill_does_harm() -> None:
    found = explore(Phases(2, OWNERS))
    assert found.fault is None, found.told()
    assert found.states > 1000
    assert found.finished


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    found = explore(Phases(2, OWNERS, mutant))
    assert found.fault is not None
    assert "reads" in found.fault, found.told()
