"""Tasks that messages start: each message is answered once, whatever is killed; what a stream lost
before it was read is told."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from corec import layout as L
from corec.broker.groups import beginning
from corec.broker.link import Link
from corec.config import parse_config
from corec.plan import make_plan
from corec.tasks.source import OfMessages, numbered
from corec.tasks.streams import Names
from corec.tasks.trimmed import Read
from tests.crash.test_supervisor import kill_supervisor
from tests.crash.worlds import armed, spared
from tests.e2e.conftest import compiled, make
from tests.support.instance import small_config
from tests.support.processes import wait_until
from tests.tasks.test_thermostats import ctl, entries, restarts

__all__ = ["compiled", "make"]
COUNT = 600
MESSAGE = struct.Struct("!Ibf?")
DEATHS = ",".join(f"tasks@tasks.{point}" for point in ("before_end:2", "after_end", "before_end"))
PROCESSORS = '''"""Says again what it is told; and what listens to the answers."""

import pathlib

import corec

HERE = pathlib.Path(__file__).parent


@corec.celu
def echo(me, value):
    return value


@corec.task
async def answer(notice):
    """A reading for who listens; and a trace of the call."""
    with open(HERE / "calls", "a") as file:
        file.write(notice.key + "\\n")
    if notice.valor == 13.0:
        raise corec.GiveUp("unlucky")
    return {"id": 600 + notice.entity, "valor": notice.valor}
'''


def config() -> dict[str, Any]:
    """Who speaks, who listens, and what is between them."""
    bloques = [
        {"id": name, "canal": canal, "entidades": COUNT, "entidades_por_bloque": 200,
         "procesador": "echoing:echo", "umbral": umbral}
        for name, canal, umbral in (("speak", 1, "siempre"), ("listen", 2, "nunca"))
    ]  # fmt: skip
    task = {"on": "mensajes", "run": "echoing:answer", "per_second": 20_000.0}
    return {"instance_id": "echo", "bloques": bloques, "tasks": [task], "http": {"port": 0},
            "tick_hz": 50}  # fmt: skip


def packed(*pairs: tuple[int, float]) -> bytes:
    return b"".join(MESSAGE.pack(entity, 1, value, True) for entity, value in pairs)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_each_message_is_answered_once(make: Any, valkey_url: str) -> None:
    one = make(config())
    plugins = one.home / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "echoing.py").write_text(PROCESSORS)
    one.environment["COREC_CRASH"] = DEATHS
    run = one.start("--fresh", "--workers", "1").ready(seconds=150.0)
    with redis.Redis.from_url(valkey_url) as client:
        sent = [(i, 1.0) for i in range(COUNT)] + [(7, 13.0), (7, 2.0)]
        client.xadd("corec:{echo}:in:1", {"m": packed(*sent)})

        def answers() -> list[int]:
            return [int(f[b"id"]) for f in entries(client, "corec:{echo}:in:2")]

        def ended() -> bool:
            said = ctl(one, "tasks")[1]
            return len(answers()) + len(said["failed"]) >= len(sent)

        wait_until(ended, "all are answered", 90.0)
        assert restarts(run) == (3, "ready")
        assert sorted(answers()) == sorted([COUNT + i for i in range(COUNT)] + [COUNT + 7])
        (failed,) = ctl(one, "tasks")[1]["failed"]
        assert failed["error"].startswith("GiveUp: unlucky")
        assert failed["aviso"]["id"].endswith("-7-2")
        keys = set((plugins / "calls").read_text().split())
        assert len(keys) == len(sent)
        assert {key.partition(":")[2] for key in keys} == {"message"}
        assert client.hlen("corec:{echo}:tareas") == 0
        _trimmed(one, run, client)
    assert run.stop().code == 0


def _trimmed(one: Any, run: Any, client: Any) -> None:
    """What is gone before the task comes to it, by the server's doing or by ours."""
    pid = run.pid_of("tasks")
    os.kill(pid, signal.SIGSTOP)
    try:
        for value in (3.0, 4.0, 5.0):
            client.xadd("corec:{echo}:in:1", {"m": packed((0, value))})
            run.until_tick(run.status()["tick"] + 3)
        wait_until(lambda: len(entries(client, "corec:{echo}:out:1")) >= 4, "emitted", 20.0)
        (task,) = ctl(one, "tasks")[1]["tasks"]
        assert task["unread"] >= 2, task  # one may have gone to it before it stopped
        client.xtrim("corec:{echo}:out:1", maxlen=0, approximate=False)
    finally:
        os.kill(pid, signal.SIGCONT)

    def told() -> bool:
        last = ctl(one, "tasks", "--limit", "1")[1]["failed"][0]
        return "trimmed before they were read" in last["error"] and last["intentos"] == 0

    wait_until(told, "it is told", 30.0)


@given(st.lists(st.integers(0, 5), max_size=30))
def test_numbered(ids: list[int]) -> None:
    wanted = [ids[: k + 1].count(one) for k, one in enumerate(ids)]
    assert numbered(np.array(ids, np.int64)).tolist() == wanted


def test_a_message_says_whose_it_is() -> None:
    plan = make_plan(parse_config(small_config()))
    source = OfMessages(Names("x"), plan, 1, 2**64 - 1)
    first, last = plan.swarms[0], plan.swarms[-1]
    ids = [first.first_id, first.end_id - 1, last.end_id - 1, first.first_id]
    found = np.zeros(4, L.MESSAGE)
    found["id"], found["valor"] = ids, 0.5
    batch = source.batch([b"t", b"9", b"m", found.tobytes()])
    notices = [*batch.part(0, 3), *batch.part(3, batch.size)]
    assert [one.entity for one in notices] == ids
    assert notices[2].procesador == last.processor.name
    assert [one.id for one in notices][::3] == ["ffffffffffffffff-9-0", "ffffffffffffffff-9-0-2"]
    found["id"] = last.end_id
    for fields in ([b"t", b"9", b"m", found.tobytes()], [b"t", b"9", b"m", b"123"]):
        with pytest.raises(ValueError, match=r"which there is not|buffer size"):
            source.batch(fields)


@pytest.mark.slow
def test_a_group_begins_behind_a_tick(valkey_url: str) -> None:
    """Wherever the stream ends by then, and whatever else is in it."""
    stream = "beginning:out"

    async def found(*behind: int | None) -> list[tuple[str, int]]:
        link = Link(valkey_url, stream)
        await link.connect()
        try:
            return [await beginning(link, stream, tick) for tick in behind]
        finally:
            await link.close()

    with redis.Redis.from_url(valkey_url) as client:
        client.delete(stream)
        assert asyncio.run(found(0, 7, None)) == [("0", 0)] * 3
        for tick in range(10, 60):
            client.xadd(stream, {"m": "x", "t": tick} if tick != 58 else {"t": "no"}, f"{tick}-1")
        client.xtrim(stream, maxlen=48, approximate=False)
        wanted = [("0", 0), ("59-1", 50), ("57-1", 48), ("20-1", 11), ("12-1", 3), ("0", 2),
                  ("59-1", 50)]  # fmt: skip
        assert asyncio.run(found(0, 70, 58, 20, 12, 11, None)) == wanted
        client.delete(stream)


NOTING = '''"""Writes down what it is called with."""

import pathlib

import corec

HERE = pathlib.Path(__file__).parent


@corec.task
async def note(notice):
    with open(HERE / "calls", "a") as file:
        file.write(f"{notice.tick} {notice.entity}\\n")
'''


def spoken(*canales: int) -> dict[str, Any]:
    """One entity on each canal, which speaks in each tick."""
    bloques = [
        {"id": f"on{canal}", "canal": canal, "entidades": 1, "entidades_por_bloque": 1,
         "umbral": "siempre"} for canal in canales
    ]  # fmt: skip
    return {"instance_id": "later", "bloques": bloques, "http": {"port": 0}, "tick_hz": 50,
            "tasks": [{"on": "mensajes", "run": "noting:note"}]}  # fmt: skip


def noting(make: Any, *canales: int) -> Any:
    """An instance of ``spoken``, with its task."""
    one = make(spoken(*canales))
    (one.home / "plugins").mkdir(exist_ok=True)
    (one.home / "plugins" / "noting.py").write_text(NOTING)
    return one


def noted(one: Any) -> set[tuple[int, int]]:
    """(tick, entity) of what its task was called with."""
    calls = one.home / "plugins" / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return {(int(tick), int(entity)) for tick, entity in map(str.split, lines)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param(["tasks@tasks.before_group"] * 7, id="before tasks came"),
        pytest.param(["broker@broker.before_groups"] * 7, id="before anything was sent"),
    ],
)
def test_what_a_new_world_sent_before_all_of_it_died_is_told(
    make: Any, valkey_url: str, deaths: list[str]
) -> None:
    """The next start begins at a later tick, and its tasks are new to nobody."""
    one = noting(make, 1)
    armed(one, deaths)
    run = one.start("--fresh")
    with redis.Redis.from_url(valkey_url) as client:

        def said(field: str) -> int:
            return int(client.hget("corec:{later}:pos", field) or 0)

        before = said("epoch")
        wait_until(lambda: said("epoch") != before, "the streams are the new world's", 150.0)
        run.until_tick(20)
        if deaths[0].startswith("tasks"):
            wait_until(lambda: said("out_tick") > 10, "messages are sent", 60.0)
        kill_supervisor(run)
        tick = said("out_tick")
    assert not noted(one)
    run = spared(one).start().ready(150.0).until_tick(tick + 40)
    run.ask("pause")
    last = int(run.answered("pause")["tick"])
    wanted = {(tick, 0) for tick in range(1, last + 1)}
    wait_until(lambda: noted(one) == wanted, "each message is told", 60.0)
    assert run.stop().code == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_a_canal_that_comes_with_a_start_is_told_from_its_first_tick(make: Any) -> None:
    """The world has sent messages of it before the process of tasks comes to ask for them: here,
    and in a first run that is over by then."""
    one = noting(make, 1)
    first = int(one.run("--fresh", "--ticks", "5", "--tick-hz", "0").summary["tick"])
    one.configure(spoken(1, 2))
    run = one.start().ready(150.0).until_tick(first + 30)
    run.ask("pause")
    last = int(run.answered("pause")["tick"])
    wanted = {(tick, 1) for tick in range(first + 1, last + 1)}
    wanted |= {(tick, 0) for tick in range(1, last + 1)}
    wait_until(lambda: noted(one) == wanted, "each message is told", 60.0)
    assert run.stop().code == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_a_task_that_comes_with_an_upgrade_begins_there(make: Any) -> None:
    """It is not called with all that the world has sent since its start."""
    one = noting(make, 1)
    one.configure({**spoken(1), "tasks": []})
    run = one.start("--fresh").ready(150.0).until_tick(30)
    before = int(run.status()["tick"])
    one.configure(spoken(1))
    assert ctl(one, "upgrade")[0] == 0
    run.ready(60.0).until_tick(int(run.status()["tick"]) + 30)
    run.ask("pause")
    last = int(run.answered("pause")["tick"])
    wait_until(lambda: (last, 0) in noted(one), "the last message is told", 60.0)
    ticks = sorted(tick for tick, _ in noted(one))
    assert ticks == [*range(ticks[0], last + 1)]
    assert ticks[0] > before
    assert run.stop().code == 0


def info(added: int, length: int) -> dict[bytes, Any]:
    """As XINFO STREAM says it, of entries 1-0, 2-0, …"""
    first = added - length + 1 if length else 0
    return {b"entries-added": added, b"length": length, b"last-generated-id": b"%d-0" % added,
            b"recorded-first-entry-id": b"%d-0" % first}  # fmt: skip


def test_what_was_trimmed_before_it_was_read() -> None:
    read = Read("0-0")
    assert read.before(info(5, 5), "0-0") == 0
    read.took(3)
    assert read.before(info(9, 6), "3-0") == 0
    assert read.before(info(9, 5), "3-0") == 1
    read.took(5)
    assert read.before(info(9, 0), "9-0") == 0
    assert read.before(info(12, 0), "9-0") == 3


def test_the_same_of_who_begins_in_the_middle() -> None:
    read = Read("3-0")
    assert read.before(info(9, 7), "3-0") == 0
    read.took(6)
    assert read.before(info(9, 1), "9-0") == 0
    assert read.before(info(12, 2), "9-0") == 1
    assert Read("3-0").before(info(9, 5), "3-0") is None
