"""Drawn worlds in the kernels agree with the oracle in every field."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.oracle import kernels
from tests.oracle.drawn import Drawn
from tests.oracle.strategies import worlds


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_drawn_worlds_agree_with_the_oracle(drawn: Drawn) -> None:
    kernels.check(drawn)
