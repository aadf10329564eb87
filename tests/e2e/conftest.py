"""Whole instances against the session's real servers, or with embedded ones."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import REPO, Instance, small_config

Make = Callable[..., Instance]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything these tests run is compiled, so that no deadline has to allow for that.

    By one of the processes of pytest: the others wait for it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # theirs together
    path = folder / "compiled.json"
    with open(folder / "compiled.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        new = path.with_suffix(".new")
        new.write_text(json.dumps(small_config()))
        subprocess.run([sys.executable, "-m", "corec.cli.warm", str(new)], cwd=REPO, check=True)
        new.rename(path)


def _about_the_start(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("fresh_interpreter") is not None


@contextmanager
def _making(
    folder: Path, shm_dir: Path, fresh_interpreter: bool = False, /, **urls: str
) -> Iterator[Make]:
    made: list[Instance] = []

    def make_one(config: Mapping[str, Any] | None = None, *, name: str = "home") -> Instance:
        base = shm_dir / f"run-{name}"
        made.append(Instance(folder / name, base, config or small_config(), **urls))
        made[-1].fresh_interpreter = fresh_interpreter
        return made[-1]

    try:
        yield make_one
        running = [str(one.home) for one in made if one.processes()]
        assert not running, f"still running at the end of the test: {running}"
        for one in made:
            one.assert_clean()
    finally:
        for one in made:
            one.kill()


@pytest.fixture
def make(
    request: pytest.FixtureRequest, tmp_path: Path, shm_dir: Path, pg_dsn: str, valkey_url: str,
    compiled: None,
) -> Iterator[Make]:  # fmt: skip
    """``make(config, name=…)``: an instance on the session's servers.

    Fails the test when one still runs at its end or has left anything behind.
    """
    fresh = _about_the_start(request)
    urls = {"db_url": pg_dsn, "redis_url": valkey_url}
    with _making(tmp_path, shm_dir, fresh, **urls) as make_one:
        yield make_one


@pytest.fixture
def make_embedded(
    request: pytest.FixtureRequest, tmp_path: Path, shm_dir: Path, compiled: None
) -> Iterator[Make]:
    """The same with a PostgreSQL and a Valkey of the instance's own."""
    fresh = _about_the_start(request)
    with _making(tmp_path, shm_dir, fresh) as make_one:
        yield make_one
