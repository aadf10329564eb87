"""Settings changed while the world lives, with deaths at every store of it, equal a calm world's.

The same changes are made after the same ticks in three worlds: an instance that nothing happens to,
one whose nucleus dies before and after a setting counts, whose workers die in the middle of ticks,
which is adopted after its supervisor's death and restored from its checkpoint; and a
``corec.World``. Digest, rows, messages and events are the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import corec
from tests.crash.worlds import Left, armed, assert_same, left_by
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import events_of
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

TUNED = '''"""Entities that read a parameter and two named numbers."""

import corec


def rate(me):
    """The number that all share, read in a function of its own."""
    return me.globals.beta


@corec.micro(state={"x": "f4"}, params={"pace": 0.01, "gain": 1.0})
def tuned(me):
    """It grows, at a pace that others set."""
    me.x = me.x + me.pace * me.random() + rate(me)
    if me.x > 1.0:
        me.x = 0.0
    return me.x * me.gain + me.globals.offset
'''
SCRIPT: dict[int, dict[str, Any]] = {
    3: {"bloques.town.parametros.pace": 0.5},
    5: {"globals.beta": 0.05, "bloques.town.umbral": {"min": 0.6, "max": 0.8}},
    8: {"bloques.town.umbral.min": 0.7, "bloques.town.autoreparacion.max_errores": 0.5},
    11: {"globals.beta": 0.0, "bloques.town.umbral.min": 1.0},  # below what the schedule's max is
    13: {"bloques.other.umbral": {"min": 0.3}},
    14: {"bloques.other.umbral.max": 0.4},  # from tick 15 on, as is what the schedule sets
    16: {"bloques.other.umbral": "siempre", "globals.offset": 0.25},
}
END = 24
DEATHS = (
    "nucleus@settings.written:1", "nucleus@settings.counts:1", "nucleus@settings.counts:2",
    "worker 0@leader.after_cut:4", "worker 0@leader.before_go:2", "worker 1@block.before_commit:9",
    "worker 0@block.after_commit:3", "worker 1@block.before_publish:14",
)  # fmt: skip


def config(name: str) -> dict[str, Any]:
    """Two swarms; the schedule and the script set the same keys in turn."""
    swarm = {"canal": 1, "entidades": 80, "entidades_por_bloque": 40, "procesador": "tuned:tuned"}
    return {
        "instance_id": name, "http": {"port": 0}, "persist": {"every_ticks": 4},
        "streams": {"batch_ms": 2}, "checkpoint": {"every_seconds": 0},
        "globals": {"beta": 0.01, "offset": 0.0},
        "bloques": [{"id": "town", **swarm}, {"id": "other", **swarm, "canal": 2}],
        "schedule": [
            {"at": 7, "set": {"globals.beta": 0.02}},
            {"every": 6, "from": 9, "until": 20,
             "set": {"bloques.other.parametros.gain": 1.5, "bloques.town.parametros.pace": 0.1}},
            {"at": 10, "set": {"bloques.town.umbral.max": 1.5}},
            {"at": 14, "set": {"bloques.other.umbral.min": 0.2}},
            {"at": 15, "set": {"bloques.other.umbral": {"min": 0.25, "max": 0.35}}},
        ],
    }  # fmt: skip


def instance(make: Make, name: str) -> Instance:
    made = make(config(name), name=name)
    (made.home / "plugins").mkdir()
    (made.home / "plugins" / "tuned.py").write_text(TUNED, encoding="utf-8")
    return made


class Play:
    """An instance that is stepped through the script."""

    def __init__(self, one: Instance) -> None:
        self.one, self.run = one, self._begin(one)

    def _begin(self, one: Instance) -> Running:
        self.run = one.start("--tick-hz", "0.001", "--workers", "2").ready(120.0)
        self.run.answered("pause")
        return self.run

    def tick(self) -> int:
        """Where it stands: a status may be of a moment before its last tick ended."""
        return int(self.run.answered("pause")["tick"])

    def until(self, tick: int) -> None:
        while (now := self.tick()) < tick:
            self.run.answered("step", ticks=tick - now)

    def again(self, *, kill: bool) -> None:
        if kill:
            self.run.process.kill()
            self.run.process.wait(60.0)
            wait_until(lambda: not self.one.processes(), "its processes end", promised(5.0))
        else:
            assert self.run.stop().code == 0
        self._begin(self.one)

    def play(self, *, disturbed: bool) -> dict[str, Any]:
        for tick, changes in SCRIPT.items():
            self.until(tick)
            assert self.run.answered("set", changes=changes)["after_tick"] == tick
            if disturbed and tick in (8, 16):
                self.again(kill=tick == 8)
        self.until(END)
        block = self.run.answered("blocks")["blocks"][-1]
        assert block["parametros"] == {"pace": 0.01, "gain": 1.5}
        assert self.run.answered("world")["globals"] == {"beta": 0.0, "offset": 0.25}
        return self.run.stop().summary


def played(one: Instance, dsn: str, url: str, name: str, *, disturbed: bool) -> Left:
    return left_by(Play(one).play(disturbed=disturbed), dsn, url, name)


def text(value: Any) -> str:
    """As jsonb gives it back, too."""
    return json.dumps(value, sort_keys=True)


def settings_events(dsn: str, name: str) -> list[tuple[int, str, str, int]]:
    found = [
        (e["tick"], e["detalle"]["path"], text(e["detalle"]["value"]), e["detalle"]["after_tick"])
        for e in events_of(dsn, name)
        if e["tipo"] == "setting_changed"
    ]
    return sorted(found, key=str)


def test_what_is_set_is_the_same_in_every_world(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = played(instance(make, "calm"), pg_dsn, valkey_url, "calm", disturbed=False)
    one = armed(instance(make, "corec1"), DEATHS)
    killed = played(one, pg_dsn, valkey_url, "corec1", disturbed=True)
    assert_same(killed, calm)
    assert set(settings_events(pg_dsn, "corec1")) == set(settings_events(pg_dsn, "calm"))
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with corec.World(Path(one.config_path)) as world:
        for tick in range(1, END + 1):
            world.run(1)
            sent = [m for found in calm.messages.values() for m in found if m.tick == tick]
            assert len(world.messages()) == len(sent), tick
            for path, value in SCRIPT.get(tick, {}).items():
                world.set(path, value)
        assert world.digest() == calm.digest
        told = {
            (e["tick"], e["detalle"]["path"], text(e["detalle"]["value"]))
            for e in world.events() if e["tipo"] == "setting_changed"
        }  # fmt: skip
    assert told == {(t, path, v) for t, path, v, _ in settings_events(pg_dsn, "calm")}
    assert {t for t, *_ in told} == {3, 5, 7, 8, 9, 10, 11, 13, 14, 16}  # at 15 nothing changes
    assert all(calm.messages.values())


def test_a_fork_has_what_counts_by_then(
    make: Make, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a world that replays, and of one that is to grow before its next tick."""
    one = instance(make, "corec1")
    play = Play(one)
    monkeypatch.setenv("COREC_HOME", str(one.home))
    path = Path(one.config_path)
    play.until(6)
    play.run.answered("set", changes=SCRIPT[3])
    play.run.answered("set", path="carga", value=0.5)
    play.until(12)
    with corec.World(path, replay=valkey_url) as again, corec.World(path) as calm:
        again.run(4)
        with again.fork() as twin:
            assert (twin.config.carga, twin.replay_until) == (1.0, None)
            with pytest.raises(ValueError, match="replays what an instance did up to tick"):
                again.grow("town", 10)
            with pytest.raises(ValueError, match="replays what an instance did up to tick"):
                again.set("town", entidades=90)
            twin.run(8)
            calm.run(12)
            assert twin.digest() == calm.digest()
        again.run(8)
        assert again.digest() != calm.digest()
        assert again.digest() == play.run.answered("digest")["digest"]
    one.configure({**one.config, "schedule": one.config["schedule"][:1]})
    with (
        pytest.warns(RuntimeWarning, match="what the journal does not repeat"),
        corec.World(path, replay=valkey_url),
    ):
        pass
    one.configure(config("corec1"))
    made = play.run.answered("snapshot")["path"]
    more = {**one.config["bloques"][1], "id": "more"}
    larger = {**one.config, "bloques": [*one.config["bloques"], more]}
    with corec.World(larger, checkpoint=made) as grows, grows.fork() as twin:
        for world in (grows, twin):
            world.run(2)
        assert twin.swarms == ["town", "other", "more"]
        assert twin.digest() == grows.digest()
    with corec.World(larger, checkpoint=made) as grows:
        grows.grow("town", 10)  # behind those that are to come
        grows.run(2)
        assert [len(grows.frame(name)) for name in grows.swarms] == [90, 80, 80]
    assert play.run.stop().code == 0
