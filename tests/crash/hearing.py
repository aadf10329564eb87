"""Two swarms that take in readings and say when, and what a calm world makes of the same.

Whose machine is lost, or whose processes die, must come to what ``compared`` comes to: a
``corec.World`` that nobody disturbs and that takes in what the journal says.
"""

from __future__ import annotations

import json
import random
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
import redis
import zstandard

import corec
from tests.e2e.conftest import Make
from tests.support.instance import Instance
from tests.support.ledger import events_of, messages_of, rows_of
from tests.support.processes import wait_until

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


def until_out(url: str, tick: int) -> None:
    """Wait until what came of ``tick``, and of one behind it, is in the streams."""
    wait_until(lambda: out_tick(url) > tick, "what came of it is out", 20)


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
