"""``corec.attach``: a living instance, read beside its ticks, held against ``corec.World``."""

from __future__ import annotations

import csv
import json
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import redis

import corec
from corec.command_line import text_of
from corec.control.client import Client
from corec.control.discover import NoInstance, find_instance
from corec.control.events import followed_events
from corec.control.protocol import ControlError
from corec.view import attached as module
from corec.view.attached import Attached
from corec.world.checkpoint import CheckpointRefused
from tests.checkpoint.test_running import durable
from tests.support.instance import REPO, Ended, Running
from tests.support.invoked import invoked
from tests.support.processes import hear_signals, patient, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FIRST = 290  # id of the first detector


@pytest.fixture
def world(living: Running) -> Iterator[Attached]:
    """Attached to the only instance, which ticks at 200 Hz."""
    with corec.attach() as found:
        found.set("tick_hz", 200)
        found.resume()
        yield found


def at(living: Running, tick: int) -> corec.World:
    """What the instance was after ``tick``, when no reading had come."""
    found = corec.World(living.instance.config_path)
    found.run(tick)
    return found


@pytest.mark.parametrize("hz", [200, 0])
@pytest.mark.parametrize("held", [False, True])
def test_a_frame_is_the_world_at_its_tick(
    world: Attached, living: Running, hz: int, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two ticks, or, when that can't be, while the world is held."""
    world.set("tick_hz", hz)
    if held:
        monkeypatch.setattr(module, "TRY_SECONDS", 0.0)
    first = world.frame("sensores")
    frame = world.frame("sensores", ["id", "valor", "fallos"], ids=[0, 289, 120, 49, 50])
    assert frame.tick >= first.tick
    with at(living, first.tick) as same:
        assert same.frame("sensores")["valor"].tobytes() == first["valor"].tobytes()
        same.run(frame.tick - first.tick)
        wanted = same.frame("sensores", ["valor"], ids=frame.ids)
        assert wanted["valor"].tobytes() == frame["valor"].tobytes()
    assert frame.columns == ["id", "valor", "fallos"]
    before = world.ticks
    wait_until(lambda: world.ticks > before, "the next tick")


def test_a_large_frame_waits(world: Attached, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set("tick_hz", 5)
    monkeypatch.setattr(module, "COPIED_PER_SECOND", 290 * 8 / 0.1)  # half the gap
    before = world.ticks
    assert world.frame("sensores", ["valor", "fallos"]).tick > before


def test_readings_alerts_and_the_digest(world: Attached, living: Running) -> None:
    """What came in through the streams, given to a ``World`` at the same tick, makes the same."""
    tick = world.pause()
    taken = living.status()["messages_in"]
    noise = np.random.default_rng(3).normal(20.0, 0.1, 40).astype(np.float32)
    ids = np.repeat([FIRST, FIRST + 39], 41)
    values = np.tile(np.append(noise, np.float32(99.0)), 2)
    packed = b"".join(
        struct.pack("!Ibf?", one, 3, value, True)
        for one, value in zip(ids.tolist(), values.tolist(), strict=True)
    )
    with redis.Redis.from_url(living.instance.environment["COREC_REDIS_URL"]) as client:
        client.xadd("corec:{corec1}:in:3", {"m": packed})
    wait_until(lambda: _inbox(world) > 0, "the readings in the inbox")
    assert world.step(2) == tick + 2
    wait_until(lambda: living.status()["messages_in"] == taken + len(ids), "them being counted")
    durable(living, tick + 2)
    with at(living, tick) as same:
        same.tick({"detectores": (ids, values)})
        emitted = same.messages()
        same.run(1)
        found = world.digest()
        assert (found, found.tick) == (same.digest(), tick + 2)
        for one in (FIRST, FIRST + 39, 7):
            assert world.entity(one) == same.entity(one)
        windows = world.frame("detectores", ["values", "seen"], ids=[FIRST])
        assert windows["seen"].tolist() == [41]
        assert windows["values"][0, -41:].tolist() == values[:41].tolist()
        assert world.means("detectores") == same.means("detectores")
        keys = same.blocks()[0].keys()
        assert world.blocks() == same.blocks()
        assert {"umbral", "fitness", "tick"} <= keys
    alerts = list(world.alerts("first", timeout=2.0))
    assert [(a.tick, a.id, a.canal) for a in alerts] == [
        (tick + 1, int(m["id"]), 3) for m in emitted if m["canal"] == 3
    ]
    assert {a.id for a in alerts} == {FIRST, FIRST + 39}
    assert all(a.valor > 0.5 and a.procesador.endswith("ewma") for a in alerts)
    assert list(world.alerts("first", timeout=0)) == []
    taken_one = list(islice(world.alerts("second", timeout=2.0), 1))
    assert list(world.alerts("second", timeout=0)) == alerts
    assert taken_one == alerts[:1]
    assert list(world.alerts("third", timeout=0, from_now=True)) == []
    _example_prints(living, len(alerts))


def _example_prints(living: Running, alerts: int) -> None:
    """``examples/alerts.py`` as it stands prints them all, ends by Ctrl-C, prints none again."""
    words = [sys.executable, "-u", str(REPO / "examples" / "alerts.py")]
    environment = {**living.instance.environment}
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=hear_signals
    ) as example:
        assert example.stdout is not None
        lines = [example.stdout.readline() for _ in range(alerts)]
        with redis.Redis.from_url(environment["COREC_REDIS_URL"]) as client:
            key = "corec:{corec1}:alertas"
            wait_until(lambda: client.xpending(key, "mailer")["pending"] == 0, "the last one's end")
        example.send_signal(signal.SIGINT)
        assert example.wait(patient(30)) == 0
    assert all(re.fullmatch(r"tick \d+: entity \d+ says [01]\.\d\d\n", line) for line in lines)
    with corec.attach() as again:
        assert list(again.alerts("mailer", timeout=0)) == []


def _inbox(world: Attached) -> int:
    """Readings that wait in the instance's inbox, by what ``status`` says of its lane."""
    lanes = [lane for lane in world.status()["lanes"] if lane["lane"] == "in"]
    return sum(int(lane["used_bytes"]) for lane in lanes)


def test_one_entity_is_what_the_command_shows(world: Attached, living: Running) -> None:
    world.pause()
    shown = json.loads(living.instance.ctl("entity", "42", "--json").out)
    assert world.entity(42) == shown
    assert shown["tick"] == world.ticks
    with pytest.raises(LookupError, match="ids go from 0 to 359"):
        world.entity(360)


def test_events_come_from_the_table(world: Attached, living: Running) -> None:
    with at(living, 10) as same:
        expected = same.events()
    assert len(expected) == 3
    found: list[dict[str, object]] = []

    def there() -> bool:
        found[:] = world.events("repair")
        return len(found) == 3

    wait_until(there, "three repairs in the table")
    assert [{k: v for k, v in e.items() if k != "timestamp"} for e in found] == expected
    assert world.events("repair", since=6) == [] == world.lineage(0)
    assert world.events("repair", limit=1) == found[-1:]
    assert {e["tipo"] for e in world.events()} >= {"repair"}


def test_events_are_followed_as_they_come(world: Attached, living: Running) -> None:
    stream = followed_events(find_instance("corec1"), "setting_changed", 0, None)
    for rate in (191.5, 182.5):
        tick = world.set("tick_hz", rate)
        told = next(one["detalle"] for one in stream if one["detalle"]["value"] == rate)
        assert told["after_tick"] == tick
    there = len(world.events("setting_changed"))
    last = followed_events(find_instance("corec1"), "setting_changed", None, 1)
    assert next(last)["detalle"]["value"] == 182.5
    world.set("tick_hz", 200)
    assert next(last)["detalle"]["value"] == 200
    assert len(world.events("setting_changed")) == there + 1


def test_settings_go_through_the_socket(world: Attached) -> None:
    assert world.set("tick_hz", 150) <= world.ticks
    world.set("sensores", umbral={"min": 0.1, "max": 0.9}, autoreparacion={"max_errores": 0.05})
    world.set({"bloques.sensores.umbral.max": 0.9, "bloques.sensores.umbral.min": 0.1})
    assert world.status()["tick_hz"] == 150
    path = "bloques.sensores.umbral"
    for least, most in ((0.95, 0.99), (0.1, 0.9)):
        world.set({"carga": 1.0, f"{path}.min": least, f"{path}.max": most, "tick_hz": 160})
    assert world.status()["tick_hz"] == 160
    with pytest.raises(ValueError, match="found carga beside persist"):
        world.set({"carga": 1.0, "persist.every_ticks": 50})
    with pytest.raises(ValueError, match="value: found 2"):
        world.set({f"{path}.min": 0.3, "carga": 2.0})
    with pytest.raises(ValueError, match="value: found -1, expected"):
        world.set("tick_hz", -1)
    with pytest.raises(ValueError, match=r"path: found 'bloques.sensores.canal'"):
        world.set("bloques.sensores.canal", 4)
    with pytest.raises(ControlError, match="expected a paused one"):
        world.step()
    tick = world.pause()
    assert world.step(3) == tick + 3
    assert world.resume() == tick + 3


def test_a_checkpoint_goes_on_in_this_process(world: Attached, tmp_path: Path) -> None:
    """What if: the instance goes on, and so does its copy, with another load."""
    path = world.snapshot()
    assert world.config_path is not None
    with corec.World(world.config_path, checkpoint=path) as usual:
        assert world.ticks >= usual.ticks > 0
        with usual.fork() as what_if:
            what_if.set("carga", 0.5)
            what_if.run(3)
            world.pause()
            now = world.digest()
            usual.run(now.tick - usual.ticks)
            assert usual.digest() == now
        for changes, said in (
            ({"seed": 7}, "seed: found 42, configured 7"),
            ({"bloques.sensores.entidades": 289}, "entidades: found 290, configured 289"),
        ):
            told = f"does not fit the configuration: .*{said}"
            with pytest.raises(CheckpointRefused, match=told):
                corec.World(world.config_path, changes=changes, checkpoint=path)
    whole = path.read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-9])
    with pytest.raises(CheckpointRefused, match="cut"):
        corec.World(world.config_path, checkpoint=tmp_path / "cut")


def command(*words: str) -> Ended:
    """``corec WORDS``, in this process: what it loads is loaded here (``told_in_a_line``, too)."""
    done = invoked(*words)
    told = f"corec: {text_of(done.exception)}\n" if isinstance(done.exception, OSError) else ""
    return Ended(done.exit_code, done.stdout, done.stderr + told)


def test_export_writes_a_tick(world: Attached, living: Running, tmp_path: Path) -> None:
    out = tmp_path / "sensores.csv"
    done = command("export", str(out), "--swarm", "sensores", "--json")
    told = done.summary
    with at(living, told["tick"]) as same:
        frame = same.frame("sensores")
    names, *lines = csv.reader(out.read_text(encoding="utf-8").splitlines())
    assert (names, len(lines), told["rows"]) == (frame.columns, 290, 290)
    assert [float(line[1]) for line in lines] == frame["valor"].tolist()
    path = world.snapshot()
    saved = command("export", str(tmp_path / "b.csv"), "--checkpoint", str(path), "--swarm",
                    "brittle", "--column", "id", "--column", "runs")  # fmt: skip
    assert saved.code == 0, saved.err
    first, second, *_ = (tmp_path / "b.csv").read_text(encoding="utf-8").splitlines()
    assert (first, second.split(",")[0]) == ("id,runs", "330")
    row = command("export", str(tmp_path / "b.csv"), "--checkpoint", str(path), "--swarm",
                  "sensores", "--stat", "max(valor)", "--stat", "quantile(valor, 0.9)",
                  "--json")  # fmt: skip
    (line,) = lines_of(tmp_path / "b.csv")
    assert float(line["quantile(valor, 0.9)"]) == row.summary["stats"]["quantile(valor, 0.9)"]
    for words, code, said in (
        (["a.csv", "--stat", "mode(valor)"], 2, "stat: found 'mode(valor)', expected mean, std"),
        (["a.txt"], 2, "OUT: found a.txt, expected a name that ends in .parquet or .csv"),
        (["a.csv"], 2, "swarm: found none, expected one of sensores"),
        (["a.csv", "--instance", "other"], 3, "no instance 'other' is running"),
        (["a.csv", "--checkpoint", "absent"], 1, "absent"),
        (["a.csv", "--swarm", "detectores", "--column", "values"], 2, "a history"),
    ):
        ended = command("export", *words)
        assert (ended.code, said in ended.err, len(ended.err.splitlines())) == (code, True, 1)
    assert {one.name for one in tmp_path.iterdir()} == {"sensores.csv", "b.csv"}


def lines_of(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by its first one."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_export_writes_a_table(world: Attached, living: Running, tmp_path: Path) -> None:
    world.pause()
    wait_until(lambda: world.status()["persist_lag_ticks"] == 0, "all rows", 30.0)
    written = living.status()["rows_persisted"]
    for table, said in (("bloques", written), ("mensajes", None), ("eventos", None)):
        out = tmp_path / f"{table}.csv"
        told = command("export", str(out), "--table", table, "--json").summary
        rows = lines_of(out)
        assert len(rows) == told["rows"] == (said or told["rows"]) > 0
        assert {row["instance_id"] for row in rows} == {world.instance_id}
    sent = [int(one["mensajes"]) for one in lines_of(tmp_path / "bloques.csv")]
    every = lines_of(tmp_path / "mensajes.csv")
    assert len(every) == sum(sent)
    assert [int(one["fila"]) for one in every] == sorted(int(one["fila"]) for one in every)
    for words, told_so in (
        (["a.csv", "--table", "nothing"], "table: found 'nothing', expected one of bloques"),
        (["a.csv", "--table", "alertas"], "table: alertas: this instance has written none yet"),
        (["a.csv", "--table", "bloques", "--swarm", "brittle"], "--table: found it beside"),
    ):
        ended = command("export", *words)
        assert (ended.code, len(ended.err.splitlines())) == (2, 1)
        assert told_so in ended.err
    if find_spec("pyarrow") is None:  # the extra parquet
        return
    told = command("export", str(tmp_path / "a.parquet"), "--table", "bloques", "--json").summary
    read = import_module("pyarrow.parquet").read_table(tmp_path / "a.parquet")
    assert read.num_rows == told["rows"] == written
    assert [str(read.schema.field(k).type) for k in ("tick", "payload", "media")] == [
        "int64", "binary", "double",
    ]  # fmt: skip


def test_fork_says_what_if(
    world: Attached, living: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corec1").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of its name is no checkpoint
    world.pause()
    now = world.digest()
    unchanged = command("fork", "--ticks", "0", "--json").summary
    assert (unchanged["tick"], unchanged["digest"]) == (now.tick, now)
    path, config = world.snapshot(), str(living.instance.config_path)
    said = command("fork", str(path), "--config", config, "--ticks", "3", "--set", "carga=0.5",
                   "--set", "bloques.sensores.umbral=nunca", "--json").summary  # fmt: skip
    with corec.World(config, checkpoint=path) as same:
        same.set("carga", 0.5)
        same.set("bloques.sensores.umbral", "nunca")
        same.run(3)
        assert (said["from_tick"], said["tick"]) == (now.tick, now.tick + 3)
        assert said["digest"] == same.digest() != now
        assert said["means"]["sensores"] == same.means("sensores")
    assert world.ticks == now.tick
    assert world.digest() == now
    assert command("fork", "corec1", "--ticks", "0", "--json").summary["digest"] == now
    assert command("fork", "other", "--ticks", "0").code == 3
    wrong = command("fork", str(path), "--config", config, "--ticks", "1", "--set", "carga")
    assert (wrong.code, wrong.err) == (2, "corec: --set: found 'carga', expected PATH=VALUE\n")


def test_who_is_not_there_is_said(world: Attached) -> None:
    with pytest.raises(NoInstance, match=r"no instance 'other' is running \(running: corec1\)"):
        corec.attach("other")
    with pytest.raises(ValueError, match="swarm: found none, expected one of sensores, detectores"):
        world.frame()
    with pytest.raises(ValueError, match="columns: found 'values'"):
        world.frame("sensores", ["values"])
    assert world.swarms == ["sensores", "detectores", "brittle"]
    assert "corec1" in repr(world)
    assert "<td>detectores</td>" in world._repr_html_()
    world.close()
    world.close()
    with pytest.raises(ValueError, match="closed"):
        world.frame("sensores")


def test_a_hold_that_nobody_releases_ends_by_itself(world: Attached, living: Running) -> None:
    with Client(living.instance.folder / "control.sock") as client:
        held = client.ask("hold", {"seconds": 0.3})
        assert world.ticks == held["tick"]
        wait_until(lambda: world.ticks > held["tick"], "the lease to run out")
        assert client.ask("release", {"hold": held["hold"]}) == {
            "released": False, "held_seconds": None
        }  # fmt: skip
        again = client.ask("hold", {"seconds": 1.0})
        assert client.ask("release", {"hold": again["hold"]})["released"] is True
        for seconds in (0, 1.5, "x", None):
            with pytest.raises(ControlError, match=r"seconds: found .* expected seconds up to 1"):
                client.ask("hold", {"seconds": seconds})
        assert client.ask("release", {"hold": 10**9})["released"] is False


def test_it_is_told_when_it_stops_and_found_when_it_comes_again(
    world: Attached, living: Running
) -> None:
    """The last test: the attachment outlives the instance."""
    reader = world.alerts("last", from_now=True)
    assert living.stop().code == 0
    for act in (lambda: world.frame("sensores"), lambda: world.ticks, lambda: next(reader)):
        with pytest.raises(NoInstance, match="corec1 does not run any more"):
            act()
    with pytest.raises(NoInstance, match="no instance is running; start one with: corec run"):
        corec.attach()
    again = living.instance.start("--workers", "1")
    again.ready(seconds=120.0)
    frame = world.frame("sensores")
    with at(living, frame.tick) as same:
        assert same.frame("sensores")["valor"].tobytes() == frame["valor"].tobytes()
    world.set("tick_hz", 100)
