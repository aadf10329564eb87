"""Every test of ``shm``: no descriptor and no child left, and a seed that a failure shows."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.shm.helpers import no_leaks


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    with no_leaks():
        yield


@pytest.fixture
def seed() -> int:
    """From SHM_TEST_SEED, or random; printed, and pytest shows it when the test fails."""
    value = int(os.environ.get("SHM_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"SHM_TEST_SEED={value}")
    return value
