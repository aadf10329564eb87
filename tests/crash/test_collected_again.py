"""What is collected of ticks that run again is what was collected then, as of one to be ended.

What a bloque collects, how often and into which files was reloaded meanwhile: no file is replaced
by one with other columns, none and no event comes where there was none.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from tests.crash.test_rows_again import config, tick_of
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import is_running, promised, wait_until

pytest.importorskip("pyarrow")
pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


def collecting(every: int, *columns: str) -> dict[str, Any]:
    asked = {"every": every, "columns": list(columns), "stats": [f"max({columns[0]})"]}
    return {**config(), "collect": asked}


def files(one: Instance) -> dict[int, list[str]]:
    """By tick, the columns of the file."""
    parquet = import_module("pyarrow.parquet")
    found: list[Path] = list(one.home.rglob("collect/town/*.parquet"))
    return {int(path.stem): parquet.read_schema(path).names[2:] for path in found}


def statistics(dsn: str) -> dict[tuple[str, int], list[str]]:
    """By block and tick, which were told."""
    found: dict[tuple[str, int], list[str]] = {}
    for event in events_of(dsn):
        if event["tipo"] == "statistics":
            assert (event["bloque"], event["tick"]) not in found, "told twice"
            found[event["bloque"], event["tick"]] = sorted(event["detalle"]["values"])
    return found


def test_it_is_what_was_collected(make: Make, pg_dsn: str) -> None:
    one = make(collecting(5, "valor"))
    run = one.start("--workers", "2").ready().until_tick(8)
    run.ask("snapshot")
    ticks = []
    for later in (collecting(3, "activo", "valor"), config()):
        ticks.append(tick_of(run, 12))
        one.configure(later)
        assert one.ctl("reload").code == 0
        run.ready()
    last = tick_of(run, 8)
    wait_until(lambda: run.answered("status")["persist_lag_ticks"] == 0, "all is told", 60.0)
    told, there = statistics(pg_dsn), files(one)
    assert {tuple(columns) for columns in there.values()} == {("valor",), ("activo", "valor")}
    machine_is_lost(one, run)
    for path in one.home.rglob("collect/town/*.parquet"):
        if int(path.stem) > ticks[0]:
            path.unlink()  # as if it had been lost with the machine
    run = one.start("--workers", "1").ready().until_tick(last + 12)
    assert run.stop().code == 0
    assert statistics(pg_dsn) == told
    assert files(one) == there
    assert "may not be the same" not in run.texts()[1]


def test_a_world_that_is_adopted_within_a_tick_tells_of_the_rest(make: Make, pg_dsn: str) -> None:
    """One of two blocks is told of; the next start collects nothing."""
    still = {"tick_hz": 0.001, "workers": 1}
    one = make({**collecting(5, "valor"), **still})
    run = armed(one, ["worker 0@collect.pushed:1"]).start().ready(120.0)
    step_to(run, 5)
    worker = run.pid_of("worker")
    run.signal(signal.SIGSTOP)  # nobody starts the worker again
    with suppress(ControlError, Unreachable):
        run.ask("step", 1.0, ticks=1)
    wait_until(lambda: not is_running(worker), "the worker dies", 30)
    run.process.kill()
    run.process.wait(60.0)
    wait_until(lambda: not one.processes(), "its processes end", promised(5.0))
    one.configure({**config(), **still})
    run = spared(one).start().ready(120.0)
    step_to(run, 12)
    assert run.stop().code == 0
    told = statistics(pg_dsn)
    assert sorted(told) == [("town:00000", 5), ("town:00001", 5)]
    assert all(values == ["max(valor)", "mean(valor)"] for values in told.values())
    assert files(one) == {5: ["valor"]}


def step_to(run: Running, tick: int) -> None:
    """A status may be of a moment before its last tick ended, the answer to a pause is not."""
    while (now := int(run.answered("pause")["tick"])) < tick:
        run.answered("step", ticks=tick - now)
