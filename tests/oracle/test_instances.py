"""Drawn worlds in real instances, undisturbed and killed, agree with the oracle in memory, in
PostgreSQL and on the streams. A few; the long form is ``python -m tests.oracle``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import live
from tests.oracle.drawn import EVERYBODY, MODULE, PER_BLOCK, Drawn
from tests.oracle.kills import Kills, armed

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 20261131
CALM, KILLED = 3, 3
WORLDS = Path(__file__).with_name("worlds.jsonl")
"""Of ``python -m tests.oracle --draw 6 --seed 20261131``."""


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    """The same every time, whatever else is loaded: the long form draws others."""
    return [Drawn.from_json(line) for line in WORLDS.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, drawn: list[Drawn]) -> None:
    """Once, so that no deadline has to allow for it."""
    names = {bloque["procesador"] for world in drawn for bloque in world.config["bloques"]}
    names |= {f"{MODULE}:{name}" for name in ("tracer", "listener", "fragile", "sitter")}
    live.compile_all(tmp_path_factory.mktemp("compiled"), sorted(names))


def test_one_of_the_drawn_worlds_grows_and_in_one_there_are_births(drawn: list[Drawn]) -> None:
    assert any(world.grows for world in drawn[:CALM])
    assert any(
        EVERYBODY[bloque["procesador"]].mortal
        for world in drawn[CALM:] for bloque in world.config["bloques"]
    )  # fmt: skip


@pytest.fixture
def servers(pg_dsn: str, valkey_url: str, compiled: None) -> live.Servers:
    """The session's."""
    return live.Servers(pg_dsn, valkey_url)


@pytest.mark.parametrize("number", range(CALM))
def test_a_drawn_world(
    drawn: list[Drawn], servers: live.Servers, tmp_path: Path, number: int
) -> None:
    live.check(drawn[number], f"calm{number}", tmp_path, servers)


@pytest.mark.parametrize("number", range(CALM, CALM + KILLED))
def test_a_drawn_world_that_is_killed(
    drawn: list[Drawn], servers: live.Servers, tmp_path: Path, number: int
) -> None:
    dice = random.Random(f"{SEED} {number}")
    points = armed(dice)
    print(points)
    kills = Kills(dice, often=0.5, restarts=0.15)
    live.check(drawn[number], f"killed{number}", tmp_path, servers, kills, points)
    print(kills.killed, kills.ends)
    assert kills.killed or drawn[number].ticks < 8, "nobody died"


def test_hundreds_of_steps_in_a_tick_and_a_stop_between_two_rows(
    servers: live.Servers, tmp_path: Path
) -> None:
    """What emits and fails in late steps of a tick, and what is in a log when a world stops."""
    swarms = [
        {"id": name, "canal": canal, "entidades": PER_BLOCK, "entidades_por_bloque": PER_BLOCK,
         "procesador": f"{MODULE}:{name}"}
        for name, canal in (("tracer", -128), ("listener", 127), ("fragile", 0))
    ]  # fmt: skip
    config: dict[str, Any] = {
        "seed": SEED, "carga": 1.0, "persist": {"every_ticks": 5}, "bloques": swarms,
    }  # fmt: skip
    burst = [(3, float(k % 7), True) for k in range(1200)]
    hot = [(PER_BLOCK + k % 9, 2000.0 if k % 4 == 0 else 0.5, True) for k in range(900)]
    readings = {2: burst, 3: hot, 4: hot[:200] + burst[:700], 9: burst[:7]}

    class Stops(live.Calm):
        def __init__(self) -> None:
            self.due = [3, 7]
            """Or a tick later, where one came by itself."""

        def between(self, run: Any) -> str | None:
            if not self.due or run.status()["tick"] < self.due[0]:
                return None
            self.due.pop(0)
            return "stop"

    world = Drawn(config, 11, readings, {}, (2, 1, 3))
    stops = Stops()
    live.check(world, "late", tmp_path, servers, stops)
    assert not stops.due


@pytest.mark.parametrize("point", ["before_commit:3", "after_commit:3"])
def test_a_silence_of_two_steps_whose_worker_dies(
    servers: live.Servers, tmp_path: Path, point: str
) -> None:
    """4500 fall silent in tick 3, of which a step takes 4096; the third step and the fourth."""
    swarm = {
        "id": "many", "canal": 1, "entidades": 4500, "entidades_por_bloque": 4500,
        "max_size_mb": 8, "procesador": f"{MODULE}:sitter",
    }  # fmt: skip
    config: dict[str, Any] = {
        "seed": SEED, "carga": 1.0, "persist": {"every_ticks": 2}, "bloques": [swarm],
    }  # fmt: skip
    readings = {2: [(7, 0.5, True), (9, 0.5, False)], 4: [(7, 2000.0, True)]}
    world = Drawn(config, 6, readings, {}, (1,))
    name = point.replace(":", "-").replace("_", "-")
    live.check(world, name, tmp_path, servers, armed=[f"worker 0@block.{point}"])
