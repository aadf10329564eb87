"""Every line that a seeded defect or mutant replaces is still there, once."""

from __future__ import annotations

import pytest

from corec.lab.measure.defects import DEFECTS
from tests.oracle.mutants import MUTANTS
from tests.support.altered import ROOT, AnchorMissing, Change, changed, missing


def test_every_seeded_defect_can_be_put_in() -> None:
    assert missing(change for defect in DEFECTS for change in defect.changes) == []


def test_every_mutant_can_be_made() -> None:
    assert missing(change for mutant in MUTANTS for change in mutant.changes) == []
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_mutant_has_its_row() -> None:
    text = (ROOT / "docs" / "durability.md").read_text("utf-8")
    table = text.split("### Mutants of the rules")[1].split("\n## ")[0]
    rows = table.split("|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    named = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert named == [mutant.name for mutant in MUTANTS]


@pytest.mark.parametrize("text", ["another line", "a line, and a line"])
def test_a_line_that_is_not_there_once_is_an_error(text: str) -> None:
    with pytest.raises(AnchorMissing, match="expected one"):
        changed(Change("file.py", "a line", "its mutant"), text)
