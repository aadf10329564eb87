"""Models beside Mesa's of the same rules: how they end, over seeds (``corec.lab.bench.outcomes``,
which takes more seeds as a command). Needs the extra ``bench``."""

from __future__ import annotations

import numpy as np
import pytest

from corec.lab.bench import outcomes
from corec.lab.bench.meeting import CASES, Case
from corec.lab.bench.outcomes import BY_NAME, MODELS

SEEDS = {"schelling": 40, "forest_fire": 40, "sir_graph": 40, "boids": 8, "wolf_sheep": 16}


@pytest.fixture(scope="module")
def mesa() -> None:
    pytest.importorskip("mesa", "3.3", reason="Mesa 3.3 or later: pip install 'corec[bench]'")


@pytest.mark.slow
@pytest.mark.usefixtures("mesa")
@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_it_ends_as_mesas_does(name: str) -> None:
    for check in outcomes.checks(BY_NAME[name], SEEDS[name]):
        assert check.ok, f"{check.what}: {check.detail}"


@pytest.mark.slow
@pytest.mark.usefixtures("mesa")
@pytest.mark.parametrize(
    ("name", "other"), [("sir_graph", {"beta": 0.075}), ("schelling", {"wanted": 0.4})]
)
def test_one_of_other_rules_is_told_apart(name: str, other: dict[str, float]) -> None:
    found = outcomes.checks(BY_NAME[name], SEEDS[name], "Mesa", **other)
    assert not all(check.ok for check in found)


def test_what_is_alike_and_what_is_not() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=100), rng.normal(size=100)
    assert outcomes.alike("a", one, two).ok
    assert not outcomes.alike("another mean", one, two + 1.0).ok
    assert not outcomes.alike("another spread", one, 20.0 * two).ok
    assert outcomes.apart(one, one) == 0.0
    assert outcomes.apart(one, one + 100.0) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CASES if c.name in ("schelling", "sir_graph")],
                         ids=lambda case: case.name)  # fmt: skip
def test_what_is_measured_beside_it_in_numpy_is_the_same_model(case: Case) -> None:
    model = BY_NAME[case.name]._replace(rival=case.numpy)
    for check in outcomes.checks(model, SEEDS[case.name], "NumPy"):
        assert check.ok, f"{check.what}: {check.detail}"
