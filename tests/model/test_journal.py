"""No kill and no loss of the machine makes a tick run otherwise than what is out; mutants do."""

from __future__ import annotations

import pytest

from tests.model.explore import explore
from tests.model.journal import MUTANTS, Journal

TICKS, ENTRIES, LOSSES = 3, 2, 1


def test_no_loss_changes_what_is_out() -> None:
    found = explore(Journal(TICKS, ENTRIES, LOSSES))
    assert found.fault is None, found.told()
    assert found.states > 1000
    assert found.finished


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    found = explore(Journal(TICKS, ENTRIES, LOSSES, mutant))
    assert found.fault is not None
    assert "a sink has it" in found.fault, found.told()
    assert any("machine" in step for step in found.path)
