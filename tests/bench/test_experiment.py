"""The experiment of the documents: the runs beside the equation, and the figure."""

from __future__ import annotations

import numpy as np
import pytest

from corec.lab.bench import experiment
from corec.lab.bench.experiment import COLUMN, RATES, SEEDS, expected, r0_of
from tests.docs.documents import ROOT, blocks

DOCUMENT = ROOT / "docs" / "experiments.md"
FIGURE = ROOT / "docs" / "experiments" / "threshold.svg"


@pytest.mark.slow
def test_what_is_drawn_is_what_theory_says() -> None:
    table = experiment.runs()
    assert len(table) == len(RATES) * SEEDS
    for beta in RATES:
        r0 = r0_of(beta)
        ill = table[COLUMN][np.isclose(table["towns.beta"], beta)]
        assert len(ill) == SEEDS
        assert ill.mean() == pytest.approx(expected(r0), abs=0.04)
    assert experiment.drawn(table) == FIGURE.read_text(encoding="utf-8")


def test_the_document_asks_the_same() -> None:
    (block,) = blocks(DOCUMENT, "python")
    assert f"RATES = {list(RATES)}" in block.text
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 20
    assert "(experiments/threshold.svg)" in DOCUMENT.read_text(encoding="utf-8")
