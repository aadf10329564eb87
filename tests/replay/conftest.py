"""Fixtures of the replay tests: a Valkey of the test's own, and a port nobody listens on."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replay.support import Server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's name is limited to 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="replay-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    own = Server(folder)
    yield own
    own.kill()


@pytest.fixture
def durable_server(folder: Path) -> Iterator[Server]:
    own = Server(folder, "--appendonly", "yes", "--appendfsync", "always")
    yield own
    own.kill()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
