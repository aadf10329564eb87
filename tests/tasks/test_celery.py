"""Tasks that Celery runs: its worker is killed in the middle, a task ends its process, and each
alert is answered once."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from corec.lab.chaos.celery_worker import CeleryWorker
from corec.notices import Notice
from tests.e2e.conftest import compiled, make
from tests.support.instance import REPO, Instance
from tests.support.processes import patient, wait_until
from tests.tasks.test_thermostats import PER_BLOCK, config, ctl, entries, table

__all__ = ["compiled", "make"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SLOW = '''"""Tasks for Celery."""

import os
import pathlib
import threading

import corec

HERE = pathlib.Path(__file__).parent


@corec.task
def answer(notice):
    """Says that it began, and answers; the first one keeps its worker until that is killed."""
    first = not (HERE / "calls").exists()
    with open(HERE / "calls", "a") as file:
        file.write(notice.key + "\\\\n")
    if first:
        threading.Event().wait(60.0)
    return {"id": notice.entity + 1, "t": 20.0, "h": 10.0}


@corec.task
def stuck(notice):
    """Keeps its worker, which has no other process, for good."""
    threading.Event().wait()


@corec.task
def poison(notice):
    """Takes its process along."""
    os._exit(3)
'''.replace("\\\\n", "\\n")


def test_what_a_worker_can_not_import_is_told(valkey_url: str) -> None:
    """On another machine the module may be missing; nobody is to wait for its answer."""
    pytest.importorskip("celery")
    from corec.core.celery import make_app
    from corec.tasks.queue import RUN, prefix_of

    notice = Notice("0-1-2", "raised", 1, 2, 1, "sensor", 1.0)
    run = make_app(valkey_url, "far").tasks[RUN]
    run("not_here:task", "n", notice.as_dict(), {"timeout_seconds": 1.0}, [])
    with redis.Redis.from_url(valkey_url) as client:
        said = json.loads(client.get(prefix_of("far") + "n") or "")
    assert (said["ok"], said["give_up"]) == (False, False)
    assert "can't import it: ModuleNotFoundError: No module named 'not_here'" in said["error"]


def test_each_application_has_its_own_tasks() -> None:
    """Celery gives a shared one to every application of a process: that of another instance."""
    pytest.importorskip("celery")
    from corec.core.celery import make_app
    from corec.tasks.queue import RUN, SWEEP

    first, second = (make_app("redis://127.0.0.1:1", name) for name in ("a", "b"))
    for name in (RUN, SWEEP):
        assert first.tasks[name].run is not second.tasks[name].run


def worker(one: Instance) -> CeleryWorker:
    return CeleryWorker({**one.environment, "PYTHONPATH": str(REPO)}, one.home, 1)


def test_without_celery_or_instance_it_is_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "COREC_RUNTIME_BASE": str(tmp_path / "nothing-runs"),
                   "PYTHONPATH": str(REPO)}  # fmt: skip
    for name in ("COREC_REDIS_URL", "COREC_INSTANCE"):
        environment.pop(name, None)
    hide = "import sys; sys.modules['celery'] = None; import corec.core.celery_app"
    for code, words in (
        (hide, "Celery is not installed: pip install 'corec[celery]'"),
        ("import corec.core.celery_app", "or name COREC_INSTANCE and COREC_REDIS_URL"),
    ):
        if code != hide and importlib.util.find_spec("celery") is None:
            continue
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path,
                              capture_output=True, text=True, check=False,
                              timeout=patient(60))  # fmt: skip
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert words in line


def test_each_answer_comes_once(make: Any, tmp_path: Path, pg_dsn: str, valkey_url: str) -> None:
    pytest.importorskip("celery")
    wanted = config("http://127.0.0.1:1/", tmp_path)
    wanted["alertas"]["clear_after_ticks"] = 1_000_000
    base = {"canal": 1, "pool": "celery", "timeout_seconds": 2.0, "retries": 1}
    wanted["tasks"] = [{**base, "run": "slow:answer", "retries": 100},
                       {**base, "run": "slow:stuck", "when": ["acknowledged"], "retries": 0},
                       {**base, "run": "slow:poison", "when": ["acknowledged"]}]  # fmt: skip
    one = make(wanted)
    plugins = one.home / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "thermostats.py").write_text((REPO / "examples" / "thermostats.py").read_text())
    (plugins / "slow.py").write_text(SLOW)
    calls = plugins / "calls"
    run = one.start("--fresh", "--workers", "1").ready(seconds=150.0)
    with redis.Redis.from_url(valkey_url) as client:
        packed = b"".join(struct.pack("!I2f", i, 40.0, 1.0) for i in range(0, PER_BLOCK, 4)) * 3
        client.xadd("corec:{plant}:in:1", {"v": packed})
        wait_until(lambda: len(table(pg_dsn)) == PER_BLOCK // 4, "they are raised", 60.0)
        run.ask("pause")  # nobody else falls silent meanwhile
        with worker(one):
            wait_until(lambda: calls.exists(), "a worker has begun", 60.0)
        with worker(one):

            def answered() -> bool:
                found = entries(client, "corec:{plant}:in:1")
                return len([f for f in found if b"id" in f]) >= len(table(pg_dsn))

            wait_until(answered, "all are answered", 120.0)
            pinged = subprocess.run(  # as the health check of docker-compose.yml
                [sys.executable, "-m", "celery", "-A", "corec.core.celery_app", "inspect", "ping",
                 "-t", "10", "-d", f"celery@{socket.gethostname()}"],
                env={**one.environment, "PYTHONPATH": str(REPO)}, cwd=one.home,
                capture_output=True, text=True, timeout=patient(60), check=False,
            )  # fmt: skip
            assert pinged.returncode == 0, pinged.stderr
            assert "pong" in pinged.stdout
            alert = table(pg_dsn)[0]["id"]
            assert ctl(one, "alerts", "--ack", alert)[0] == 0
            wait_until(lambda: len(ctl(one, "tasks")[1]["failed"]) == 2, "both are given up", 90.0)
        answers = [int(f[b"id"]) for f in entries(client, "corec:{plant}:in:1") if b"id" in f]
        assert sorted(answers) == sorted(row["entidad"] + 1 for row in table(pg_dsn))
        failed, hung = sorted(ctl(one, "tasks")[1]["failed"], key=lambda each: each["tarea"])
        assert (failed["tarea"], failed["intentos"]) == ("slow.poison.1", 2)
        assert (hung["tarea"], hung["intentos"]) == ("slow.stuck.1", 1)
        assert "s after a worker began it" in hung["error"]
        assert json.loads(json.dumps(failed["aviso"]))["event"] == "acknowledged"
    assert run.stop().code == 0
