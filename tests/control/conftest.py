"""Fixtures for tests of the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.handmade import Running, running


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Running]:
    """A running hand-made instance with a real nucleus, socket and HTTP server."""
    with running(tmp_path) as one:
        yield one
