"""Evolution in running instances: what a world in this process becomes, they become, too."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import corec
from tests.crash.worlds import armed, deaths_expected, killed, spared
from tests.e2e.conftest import Make
from tests.support.instance import Instance
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

TICKS = 24
SUBJECTS = Path(__file__).with_name("subjects.py")
DEATHS = {
    "flat": ("0", (
        "worker@evolution.genes_written:5", "worker@block.before_commit:9",
        "worker 0@phase.before_done:2", "worker 1@phase.all_done:3", "worker@block.after_commit:14",
    )),
    "paced": ("60", (
        "worker@evolution.genes_written:8", "worker 0@phase.all_done:2",
        "worker 1@phase.before_done:1", "worker 0@leader.after_cut:3", "worker 0@leader.after_go:4",
        "worker@block.after_commit:3",
    )),
}  # fmt: skip


def config() -> dict[str, Any]:
    """Islands with migrants, a swarm that is one island, and one that does not evolve."""
    islands = {"cada": 2, "estado": "heredado",
               "migracion": {"cada": 2, "cuantos": 3, "topologia": "azar"}}  # fmt: skip
    whole = {"cada": 3, "alcance": "enjambre", "metodo": "truncamiento", "elite": 0.2}
    swarm = {"canal": 1, "entidades": 50, "entidades_por_bloque": 7,
             "procesador": "evolving_subjects:subject"}  # fmt: skip
    return {
        "instance_id": "corec1",
        "http": {"port": 0},
        "bloques": [
            {**swarm, "id": "islands", "evolucion": islands},
            {**swarm, "id": "whole", "evolucion": whole},
            {**swarm, "id": "still"},
        ],
    }


@pytest.fixture
def one(make: Make) -> Instance:
    """An instance that finds the subjects."""
    made = make(config())
    plugins = made.home / "plugins"
    plugins.mkdir(exist_ok=True)
    shutil.copy(SUBJECTS, plugins / "evolving_subjects.py")
    shutil.copy(SUBJECTS, made.config_path.parent / "evolving_subjects.py")
    return made


def wanted(one: Instance) -> str:
    """The digest of a world in this process."""
    with corec.World(one.config_path) as world:
        world.run(TICKS)
        return str(world.digest())


def test_workers_pace_and_a_stop_half_way_do_not_show(one: Instance) -> None:
    digest = wanted(one)
    for workers in ("1", "2", "5"):
        ended = one.run("--fresh", "--ticks", str(TICKS), "--tick-hz", "0", "--workers", workers)
        assert ended.summary["digest"] == digest
    ended = one.run("--fresh", "--ticks", str(TICKS), "--tick-hz", "200", "--workers", "3")
    assert ended.summary["digest"] == digest
    # a multiple of both periods: both evolutions are the first thing that the second half does
    one.run("--fresh", "--ticks", "12", "--tick-hz", "0", "--workers", "2")
    ended = one.run("--ticks", str(TICKS - 12), "--tick-hz", "0", "--workers", "3")
    assert ended.summary["digest"] == digest


@pytest.mark.parametrize("name", DEATHS)
def test_workers_die_in_the_middle(one: Instance, name: str) -> None:
    hz, deaths = DEATHS[name]
    digest = wanted(one)
    ended = armed(one, deaths).run("--ticks", str(TICKS), "--tick-hz", hz, "--workers", "2")
    assert Counter(killed(ended)) == deaths_expected(deaths, 2)
    assert ended.summary["digest"] == digest
    spared(one)


def test_a_world_is_adopted_in_the_middle_of_a_phase(one: Instance) -> None:
    """Everybody dies while some blocks have done the phase and some have not."""
    armed(one, ("worker 1@evolution.genes_written:7", *("worker 1@evolution.genes_written:1",) * 9))
    running = one.start("--tick-hz", "60", "--workers", "2")
    log = one.output(0, "err")
    wait_until(lambda: log.read_text().count("SIGKILL") >= 2, "a worker died in the phase", 30)
    running.signal(signal.SIGKILL)
    running.process.wait(10)
    wait_until(lambda: not one.processes(), "its children leave", 2.0)
    summary = spared(one).run("--ticks", "9", "--tick-hz", "0", "--workers", "3").summary
    with corec.World(one.config_path) as world:
        world.run(summary["tick"])
        assert world.digest() == summary["digest"]
