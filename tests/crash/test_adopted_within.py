"""A world that is adopted within a tick, by a configuration that says other values by then.

Some blocks have run the tick. The others run it with what counted when it went, and the new values
count behind it: a tick in which one half of the world has other rules than the other half is what
no other run comes to.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import corec
from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from tests.crash.test_set import TUNED
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

WITHIN = 5
END = 9
POINT = f"worker 0@block.after_commit:{2 * WITHIN - 1}"
"""The first of its two blocks has run the tick, the other has not."""
THEN = {"beta": 0.01, "pace": 0.05, "umbral": {"min": 0.3, "max": 0.9}, "every": 1}
NOW = {"beta": 0.2, "pace": 0.5, "umbral": {"min": 0.6, "max": 0.7}, "every": 7}


def config(values: dict[str, Any]) -> dict[str, Any]:
    town = {"id": "town", "canal": 1, "entidades": 160, "entidades_por_bloque": 40,
            "procesador": "tuned:tuned", "parametros": {"pace": values["pace"], "gain": 1.0},
            "umbral": values["umbral"]}  # fmt: skip
    return {
        "instance_id": "corec1", "http": {"port": 0}, "tick_hz": 0.001, "workers": 2,
        "persist": {"every_ticks": values["every"]}, "streams": {"batch_ms": 2},
        "checkpoint": {"every_seconds": 0}, "bloques": [town],
        "globals": {"beta": values["beta"], "offset": 0.0},
    }  # fmt: skip


def test_it_ends_the_tick_as_it_began_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(config(THEN))
    plugins = Path(one.home / "plugins")
    plugins.mkdir()
    (plugins / "tuned.py").write_text(TUNED, encoding="utf-8")
    run = armed(one, [POINT]).start().ready(120.0)
    run.answered("pause")
    tick = int(run.answered("pause")["tick"])
    run.answered("step", ticks=WITHIN - 1 - tick)
    assert run.answered("set", changes={"globals.offset": 0.125})["after_tick"] == WITHIN - 1
    worker = run.pid_of("worker")
    run.signal(signal.SIGSTOP)  # nobody starts the worker again
    with suppress(ControlError, Unreachable):
        run.ask("step", 1.0, ticks=1)
    wait_until(lambda: not is_running(worker), "the worker dies", 30)
    blocks = run.ask("blocks")["blocks"]
    assert [block["tick"] for block in blocks[:2]] == [WITHIN, WITHIN - 1]
    run.process.kill()
    run.process.wait(60.0)
    wait_until(lambda: not one.processes(), "its processes end", promised(5.0))
    one.configure(config(NOW))
    run = spared(one).start().ready(120.0)
    run.answered("pause")
    while (tick := int(run.answered("pause")["tick"])) < END:
        run.answered("step", ticks=END - tick)
    found = run.stop().summary
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with corec.World(config(THEN)) as world:
        world.run(WITHIN - 1)
        world.set("globals.offset", 0.125)
        world.run(1)
        world.set({"globals.beta": NOW["beta"], "bloques.town.parametros.pace": NOW["pace"],
                   "bloques.town.umbral": NOW["umbral"]})  # fmt: skip
        world.run(int(found["digest_tick"]) - WITHIN)
        assert world.digest() == found["digest"]
