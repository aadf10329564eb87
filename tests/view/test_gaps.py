"""When a reader of an attached world waits for the gap between two ticks."""

from __future__ import annotations

import pytest

from corec.view.attached import GAP_TIMES_MAX, waits_for_a_gap


@pytest.mark.parametrize(
    ("seconds", "hz", "waits"),
    [
        (0.02, 20.0, True),
        (0.02, 49.0, True),
        (0.02, 50.0, False),  # no gap is as long
        (0.02, 1.0 / (0.02 * GAP_TIMES_MAX), False),  # it seldom meets a tick
        (0.02, 0.0, False),  # flat out
        (0.0, 20.0, False),  # nothing to copy
    ],
)
def test_who_waits_for_a_gap(seconds: float, hz: float, waits: bool) -> None:
    assert waits_for_a_gap(seconds, hz) is waits
