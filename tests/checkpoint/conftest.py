"""Fixtures: a small world, and whole instances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corec.process.runtime import Runtime
from tests.checkpoint.small import world
from tests.e2e.conftest import compiled, make

__all__ = ["compiled", "make"]


@pytest.fixture
def rt(tmp_path: Path, shm_dir: Path) -> Iterator[Runtime]:
    """A small world at tick 0."""
    with world(tmp_path / "state", shm_dir) as made:
        yield made
