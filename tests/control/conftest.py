"""Fixtures for tests of the control plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.handmade import Running, running


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running hand-made instance with a real nucleus, socket and HTTP server."""
    # not tmp_path: it has the test's name in it, and a socket's path is limited
    with running(tmp_path_factory.mktemp("one")) as one:
        yield one
