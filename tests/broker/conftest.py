"""Fixture ``instance``: makes small instances on the session's Valkey and cleans up after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.support import Instance


@pytest.fixture
def instance(shm_dir: Path, valkey_url: str) -> Iterator[Callable[..., Instance]]:
    """A factory: ``instance(lanes=…, epoch=…, maxlen=…)``."""
    made: list[Instance] = []

    def make(url: str = valkey_url, **options: Any) -> Instance:
        made.append(Instance(shm_dir, url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
