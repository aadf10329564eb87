"""Every line that a seeded defect or mutant replaces is still there, once."""

from __future__ import annotations

import pytest

from benchmarks.defects import DEFECTS
from tests.support.altered import AnchorMissing, Change, changed, missing


def test_every_seeded_defect_can_be_put_in() -> None:
    assert missing(change for defect in DEFECTS for change in defect.changes) == []


@pytest.mark.parametrize("text", ["another line", "a line, and a line"])
def test_a_line_that_is_not_there_once_is_an_error(text: str) -> None:
    with pytest.raises(AnchorMissing, match="expected one"):
        changed(Change("file.py", "a line", "its mutant"), text)
