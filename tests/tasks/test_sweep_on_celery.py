"""A sweep on Celery's workers: the table is that of a sweep here, whatever was killed or lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import corec
from corec.embedded import EmbeddedValkey
from corec.lab.chaos.celery_worker import CeleryWorker
from corec.view.making import RunFailed
from corec.view.sweep import sweep
from tests.support.instance import REPO
from tests.support.processes import wait_until
from tests.view.test_sweep import same
from tests.view.test_world import town

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
NAME = "sweeps"
QUEUE = f"corec.{NAME}"
POISON = '''"""Whoever imports it on a worker dies."""

import os

import corec

if "A_WORKER" in os.environ:
    os._exit(3)


@corec.micro
def poison(me):
    return 0.0
'''


def worker(url: str, folder: Path) -> CeleryWorker:
    """One with two processes."""
    environment = {**os.environ, "COREC_REDIS_URL": url, "COREC_INSTANCE": NAME,
                   "PYTHONPATH": str(REPO), "A_WORKER": "1"}  # fmt: skip
    return CeleryWorker(environment, folder, 2)


@pytest.fixture(scope="module")
def server(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that may be killed."""
    found = EmbeddedValkey(servers_dir / "sweeps", servers_dir / "sweeps-run")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def project(
    tmp_path: Path, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, str]]:
    """A folder with a configuration, and the Redis to be used."""
    pytest.importorskip("celery")
    monkeypatch.setenv("COREC_REDIS_URL", server.url)
    monkeypatch.setenv("COREC_INSTANCE", NAME)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "poisonous.py").write_text(POISON)
    (tmp_path / "town.json").write_text(json.dumps({"instance_id": "town", **town()}))
    yield tmp_path, server.url
    with redis.Redis.from_url(server.url) as client:
        forget(client)


def forget(client: redis.Redis) -> None:
    """All that Redis knows of the sweep, as if it came back without its last writes."""
    keys = list(client.scan_iter(f"corec:{{{NAME}}}:*"))
    client.delete(QUEUE, "unacked", "unacked_index", *keys)


def wanted(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"config": folder / "town.json", "over": {"town.beta": [0.1, 0.9]}, "seeds": 6,
            "ticks": 1500, "collect": {"town": ["mean(fase != 0)", "std(valor)"]}, "every": 500,
            "path": folder / "runs", **changes}  # fmt: skip


PROGRAM = """
import corec
from pathlib import Path, PosixPath
corec.sweep(on="celery", **{words!r})
"""


def test_whatever_is_killed(project: tuple[Path, str], server: EmbeddedValkey) -> None:
    """Its worker, who asks for it, the broker, which comes back as it was, then without all it
    had."""
    folder, url = project
    kept = folder / "runs"

    def finished(least: int) -> Callable[[], bool]:
        return lambda: kept.exists() and kept.read_bytes().count(b"\n") > least

    with redis.Redis.from_url(url) as client:
        text = PROGRAM.format(words=wanted(folder))
        with subprocess.Popen([sys.executable, "-c", text], cwd=REPO) as program:
            with worker(url, folder):
                wait_until(finished(2), "some runs", 90.0)
            client.ping()
            with worker(url, folder):
                wait_until(finished(4), "and more, by another worker", 90.0)
                program.kill()
        assert kept.read_bytes().count(b"\n") < 13
        with (
            worker(url, folder),
            subprocess.Popen([sys.executable, "-c", text], cwd=REPO) as program,
        ):
            wait_until(finished(5), "the broker can go", 90.0)
            server.restart(immediate=True)
            wait_until(finished(7), "some more, with what it kept", 90.0)
            forget(client)
            assert program.wait(120.0) == 0
    found = sweep(on="celery", processes=4, **wanted(folder))
    numbers = [json.loads(line)["run"] for line in kept.read_text().splitlines()[1:]]
    assert sorted(numbers) == list(range(12)), "each once"
    assert same(found, corec.sweep(**wanted(folder, path=None)))
    assert np.isfinite(found["town.std(valor)"]).all()


def test_a_run_that_kills_its_workers_is_named(project: tuple[Path, str]) -> None:
    folder, url = project
    config = json.loads((folder / "town.json").read_text())
    config["bloques"][0].update(procesador="poisonous:poison", parametros={})
    (folder / "town.json").write_text(json.dumps(config))
    words = wanted(folder, over={"carga": [1.0]}, seeds=1, ticks=1, path=None)
    words["collect"] = {"town": ["mean(valor)"]}
    with worker(url, folder), pytest.raises(RunFailed, match="run 0: 3 workers died"):
        sweep(on="celery", **words)


def test_what_a_worker_can_not_have(project: tuple[Path, str]) -> None:
    folder, _ = project

    @corec.micro
    def here(me: Any) -> Any:
        return me.valor

    words = wanted(folder, config=town(procesador=here, parametros={}), over={"carga": [1.0]})
    with pytest.raises(ValueError, match="found a processor itself, expected its name"):
        sweep(on="celery", **{**words, "collect": {"town": ["mean(valor)"]}})
    with pytest.raises(ValueError, match="on: found 'else'"):
        sweep(on="else", **wanted(folder))  # type: ignore[arg-type]  # what the test is about
