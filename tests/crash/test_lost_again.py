"""What a lost machine had done behind its journal's last reading: it grew, or ticked in silence.

Both run again as they were: the world grows at the same boundaries, and what is set within ticks
whose rows and messages are out, however little came in, counts behind them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

import corec
from corec.control.memory import open_control
from corec.journal.file import read_lines
from corec.world.settings import Entry, read_in
from tests.crash.hearing import (
    EARS,
    LEGS,
    MESSAGE,
    compared,
    config,
    fed,
    instance,
    out_tick,
    until_out,
)
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

MORE = 30
GROWN = "bloques.ears.entidades"


def larger(home: Instance, **changes: Any) -> None:
    """The configuration file with more legs and a bloque more behind them."""
    found = config(**changes)
    found["bloques"][1]["entidades"] = LEGS + MORE
    found["bloques"].append({**found["bloques"][1], "id": "more", "canal": 3, "entidades": MORE})
    home.configure(found)


def dies_growing(one: Instance, point: str) -> None:
    """Start it; its supervisor dies at ``point``, and nothing of it is left but the memory."""
    run = armed(one, [point]).start("--tick-hz", "100", "--workers", "2")
    run.process.wait(120.0)
    wait_until(lambda: not one.processes(), "all its processes end", 20)
    spared(one)


def speak(url: str, first: int, count: int) -> None:
    """A reading for each of the entities that came later."""
    packed = b"".join(MESSAGE.pack(first + k, 1, 0.5, True) for k in range(count))
    with redis.Redis.from_url(url) as client:
        client.xadd("corec:{corec1}:in:1", {"m": packed})


def number(run: Running) -> int:
    return int(run.status()["entidades"])


def test_a_world_that_grew_behind_its_checkpoint(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = instance(make)
    run = one.start("--tick-hz", "100", "--workers", "2").ready(120.0)
    with fed(valkey_url, 5):
        run.until_tick(20)
        made = run.ask("snapshot", 60.0)
        tick = made["tick"]
        run.until_tick(tick + 20)
        grown = one.ctl("grow", "ears", str(MORE))
        assert grown.code == 0, grown.err
        run.ready(60.0)
        speak(valkey_url, EARS + LEGS, MORE)
        run.until_tick(run.status()["tick"] + 20)
        larger(one)
        assert one.ctl("reload").code == 0
        run.ready(60.0)
        last = run.status()["tick"] + 20
        run.until_tick(last)
        until_out(valkey_url, last)
        machine_is_lost(one, run)
        dies_growing(one, "grow.before_rename")
        dies_growing(one, "grow.after_rename")
        run = one.start("--tick-hz", "0.5", "--workers", "1").ready(60.0)
        assert number(run) == EARS + LEGS + MORE  # as it was then
        refused = one.ctl("grow", "ears", "1")
        assert refused.code != 0
        assert "runs ticks again" in refused.err
        machine_is_lost(one, run)
        run = one.start("--tick-hz", "0.5", "--workers", "2").ready(60.0)
        assert number(run) == EARS + LEGS
        run.ask("set", path="tick_hz", value=100.0)
        run.until_tick(last + 60, 120.0)
        assert number(run) == EARS + LEGS + 3 * MORE
    summary = run.stop().summary
    assert not [e for e in events_of(pg_dsn) if e["tipo"] in ("replay_differs", "input_repeated")]
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url, (1, 2, 3)) as world:
        assert [len(world.frame(name).ids) for name in world.swarms] == [
            EARS + MORE, LEGS + MORE, MORE,
        ]  # fmt: skip
        assert int(world.frame("ears", ["seen"], ids=[EARS + LEGS])["seen"][0]) == 1
    found = json.loads(one.command(
        "fork", made["path"], "--replay", "--ticks", str(summary["tick"] - tick), "--json"
    ).out)  # fmt: skip
    assert (found["digest"], found["tick"]) == (summary["digest"], summary["tick"])


def ears_set(one: Instance, run: Running) -> tuple[int, int]:
    """How many ears there are to be, as its memory and as its journal have it."""
    with open_control(Path(run.instance.folder)) as control:
        living = read_in(control)
    (journal,) = one.home.rglob("journal-*.jsonl")
    written = [dict(r)["set"] for r in read_lines(journal).records if "set" in r][-1]
    return int(living[GROWN].value), int(Entry(*written[GROWN]).value)


def test_a_growth_that_is_refused_leaves_the_one_before(make: Make, valkey_url: str) -> None:
    """Else the configuration, which has fewer, would be refused by the next start."""
    one = instance(make)
    run = one.start("--tick-hz", "50").ready(120.0)
    run.ask("snapshot", 60.0)
    assert one.ctl("grow", "ears", "7").code == 0
    run.ready(60.0)
    last = run.status()["tick"] + 20
    run.until_tick(last, 120.0)
    until_out(valkey_url, last)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "0.5").ready()
    for _ in range(6):  # whoever looks first, the nucleus or who asked
        refused = one.ctl("grow", "ears", "5").err
        assert "runs ticks again" in refused
        assert "taken back" not in refused
        assert ears_set(one, run) == (EARS + 7, EARS + 7)
    run.ask("set", path="tick_hz", value=200.0)
    run.until_tick(last + 60, 120.0)
    assert number(run) == EARS + LEGS + 7
    assert run.stop().code == 0
    assert one.run("--ticks", "1").summary["entidades"] == EARS + LEGS + 7


def test_what_is_set_within_silent_ticks_that_are_out_counts_behind_them(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = instance(make)
    run = one.start("--tick-hz", "100").ready(120.0)
    tick = run.ask("snapshot", 60.0)["tick"]
    run.until_tick(tick + 120)
    until_out(valkey_url, tick + 100)
    machine_is_lost(one, run)
    out = out_tick(valkey_url)
    run = one.start("--tick-hz", "0.5").ready()
    assert run.ask("set", changes={"globals.beta": 0.5})["after_tick"] >= out
    assert run.ask("set", path="carga", value=0.5)["after_tick"] >= out
    machine_is_lost(one, run)  # before they have counted
    run = one.start("--tick-hz", "0.5").ready()
    behind = run.ask("set", changes={"globals.beta": -0.5})["after_tick"]
    assert behind >= out
    run.ask("set", path="tick_hz", value=200.0)
    run.until_tick(behind + 40)
    summary = run.stop().summary
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url):
        pass


def test_behind_a_stop_nothing_runs_again(make: Make) -> None:
    """A stop's checkpoint is the end of what went: the next start takes in at once what waits."""
    one = instance(make)
    assert one.run("--ticks", "7", "--tick-hz", "10").summary["tick"] == 7
    run = one.start("--tick-hz", "0.1").ready()  # its predecessor was to tick up to 11 at least
    run.ask("pause")
    tick = run.ask("set", changes={"globals.beta": 0.5})["after_tick"]
    assert tick == run.status()["tick"] < 11
    assert run.stop().code == 0


def test_a_change_that_only_a_checkpoint_holds(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in a paused world: no tick has gone since, so the journal has no record of it."""
    one = instance(make)
    changes = (
        {"path": "carga", "value": 0.5}, {"changes": {"globals.beta": 0.5}}, None,
    )  # fmt: skip
    entidades = EARS + LEGS
    for change in changes:
        run = one.start("--tick-hz", "100").ready(120.0)
        run.until_tick(run.status()["tick"] + 60)  # the journal lets 50 more go
        run.ask("pause")
        tick = run.status()["tick"]
        if change is None:
            grown = one.ctl("grow", "legs", str(MORE))
            assert grown.code == 0, grown.err
            run.ready(60.0)
            entidades += MORE
        else:
            assert run.ask("set", **change)["after_tick"] == tick
        assert run.ask("snapshot", 60.0)["tick"] == tick
        machine_is_lost(one, run)
        run = one.start("--tick-hz", "0.001").ready()
        assert run.status()["tick"] == tick
        assert (run.status()["carga"], number(run)) == (0.5, entidades)
        behind = run.ask("set", changes={"bloques.legs.parametros.pace": 0.01})["after_tick"]
        assert behind == tick  # nothing runs again
        assert run.stop().code == 0
    run = one.start("--tick-hz", "100").ready().until_tick(tick + 30)
    assert run.ask("world")["globals"]["beta"] == 0.5
    summary = run.stop().summary
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url):
        pass


def last_of(path: Path) -> int:
    """The tick behind which the journal says that none goes as yet."""
    record: dict[str, Any] = dict(read_lines(path).records[-1])
    return int(record.get("until", record["tick"]))


def test_what_changes_in_a_paused_world_counts_from_its_tick(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many more ticks the journal had been told of, the machine is lost before the next:
    by a reload, and what was set and written, after which there is no checkpoint."""
    one = instance(make)
    monkeypatch.setenv("COREC_HOME", str(one.home))
    monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
    whom = [EARS, EARS + LEGS - 1, EARS + LEGS]  # the last of them is new
    changes: tuple[dict[str, Any], ...] = (
        {"carga": 0.5}, {"bloques.legs.parametros.drift": 0.2, "bloques.legs.umbral": "nunca"},
    )  # fmt: skip
    with corec.World(one.config_path) as world:
        run = one.start("--tick-hz", "100", "--workers", "1").ready(120.0).until_tick(10)
        run.ask("snapshot", 60.0)
        at = run.until_tick(30).answered("pause")["tick"]
        files = one.home.rglob("journal-*.jsonl")
        (path,) = files
        wait_until(lambda: last_of(path) <= at, "the journal knows of it", 30.0)
        reloads = config()
        reloads["bloques"][1]["parametros"] = {"pace": 0.5}
        one.configure(reloads)
        reloaded = one.ctl("reload")
        assert reloaded.code == 0, reloaded.err
        assert run.ready().answered("pause")["tick"] == at
        for change in changes:
            assert run.answered("set", changes=change)["after_tick"] == at
        assert one.ctl("grow", "legs", str(MORE)).code == 0
        assert run.ready(60.0).answered("pause")["tick"] == at
        with corec.attach("corec1") as living:
            assert living.write("legs", whom, x=0.5) == at
        machine_is_lost(one, run)
        run = one.start("--tick-hz", "100").ready(120.0).until_tick(at + 20)
        found = run.answered("digest")
        world.run(at)
        for change in ({"bloques.legs.parametros.pace": 0.5}, *changes):
            world.set(change)
        world.grow("legs", MORE)
        world.write("legs", whom, x=0.5)
        world.run(found["tick"] - at)
        assert world.digest() == found["digest"]
        assert run.stop().code == 0


BEGINS = '''"""Begins as its parameter says."""

import corec


def begin(me):
    """Shows with what it began."""
    me.a = me.up
    return 0.0


@corec.micro(state={"a": "f4"}, params={"up": 0.0}, init=begin)
def begins(me):
    """Nothing more."""
    return me.a
'''


UP = "bloques.t.parametros.up"


def began(run: Running, count: int) -> list[float]:
    """With what each of the first ``count`` entities began."""
    return [run.answered("entity", id=k)["estado"]["a"] for k in range(count)]


def test_a_growth_that_runs_again_begins_with_what_counted_then(make: Make) -> None:
    """Of three values: the configuration's, the schedule's, and one that is set afterwards."""
    swarm = {"id": "t", "canal": 1, "entidades": 4, "procesador": "begins:begins",
             "parametros": {"up": 1.0}}  # fmt: skip
    one = make({
        "instance_id": "corec1", "http": {"port": 0}, "bloques": [swarm],
        "schedule": [{"at": 5, "set": {UP: 2.0}}],
    })  # fmt: skip
    (one.home / "plugins").mkdir(exist_ok=True)
    (one.home / "plugins" / "begins.py").write_text(BEGINS, encoding="utf-8")
    run = one.start("--tick-hz", "100").ready(120.0).until_tick(20)
    run.ask("snapshot", 60.0)
    grown = one.ctl("grow", "t", "3")
    assert grown.code == 0, grown.err
    run.ready(60.0)
    then = [1.0] * 4 + [2.0] * 3
    assert began(run, 7) == then
    run.answered("set", path=UP, value=3.0)
    last = run.until_tick(run.status()["tick"] + 50).status()["tick"]
    (journal,) = one.home.rglob("journal-*.jsonl")
    wait_until(
        lambda: any(UP in r.get("set", {}) for r in read_lines(journal).records), "it is kept"
    )
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "100").ready(60.0).until_tick(last + 1, 120.0)
    assert began(run, 7) == then
    wait_until(lambda: one.ctl("grow", "t", "1").code == 0, "no tick runs again any more")
    assert began(run.ready(60.0), 8) == [*then, 3.0]
    run.stop()
