"""Drawn worlds in the kernels agree with the oracle in every field."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corec.processors.bounds import BOUNDS
from tests.oracle import kernels
from tests.oracle.drawn import Drawn
from tests.oracle.strategies import PARAMS, worlds


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_drawn_worlds_agree_with_the_oracle(drawn: Drawn) -> None:
    kernels.check(drawn)


@settings(max_examples=50, deadline=None, database=None)
@given(st.data())
@pytest.mark.parametrize("name", sorted(PARAMS.keys() & BOUNDS.keys()))
def test_what_is_drawn_for_a_built_in_processor_is_allowed(name: str, data: st.DataObject) -> None:
    """Else a world that begins with it, or whose schedule sets it, is refused."""
    drawn = data.draw(PARAMS[name])
    assert [one for one, value in drawn.items() if not BOUNDS[name][one].hold(value)] == []
