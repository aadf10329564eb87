"""A machine is lost under live input, again and again: the ticks that run again are the same ones.

Readings come all the while, settings change, the supervisor, the leader and the broker are killed,
the memory is gone twice; checkpoint, journal, PostgreSQL and Redis stay. What is in the end, every
row and every message, is what a ``corec.World`` comes to that nobody disturbs and that takes in
what the journal says.
"""

from __future__ import annotations

import json
import random
import signal
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import zstandard

import corec
from tests.crash.worlds import armed
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost
from tests.support.ledger import events_of, messages_of, rows_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

MESSAGE = struct.Struct("!Ibf?")
HEARING = '''"""Entities whose state says in which tick each reading arrived."""

import corec


@corec.celu(state={"seen": "u4", "mean": "f4"})
def hearing(me, value):
    """Each reading weighs as much as chance and a setting have it in its tick."""
    me.seen = me.seen + 1
    me.mean = 0.9 * me.mean + 0.1 * value * me.random() + me.globals.beta
    return me.mean


@corec.micro(state={"x": "f4"}, params={"pace": 0.05, "drift": 0.0})
def walking(me):
    """It goes on whether something arrives or not; a reading moves it."""
    me.x = 0.9 * me.x + me.pace * me.random() + 0.1 * me.valor + me.drift
    return me.x
'''
EVERY = 5
COLUMNS = ["seen", "mean", "activo"] if find_spec("pyarrow") else []
"""Of the ears, to whom nothing is written; a file of them takes pyarrow."""
EARS, LEGS = 60, 90
ROW = ("umbral", "fitness", "media", "desviacion", "errores")


def config(**changes: Any) -> dict[str, Any]:
    """Two swarms that take in readings, on two canales."""
    return {
        "instance_id": "corec1", "http": {"port": 0}, "persist": {"every_ticks": EVERY},
        "streams": {"batch_ms": 2}, "checkpoint": {"every_seconds": 0}, "globals": {"beta": 0.01},
        "bloques": [
            {"id": "ears", "canal": 1, "entidades": EARS, "entidades_por_bloque": 20,
             "procesador": "lived:hearing", "umbral": "siempre",
             "collect": [{"every": 4, "stats": ["sum(seen)", "mean(mean)"]},
                         {"every": 10, "stats": ["quantile(mean, 0.5)", "count(seen > 3)"],
                          "columns": COLUMNS}]},
            {"id": "legs", "canal": 2, "entidades": LEGS, "entidades_por_bloque": 30,
             "procesador": "lived:walking", "umbral": 0.2},
        ],
        **changes,
    }  # fmt: skip


def instance(make: Make, **changes: Any) -> Instance:
    made = make(config(**changes), name="home")
    (made.home / "plugins").mkdir()
    (made.home / "plugins" / "lived.py").write_text(HEARING, encoding="utf-8")
    return made


@contextmanager
def fed(url: str, seed: int) -> Iterator[None]:
    """Readings for both swarms at random moments, garbage among them."""
    over = threading.Event()
    rng = random.Random(seed)

    def feed() -> None:
        with redis.Redis.from_url(url) as client:
            while not over.wait(rng.uniform(0.001, 0.02)):
                canal = rng.choice((1, 2))
                first, count = (0, EARS) if canal == 1 else (EARS, LEGS)
                ids = [first + rng.randrange(count) for _ in range(rng.randrange(1, 40))]
                packed = [MESSAGE.pack(one, canal, rng.uniform(-1, 2), True) for one in ids]
                if rng.random() < 0.1:
                    packed.insert(rng.randrange(len(packed)), MESSAGE.pack(9999, canal, 1.0, True))
                client.xadd(f"corec:{{corec1}}:in:{canal}", {"m": b"".join(packed)})

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def out_tick(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        found: Any = client.hget("corec:{corec1}:pos", "out_tick")
    return int(found or -1)


def inbox_fill(run: Running) -> float:
    """Share of in.lane that is used."""
    found = run.status()["lanes"][0]
    return float(found["used_bytes"] / found["capacity_bytes"])


def table_in(path: Path) -> Any:
    return import_module("pyarrow.parquet").read_table(path)


def same_columns(found: Any, world: corec.World) -> None:
    """Those that grow before the next tick are in it, too."""
    frame = world.frame("ears", COLUMNS)
    there = np.isin(found["id"].to_numpy(), frame.ids)
    for name, values in (("id", frame.ids), *frame.items()):
        assert (found[name].to_numpy()[there] == values).all(), (name, frame.tick)
    assert len(frame) == there.sum()
    assert set(found["tick"].to_pylist()) == {frame.tick}


def compared(
    summary: dict[str, Any], one: Instance, dsn: str, url: str, canales: Sequence[int] = (1, 2)
) -> corec.World:
    """What is in the sinks, against a world that takes in what the journal says: each row with its
    payload, each message (a tick may have several of one entity), the files, the digest."""
    sent: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for canal in canales:
        found = messages_of(url, canal)
        assert [m.tick for m in found] == sorted(m.tick for m in found), "out of tick order"
        for message in found:
            sent[message.tick].append((message.id, message.valor))
    assert summary["messages_out"] == sum(map(len, sent.values()))
    rows = {(row["id"], row["tick"]): row for row in rows_of(dsn)}
    assert summary["rows_persisted"] == len(rows) == len(rows_of(dsn))
    world = corec.World(Path(one.config_path), replay=url)
    since: list[tuple[int, int, float]] = []
    files = {int(path.stem): path for path in one.home.rglob("collect/ears/*.parquet")}
    due = [tick for tick in range(1, summary["tick"]) if tick % 10 == 0]
    assert sorted(files) == (due if COLUMNS else [])
    for tick in range(1, summary["tick"] + 1):
        world.run(1)
        if tick in files:
            same_columns(table_in(files[tick]), world)
        emitted = [(int(m["id"]), float(m["valor"])) for m in world.messages()]
        assert sorted(emitted) == sorted(sent[tick]), f"messages of tick {tick}"
        since += [(entity, tick, valor) for entity, valor in emitted]
        if tick % EVERY == 0:
            said: list[tuple[int, int, float]] = []
            for block in world.blocks():
                row = rows[block["id"], tick]
                assert {k: row[k] for k in ROW} == {k: block[k] for k in ROW}, (tick, block["id"])
                found = json.loads(zstandard.decompress(row["payload"]))["mensajes"]
                values = np.array(found["valor"], np.float32).tolist()
                said += zip(found["id"], found["tick"], values, strict=True)
            assert sorted(said) == sorted(since)
            since = []
    told = sorted((e["tick"], e["bloque"], json.dumps(e["detalle"], sort_keys=True))
                  for e in events_of(dsn) if e["tipo"] == "statistics")  # fmt: skip
    collected = [(e["tick"], e["bloque"], json.dumps(e["detalle"], sort_keys=True))
                 for e in world.events() if e["tipo"] == "statistics"]  # fmt: skip
    assert told == sorted(collected)
    assert len(told) > 100
    assert world.digest() == summary["digest"]
    return world


def test_a_machine_lost_under_live_input(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = armed(instance(make), (
        "broker@journal.written:3", "broker@journal.synced:9", "worker 0@leader.after_journal:25",
        "worker 0@leader.before_go:40", "worker 0@collect.pushed:4",
    ))  # fmt: skip
    run = one.start("--tick-hz", "100", "--workers", "2").ready(120.0)
    with fed(valkey_url, 1):
        run.until_tick(40)
        run.ask("set", path="carga", value=0.75)
        made = run.ask("snapshot", 60.0)
        tick = made["tick"]
        run.ask("set", changes={"globals.beta": 0.03, "bloques.legs.parametros.pace": 0.2})
        run.until_tick(tick + 70)
        run.ask("set", changes={"globals.beta": -0.01})
        run.ask("set", path="carga", value=0.5)
        run.until_tick(tick + 110)
        wait_until(lambda: out_tick(valkey_url) > tick + 80, "what came of it is out", 20)
        machine_is_lost(one, run)
        run = one.start("--tick-hz", "100", "--workers", "1").ready()
        run.until_tick(tick + 20)
        assert run.status()["carga"] == 0.5
        machine_is_lost(one, run)  # within the stretch that it runs again
        run = one.start("--tick-hz", "100", "--workers", "2").ready()
        run.until_tick(tick + 10)
        run.signal(signal.SIGKILL)  # adopted within it
        run.process.wait()
        wait_until(lambda: not one.processes(), "all its processes end")
        run = one.start("--tick-hz", "100", "--workers", "2").ready()
        run.until_tick(tick + 150)
        run.ask("set", path="carga", value=1.0)
        run.until_tick(tick + 170)
    summary = run.stop().summary
    assert not [e for e in events_of(pg_dsn) if e["tipo"] in ("replay_differs", "input_repeated")]
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url) as world:
        assert int(world.frame("ears", ["seen"])["seen"].sum()) > 500
    found = json.loads(one.command(
        "fork", made["path"], "--replay", "--ticks", str(summary["tick"] - tick), "--json"
    ).out)  # fmt: skip
    assert (found["digest"], found["tick"]) == (summary["digest"], summary["tick"])


def test_ticks_that_took_in_most_of_the_inbox_run_again(
    make: Make, pg_dsn: str, valkey_url: str
) -> None:
    """What waited for a paused world comes in at once; its tick fits into the inbox once more."""
    one = instance(make)
    run = one.start("--tick-hz", "100").ready(120.0)
    tick = run.ask("snapshot", 60.0)["tick"]
    packed = b"".join(MESSAGE.pack(k % EARS, 1, 0.5, True) for k in range(20_000))
    run.ask("pause")
    paused = run.status()["tick"]
    for tick in (paused + 1, paused + 2):
        with redis.Redis.from_url(valkey_url) as client:
            for _ in range(50):
                client.xadd("corec:{corec1}:in:1", {"m": packed})
        wait_until(lambda: inbox_fill(run) > 0.75, "the inbox is full", 20)
        run.ask("step", ticks=1)
        run.until_tick(tick)
        assert inbox_fill(run) > 0.2, "one tick leaves some of it"
    run.ask("resume")
    wait_until(lambda: run.status()["messages_in"] == 2_000_000, "all is taken in", 60)
    tick = run.status()["tick"]
    wait_until(lambda: out_tick(valkey_url) >= tick, "what came of it is out", 20)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "100").ready().until_tick(tick + 10)
    assert run.stop().code == 0
    assert not [e for e in events_of(pg_dsn) if e["tipo"] in ("replay_differs", "input_repeated")]


def test_what_is_set_while_ticks_run_again_counts_behind_them(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is in a checkpoint that is made within the stretch: the journal has not got it yet."""
    one = instance(make)
    run = one.start("--tick-hz", "200").ready(120.0)
    tick = run.ask("snapshot", 60.0)["tick"]
    run.until_tick(tick + 200)
    run.ask("pause")  # the last tick is one of which the journal tells
    last = run.ask("set", changes={"globals.beta": 0.02})["after_tick"]
    run.ask("step", ticks=1)
    wait_until(lambda: out_tick(valkey_url) > last, "what came of it is out", 20)
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "20").ready()
    assert run.ask("set", changes={"globals.beta": 0.03})["after_tick"] == last + 1
    assert run.ask("set", path="carga", value=0.5)["after_tick"] == last + 1
    assert run.ask("snapshot", 60.0)["tick"] < last
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "200").ready().until_tick(last + 10)
    assert run.status()["carga"] == 0.5
    run.ask("set", changes={"globals.beta": 0.04})
    run.until_tick(last + 20)
    summary = run.stop().summary
    told = [e["detalle"] for e in events_of(pg_dsn) if e["tipo"] == "setting_changed"]
    assert (0.03, 0.04) in {(one["before"], one["value"]) for one in told}
    monkeypatch.setenv("COREC_HOME", str(one.home))
    with compared(summary, one, pg_dsn, valkey_url):
        pass
