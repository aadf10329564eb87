"""A processor with other fields than the checkpoint: what stays, what goes, what is told."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.control.memory import open_control
from corec.control.outcome import last_change
from corec.supervisor.refitting import FITTED
from corec.view.saved import Saved
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import Make
from tests.support.instance import REPO, Instance, Running, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FIRST = '''"""What it was."""

import corec


@corec.micro(state={"a": "f4", "b": "u4"}, history={"h": ("f4", 5)}, params={"up": 1.0})
def thing(me):
    """Counts, and remembers; one fails once."""
    if me.tick == 3 and me.id == 7:
        raise ValueError("once")
    me.a = me.a + me.up
    me.b = me.b + 1
    me.h.push(me.a)
    return me.a
'''
SECOND = '''"""What it is."""

import corec


@corec.micro(state={"c": ("f4", 7.0), "a": "f4", "b": "f8"}, history={"h": ("f4", 5)},
             params={"up": 1.0, "down": 0.5}, means=("a",))
def thing(me):
    """Counts, and remembers, and something more."""
    me.a = me.a + me.up
    me.c = me.c + 1.0
    me.h.push(me.a)
    return me.mean_a
'''
THIRD = SECOND.replace('"c": ("f4", 7.0), ', '"c": ("f4", 0.0), "d": ("i2", -3), ')
WITH_INIT = THIRD.replace("@corec.micro(", '''def begin(me):
    """Shows with what it began."""
    me.d = me.up
    return 0.0


@corec.micro(init=begin, ''').replace('"d": ("i2", -3), "a": "f4", "b": "f8"',
                                     '"d": ("i2", -3), "a": "f4", "b": "u4"')  # fmt: skip
FOURTH = '''"""What it is to be."""

import corec


def joined(old):
    """Both in one."""
    return {"total": old["a"] + old["b"] + 1000.0 * (old["id"] == 7)}


@corec.micro(state={"total": "f8", "a": "f4"}, history={"h": ("f4", 5)}, params={"up": 1.0},
             migrate=joined)
def thing(me):
    """Counts on."""
    me.total = me.total + me.up
    return me.total
'''


def config() -> dict[str, Any]:
    return {
        "instance_id": "corec1", "http": {"port": 0}, "autoreparacion": {"max_errores": 1.0},
        "persist": {"every_ticks": 100},
        "bloques": [{"id": "t", "canal": 1, "entidades": 70, "entidades_por_bloque": 50,
                     "procesador": "thing:thing", "umbral": "siempre"}],
    }  # fmt: skip


def write(one: Instance, text: str) -> None:
    (one.home / "plugins").mkdir(exist_ok=True)
    (one.home / "plugins" / "thing.py").write_text(text, encoding="utf-8")


def last(one: Instance, *columns: str) -> dict[str, np.ndarray[Any, Any]]:
    paths = (path for path in one.home.rglob("*.corec") if path.is_file())
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
    frame = Saved(newest).frame("t", list(columns))
    return {name: frame[name] for name in columns}


def test_what_has_the_same_name_and_type_stays(make: Make) -> None:
    one = make(config())
    write(one, FIRST)
    first = one.run("--ticks", "6").summary
    assert first["tick"] == 6
    write(one, SECOND)
    refused = one.run("--ticks", "1")
    assert refused.code == 2
    assert "state field of thing:thing: b is f8 and was u4: its values go" in refused.err
    assert "--migrate" in refused.err
    checked = one.command("check", str(one.config_path))
    assert checked.code == 0, checked.err
    assert "b is f8 and was u4: its values go (it takes --migrate)" in checked.out
    assert "c is new (f4), and begins as in a new entity" in checked.out
    assert one.run("--ticks", "3", "--migrate").summary["tick"] == 9
    found = last(one, "id", "a", "b", "c", "h", "fallos", "valor")
    ticks = np.where(found["id"] == 7, 8, 9)
    assert found["a"].tolist() == ticks.tolist()
    assert found["c"].tolist() == [10.0] * 70
    assert not found["b"].any()
    assert found["h"][1].tolist() == [5, 6, 7, 8, 9]
    assert found["h"][7].tolist() == [4, 5, 6, 7, 8]
    assert found["fallos"].tolist() == [int(k == 7) for k in range(70)]
    assert found["valor"][0] == pytest.approx((49 * 8 + 7) / 50)
    write(one, THIRD)  # another default, and one field more: nothing is lost
    assert one.run("--ticks", "1").summary["tick"] == 10
    found = last(one, "a", "c", "d")
    assert (found["a"][0], found["c"][0], found["d"][0]) == (10.0, 11.0, -3)


def test_a_new_field_begins_with_what_the_schedule_says(make: Make) -> None:
    """``init`` is called with the parameters that count then, not those of the file."""
    one = make({**config(), "schedule": [{"at": 2, "set": {"bloques.t.parametros.up": 5.0}}]})
    write(one, FIRST)
    assert one.run("--ticks", "6").summary["tick"] == 6
    write(one, WITH_INIT)
    assert one.run("--ticks", "1").summary["tick"] == 7
    assert set(last(one, "d")["d"].tolist()) == {5}


def test_a_new_field_within_ticks_that_run_again_begins_with_what_counted_then(make: Make) -> None:
    """Not with what was set later, which counts behind them."""
    one = make(config())
    write(one, FIRST)
    run = one.start("--tick-hz", "0.001").ready()
    stepped(run, 6)
    run.ask("snapshot", 60.0)
    stepped(run, 20)
    run.answered("set", path="bloques.t.parametros.up", value=3.0)
    stepped(run, 22)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "0.001").ready()
    stepped(run, 10)
    left_in_memory(one, run)
    write(one, WITH_INIT)
    assert one.run("--ticks", "14").summary["tick"] == 24
    found = last(one, "d", "a")
    assert set(found["d"].tolist()) == {1}
    was = np.full(70, 20.0 + 4 * 3.0)
    was[7] -= 1.0  # one call failed
    assert found["a"].tolist() == was.tolist()


def left_in_memory(one: Instance, run: Running) -> None:
    """Its supervisor is killed while no tick goes on."""
    run.signal(signal.SIGKILL)
    run.process.wait()
    wait_until(lambda: not one.processes(), "all its processes end")


def at_work(one: Instance, workers: int) -> int:
    """Have the world in memory say so; what it said before."""
    with open_control(one.folder, writable=True) as control:
        before = int(control.words[L.C_WORKERS])
        control.words[L.C_WORKERS] = workers
    return before


def refused(one: Instance) -> str:
    ended = one.run("--ticks", "1")
    assert ended.code == 2
    return ended.err


def test_a_world_in_memory_has_other_fields(make: Make) -> None:
    """It stands still between two ticks: the next start makes of it what ``migrate`` says."""
    one = make(config())
    write(one, FIRST)
    run = one.start("--tick-hz", "0.001").ready()
    run.ask("pause")
    run.ask("step", ticks=6 - run.status()["tick"])
    run.until_tick(6)
    left_in_memory(one, run)
    write(one, FOURTH.replace("1000.0 *", "1e400 *"))
    assert "migrate of thing:thing: total: found some that don't" in refused(one)
    write(one, FOURTH.replace('return {"total":', 'return {"sum":'))
    assert "found 'sum', expected state fields: total, a" in refused(one)
    write(one, SECOND)
    assert "--migrate" in refused(one)
    write(one, FOURTH)
    told = one.command("check", str(one.config_path))
    assert "total is new (f8), as migrate has it" in told.out
    for name in ("in.lane", "journal.lane", "out-0.lane", "events-broker.lane"):
        away = (one.folder / name).rename(one.folder / f"{name}.away")
        text = refused(one)
        assert f"{name}: found no such file" in text
        assert "nothing was changed" in text
        away.rename(one.folder / name)
    workers = at_work(one, 0)
    assert f"found 0 workers and {workers} lanes" in refused(one)
    at_work(one, workers)
    for point in ("refit.before_rename", "refit.after_rename"):
        armed(one, [point]).run("--ticks", "1")
        wait_until(lambda: not one.processes(), "all its processes end")
    spared(one)
    assert one.run("--ticks", "3").summary["tick"] == 9
    found = last(one, "total", "a", "fallos")
    was = np.full(70, 6.0)  # one call failed at tick 3, and nothing was repaired
    was[7] = 5.0
    assert found["a"].tolist() == was.tolist()
    wanted = 2 * was + 3
    wanted[7] += 1000.0
    assert found["total"].tolist() == wanted.tolist()


def stepped(run: Running, tick: int) -> None:
    """Paused behind ``tick``."""
    run.answered("pause")
    if (more := tick - run.status()["tick"]) > 0:
        run.ask("step", 60.0, ticks=more)
    assert run.status()["tick"] == tick


def upgraded(run: Running, text: str) -> str:
    """Upgrade to the processor ``text``; what is said of it, nothing if it was done."""
    one = run.instance
    write(one, text)
    before = last_change(one.folder)["number"]
    run.signal(signal.SIGUSR2)  # it is compiled first, which may take a while
    wait_until(lambda: last_change(one.folder)["number"] > before, "the outcome", 240.0)
    return str(last_change(one.folder)["reason"] or "")


def test_an_upgrade_gives_other_fields(
    make: Make, monkeypatch: pytest.MonkeyPatch, pg_dsn: str
) -> None:
    """Or is refused, and the world ticks on as it was."""
    one = make(config())
    monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
    write(one, FIRST)
    run = one.start("--tick-hz", "40").ready().until_tick(5)
    pid = run.pid
    assert "total: found some that don't" in upgraded(run, FOURTH.replace("1000.0 *", "1e400 *"))
    run.until_tick(run.status()["tick"] + 3)
    assert not upgraded(run, FOURTH)
    assert not (one.folder / FITTED).exists()
    run.ready().until_tick(run.status()["tick"] + 3)
    with corec.attach("corec1") as found:
        frame = found.frame("t", ["id", "total", "a", "fallos"])
    at = frame["a"].max()  # nothing has changed it since
    was = np.where(frame["id"] == 7, at - 1, at)
    assert frame["a"].tolist() == was.tolist()
    wanted = 2 * was + (frame.tick - at) + 1000.0 * (frame["id"] == 7)
    assert frame["total"].tolist() == wanted.tolist()
    wait_until(lambda: run.status()["checkpoint"]["made"] > 0, "a checkpoint of the new fields")
    lost = upgraded(run, SECOND)
    assert "total (f8) goes" in lost
    assert "upgrade --migrate goes on without them" in lost
    run.until_tick(run.status()["tick"] + 3)
    migrated = one.ctl("upgrade", "--migrate")
    assert migrated.code == 0, migrated.err
    run.ready()
    write(one, FIRST)  # back to the older code
    back = one.ctl("upgrade", "--migrate")
    assert back.code == 0, back.err
    run.ready().until_tick(run.status()["tick"] + 3)
    with corec.attach("corec1") as found:
        older = found.frame("t", ["a", "b"])
    assert len(set(older["b"].tolist())) == 1
    assert 3 <= older["b"][0] < older.tick - frame.tick  # a field of that name begins anew
    assert older["a"].min() > at
    assert run.pid == pid
    assert run.ready().stop().summary["tick"] > frame.tick
    assert last(one, "a")["a"].min() > at
    told = [e["detalle"] for e in events_of(pg_dsn) if e["tipo"] == "actualizacion"]
    assert [one["aceptada"] for one in told] == [False, True, False, True, True]
    assert "total is new (f8), as migrate has it" in told[1]["campos"][-1]


@pytest.mark.parametrize("point", ["refit.tried", "refit.before_rename", "refit.after_rename"])
def test_an_upgrade_that_dies_over_other_fields(make: Make, point: str) -> None:
    """The check of it, and everything goes on; the supervisor, and the next start goes on."""
    one = make(config())
    write(one, FIRST)
    run = armed(one, [point]).start("--tick-hz", "0.001").ready()
    run.ask("pause")
    run.ask("step", ticks=6 - run.status()["tick"])
    if point == "refit.tried":
        assert "killed by SIGKILL" in upgraded(run, FOURTH)
        assert not (one.folder / FITTED).exists()
        run.ready()
        run.ask("pause")
        run.ask("step", ticks=1)
        left_in_memory(one, run)
    else:
        write(one, FOURTH)
        run.signal(signal.SIGUSR2)
        run.process.wait(240.0)
        wait_until(lambda: not one.processes(), "all its processes end")
    spared(one)
    until = 8 if point == "refit.tried" else 9
    at = 6 + (point == "refit.tried")
    assert one.run("--ticks", str(until - at)).summary["tick"] == until
    found = last(one, "id", "total", "a")
    was = np.where(found["id"] == 7, at - 1, at)
    assert found["a"].tolist() == was.tolist()
    wanted = 2 * was + (until - at) + 1000.0 * (found["id"] == 7)
    assert found["total"].tolist() == wanted.tolist()


def test_the_thermometer_of_the_examples(make: Make) -> None:
    """``examples/thermometer.py`` as it stands, behind one that told fahrenheit."""
    what = {"id": "t", "canal": 1, "entidades": 70, "procesador": "thermometer:thermometer"}
    one = make({**config(), "bloques": [what]})
    new = (REPO / "examples" / "thermometer.py").read_text(encoding="utf-8")
    old = new.replace("celsius", "fahrenheit").replace(", migrate=in_fahrenheit", "")
    (one.home / "plugins").mkdir()
    plugin = one.home / "plugins" / "thermometer.py"
    plugin.write_text(old.replace("me.fahrenheit + me.random()", "50.0 + me.id"), encoding="utf-8")
    assert one.run("--ticks", "2").code == 0
    fahrenheit = last(one, "fahrenheit")["fahrenheit"]
    assert fahrenheit.tolist() == [49.5 + k for k in range(70)]
    plugin.write_text(new, encoding="utf-8")
    assert one.run("--ticks", "1", "--migrate").summary["tick"] == 3
    drift = last(one, "celsius")["celsius"] - (fahrenheit - 32.0) / 1.8
    assert 0.0 < np.abs(drift).max() < 0.501
