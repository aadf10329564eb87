"""A world that grows: by command, by reload, at a start; ids stay, and kills do not show.

Held against ``corec.World`` of the configuration before: whatever was there goes on as if nothing
had been added, bit for bit (no entity of these sees another).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import corec
from corec.config import ConfigError
from tests.crash.test_set import Play
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import MESSAGE
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(400)]

SIZE = {"entidades_por_bloque": 50}
FIRST = {"id": "town", "canal": 1, "entidades": 120, **SIZE}
SECOND = {"id": "other", "canal": 2, "entidades": 60, **SIZE}
THIRD = {"id": "third", "canal": 3, "entidades": 50, **SIZE}


def config(*bloques: dict[str, Any]) -> dict[str, Any]:
    return {
        "instance_id": "corec1", "http": {"port": 0}, "persist": {"every_ticks": 4},
        "streams": {"batch_ms": 2}, "checkpoint": {"every_seconds": 0}, "bloques": list(bloques),
    }  # fmt: skip


class Growing(Play):
    """An instance that is stepped, and grows."""

    def started(self, *bloques: dict[str, Any]) -> None:
        self.one.configure(config(*bloques))
        self._begin(self.one)

    def state(self, name: str) -> dict[int, tuple[int, float]]:
        """id → (tick, valor) of all of a bloque."""
        with corec.attach("corec1") as found:
            frame = found.frame(name, ["valor"])
            return {int(i): (frame.tick, float(v))
                    for i, v in zip(frame.ids, frame["valor"], strict=True)}  # fmt: skip

    def number(self) -> tuple[int, int]:
        status = self.run.answered("status")
        return int(status["entidades"]), int(status["bloques"])


def expected(one: Instance, tick: int) -> dict[str, np.ndarray[Any, Any]]:
    """What was there at first, at ``tick``."""
    with corec.World(config(FIRST, SECOND)) as world:
        world.run(tick)
        return {name: world.frame(name, ["valor"])["valor"] for name in ("town", "other")}


def check_old(play: Growing) -> None:
    town, other = play.state("town"), play.state("other")
    tick = play.tick()
    wanted = expected(play.one, tick)
    assert [town[i] for i in range(120)] == [(tick, float(v)) for v in wanted["town"]]
    assert [other[i] for i in range(120, 180)] == [(tick, float(v)) for v in wanted["other"]]


def test_it_grows_by_command_reload_and_start(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make(config(FIRST, SECOND))
    monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
    play = Growing(one)
    play.until(6)
    grown = one.ctl("grow", "town", "80", "--json")
    assert grown.code == 0, grown.err
    assert json.loads(grown.out)["entidades"] == 200
    play.run.ready(60.0)
    assert play.number() == (260, 7)
    town = play.state("town")
    assert sorted(town) == [*range(120), *range(180, 260)]
    assert len({tick for tick, _ in town.values()}) == 1
    check_old(play)
    fewer = one.ctl("set", "bloques.town.entidades", "200")
    assert (fewer.code, "expected more than the 200" in fewer.err) == (2, True)
    assert "expected one of town, other" in one.ctl("grow", "nobody", "1").err
    with corec.attach("corec1") as found, pytest.raises(ValueError, match="expected one of town"):
        found.grow("nobody", 1)
    play.until(10)
    check_old(play)
    assert play.run.answered("block", id="town:00003")["entidades"] == 50
    assert play.run.answered("entity", id=259)["bloque"] == "town:00004"

    one.configure(config({**FIRST, "entidades": 200}, {**SECOND, "entidades": 100}, THIRD))
    assert one.ctl("reload").code == 0
    play.run.ready(60.0)
    assert play.number() == (350, 9)
    assert sorted(play.state("other")) == [*range(120, 180), *range(260, 300)]
    assert sorted(play.state("third")) == [*range(300, 350)]
    play.until(14)
    check_old(play)
    one.configure(config({**FIRST, "entidades": 150}, {**SECOND, "entidades": 100}, THIRD))
    refused = one.ctl("reload")
    assert refused.code == 1
    assert "found 200, configured 150" in refused.err

    now = ({**FIRST, "entidades": 230}, {**SECOND, "entidades": 100}, THIRD)
    one.configure(config(*now))
    play.again(kill=True)  # adopted, and grown at the boundary
    wait_until(lambda: play.number()[0] == 380, "it has grown", 60.0)
    check_old(play)
    digest = play.run.answered("digest")
    assert play.run.stop().code == 0
    play._begin(one)  # from the checkpoint, as it was
    assert play.number()[0] == 380
    check_old(play)
    path = one.ctl("snapshot", "--json")
    assert path.code == 0, path.err
    assert play.tick() >= digest["tick"]
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with corec.World(one.config_path, checkpoint=json.loads(path.out)["path"]) as world:
        world.run(3)
        play.until(world.ticks)
        assert world.digest() == play.run.answered("digest")["digest"]
        assert sorted(world.frame("town").ids) == sorted(play.state("town"))
    assert play.run.stop().code == 0
    play.started({**FIRST, "entidades": 240}, {**SECOND, "entidades": 100}, THIRD)
    assert play.number()[0] == 390  # grown from the checkpoint
    check_old(play)
    assert play.run.stop().code == 0
    one.configure(config(SECOND, FIRST))
    assert one.run("--ticks", "1").code == 2


FLOCK = {"id": "flock", "canal": 4, "entidades": 200, "entidades_por_bloque": 100,
         "procesador": "boids", "space": {"kind": "plane", "position": ["x", "y"], "size": 100.0,
                                          "radius": 3.0}}  # fmt: skip
HERD = {"id": "herd", "canal": 5, "entidades": 100, "capacidad": 150, "entidades_por_bloque": 50,
        "procesador": "herds:herd"}  # fmt: skip
HERDS = '''"""Some are born."""

import corec


@corec.micro(state={"age": "u4"}, params={"haste": 0.25})
def herd(me):
    """It has a child now and then, and its end."""
    me.age = me.age + 1
    if me.random() < me.haste:
        me.spawn()
    if me.random() < 0.05:
        me.die()
    return me.haste
'''


def assert_same_there(world: corec.World, play: Growing) -> None:
    """Where the instance stands, the world in this process is the same."""
    found = play.run.answered("digest")
    world.run(found["tick"] - world.ticks)
    assert world.digest() == found["digest"], f"at tick {found['tick']}"


def test_who_meets_and_who_is_born_become_more(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last of the world, behind full blocks; the others say what keeps them."""
    one = make(config(FIRST, FLOCK))
    (one.home / "plugins").mkdir()
    (one.home / "plugins" / "herds.py").write_text(HERDS, encoding="utf-8")
    for name, path in (("COREC_RUNTIME_BASE", one.runtime_base), ("COREC_HOME", one.home)):
        monkeypatch.setenv(name, str(path))
    play = Growing(one)
    play.until(6)
    grown = one.ctl("grow", "flock", "130")
    assert grown.code == 0, grown.err
    play.until(9)
    with corec.World(config(FIRST, FLOCK)) as world:
        world.run(6)
        assert world.grow("flock", 130) == 6
        assert_same_there(world, play)
        with pytest.raises(ValueError, match="last block is not full"):
            world.grow("flock", 100)
        assert "last block is not full" in one.ctl("grow", "flock", "100").err
        play.again(kill=True)
        play.until(12)
        assert_same_there(world, play)
    fuller = {**FLOCK, "entidades": 330}
    one.configure(config(FIRST, fuller, HERD))
    assert one.ctl("reload").code == 0
    play.until(20)
    assert "those of herd come behind them" in one.ctl("grow", "flock", "100").err
    assert "150 places (capacidad)" in one.ctl("grow", "herd", "1").err
    path = json.loads(one.ctl("snapshot", "--json").out)["path"]
    one.configure(config(FIRST, fuller, {**HERD, "capacidad": 250}))
    with corec.World(one.config_path, checkpoint=path) as world:
        assert one.ctl("reload").code == 0
        assert play.tick() == world.ticks == 20
        play.until(30)
        assert_same_there(world, play)
        assert int(world.frame("herd", ["activo"])["activo"].sum()) > 100
        play.again(kill=False)  # from the checkpoint
        play.until(33)
        assert_same_there(world, play)
    assert play.run.stop().code == 0


class Anew(Growing):
    """The same of a world that begins behind what waits."""

    def _begin(self, one: Instance) -> Running:
        self.run = one.start("--fresh", "--tick-hz", "0.001").ready(120.0)
        self.run.answered("pause")
        return self.run


def test_a_replay_of_a_canal_that_came_later(
    make: Make, monkeypatch: pytest.MonkeyPatch, valkey_url: str
) -> None:
    """What waited there for nobody when the world began is none of its, and of no replay."""
    one = make(config(FIRST, SECOND))
    for name, path in (("COREC_RUNTIME_BASE", one.runtime_base), ("COREC_HOME", one.home)):
        monkeypatch.setenv(name, str(path))
    with redis.Redis.from_url(valkey_url) as client:

        def say(entity: int) -> None:
            client.xadd("corec:{corec1}:in:3", {"m": MESSAGE.pack(entity, 3, 0.5, False)})

        say(180)
        play = Anew(one)
        play.until(4)
        one.configure(config(FIRST, SECOND, THIRD))
        assert one.ctl("reload").code == 0
        play.run.ready(60.0)
        say(181)
        wait_until(lambda: play.run.status()["messages_in"] == 1, "it is taken in", 30.0)
        play.until(8)
    assert play.run.answered("entity", id=180)["activo"]
    assert not play.run.answered("entity", id=181)["activo"]
    with corec.World(Path(one.config_path), replay=valkey_url) as world:
        assert_same_there(world, play)
    assert play.run.stop().code == 0


def test_what_can_not_become_more_says_why() -> None:
    side = {"kind": "grid", "width": 10, "height": 20}
    town = {"id": "town", "canal": 1, "entidades": 200, "procesador": "life", "space": side}
    said = re.escape("10 · 20 = 200 cells, allowed as many as entidades, 210")
    with corec.World(config(town)) as world, pytest.raises(ConfigError, match=said):
        world.grow("town", 10)


@pytest.mark.parametrize("point", ["grow.before_rename", "grow.after_rename"])
def test_a_supervisor_that_dies_growing(
    make: Make, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    one = make(config(FIRST, SECOND))
    monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
    play = Growing(armed(one, [point]))
    play.until(5)
    one.ctl("grow", "town", "80", "--json")
    play.run.process.wait(60.0)
    wait_until(lambda: not one.processes(), "its processes end", 10.0)
    assert Path(one.folder / "world.seg").exists()
    spared(one)
    play._begin(one)
    wait_until(lambda: play.number()[0] == 260, "it has grown", 60.0)
    play.until(play.tick() + 3)
    check_old(play)
    assert play.run.stop().code == 0
