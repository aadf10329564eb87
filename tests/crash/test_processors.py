"""No processor stops its worker: what it raises is told, what takes long goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corec.process.roles import KILLED_SECONDS
from tests.crash.clock import Clock
from tests.e2e.conftest import Make
from tests.support.instance import REPO, Instance
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

ENTITIES = Path(__file__).with_name("long_entities.py")
STOP_SECONDS_MAX = 30.0


def instance(make: Make, **counts: int) -> Instance:
    """A world with a swarm of each of these processors of ``long_entities.py``."""
    config = {
        "instance_id": "corec1",
        "http": {"port": 0},
        "workers": 1,
        "persist": {"every_ticks": 4},
        "autoreparacion": {"max_errores": 1.0},
        "bloques": [
            {"id": name, "canal": k + 1, "entidades": count, "entidades_por_bloque": 30,
             "procesador": f"long_entities:{name}"}
            for k, (name, count) in enumerate(counts.items())
        ],
    }  # fmt: skip
    made = make(config)
    plugins = made.home / "plugins"
    plugins.mkdir(exist_ok=True)
    for folder in (plugins, made.config_path.parent):
        shutil.copy(ENTITIES, folder / "long_entities.py")
    return made


def kinds(found: dict[str, Any]) -> set[tuple[str, str]]:
    """(swarm, exception) of what ``errors`` answers."""
    return {(one["bloque"], one["error"]) for one in found["errors"]}


def test_what_processors_raise_is_told_and_the_instance_goes_on(make: Make, pg_dsn: str) -> None:
    one = instance(make, beyond=60, endless=30)
    run = one.start("--tick-hz", "20").ready()
    wanted = {("beyond", "IndexError"), ("endless", "TooManySteps")}
    wait_until(lambda: kinds(run.ask("errors")) >= wanted, "both are told", 60.0)
    before = run.status()["tick"]
    run.until_tick(before + 5)
    status = run.status()
    assert [p["restarts"] for p in status["processes"]] == [0] * len(status["processes"])
    by_name = {row["error"]: row for row in run.ask("errors")["errors"]}
    index = by_name["IndexError"]
    line = next(
        k for k, text in enumerate(ENTITIES.read_text().splitlines(), 1) if "TABLE[" in text
    )
    assert (index["file"], index["line"]) == ("long_entities.py", line)
    assert index["procesador"] == "long_entities:beyond"
    assert 4 <= index["last_entity"] < 60
    wait_until(
        lambda: all(r["failures_per_second"] > 0 for r in run.ask("errors")["errors"]), "a rate"
    )
    assert {row["bloque"] for row in status["processor_errors"]} == {"beyond", "endless"}
    checks = {c["check"]: c["ok"] for c in run.ask("doctor")["checks"]}
    assert checks["processor long_entities:beyond"] is False
    assert checks["processor long_entities:endless"] is False
    began = time.monotonic()
    ended = run.stop()
    assert time.monotonic() - began < STOP_SECONDS_MAX
    assert ended.summary["restarts"] == 0
    events = [e for e in events_of(pg_dsn) if e["tipo"] == "processor_error"]
    assert {e["detalle"]["error"] for e in events} == {"IndexError", "TooManySteps"}
    assert len(events) == len({json.dumps(e["detalle"]["text"]) for e in events})
    told = [json.loads(text) for text in ended.err.splitlines() if text.startswith("{")]
    assert any("IndexError" in line.get("reason", "") for line in told)


def test_it_is_told_again_when_the_clock_was_put_back(make: Make, pg_dsn: str) -> None:
    """And once for each such jump, not until the clock is where it was again."""
    one = instance(make, beyond=60)
    clock = Clock(one)
    run = one.start("--tick-hz", "20").ready()

    def told() -> int:
        return sum(event["tipo"] == "processor_error" for event in events_of(pg_dsn))

    for jumps in range(3):
        clock.jump_to(-3600.0 * jumps)
        wait_until(partial(lambda count: told() == count, 1 + jumps), f"jump {jumps}", 60.0)
    run.until_tick(run.status()["tick"] + 40)
    assert run.stop().code == 0
    assert told() == 3


def test_a_long_tick_goes_on_and_recursion_is_refused(make: Make) -> None:
    one = instance(make, patient=1)
    began = time.monotonic()
    run = one.start("--tick-hz", "0", "--ticks", "3")
    ended = run.wait(200.0)
    took = time.monotonic() - began
    assert took > KILLED_SECONDS, "the tick is to take longer than a frozen process is left alone"
    assert ended.summary["tick"] == 3
    assert ended.summary["restarts"] == 0
    assert "no sign of life" not in ended.err

    text = one.config_path.read_text().replace("long_entities:patient", "long_entities:recursive")
    other = one.config_path.with_name("recursive.json")
    other.write_text(text)
    command = [sys.executable, "-m", "corec", "check", str(other)]
    checked = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert checked.returncode == 2
    assert "it calls itself (deep calls deep)" in checked.stderr
    assert "long_entities.py, line " in checked.stderr
