"""Job h as a newcomer would have it: two values, silence, an alert's life, a webhook once each.

The tasks' process is killed while the receiver drops, delays and fails a third of the calls. What
should have been raised is reckoned here from the messages in the out-stream, by the rule of
docs/tasks.md.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from corec.lab.chaos.receiver import Receiver
from tests.e2e.conftest import compiled, make
from tests.support.instance import REPO, Instance, Running
from tests.support.processes import is_running, wait_until

__all__ = ["compiled", "make"]
pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]
PER_BLOCK = 40
CLEAR = 40
DEATHS = ",".join(
    f"tasks@tasks.{point}"
    for point in ("before_write:3", "after_write:2", "before_publish", "after_publish:2")
)
"""Where the first four lives of the tasks' process end; the fifth is ended by hand."""
MESSAGE = struct.Struct("!Ibf?")
FAILING = '''"""Tasks that fail, each in its way, and one that answers."""

import os

import corec


@corec.task
def answer(notice):
    """A reading for its neighbour."""
    return {"id": notice.entity + 1, "t": 20.0, "h": 99.0}


@corec.task
def poison(notice):
    """Takes its process along."""
    os._exit(3)


@corec.task
async def wrong(notice):
    """Not to be tried again."""
    raise corec.GiveUp("no such door")
'''


def config(url: str, secret: Path) -> dict[str, Any]:
    """The example's, smaller and faster."""
    found: dict[str, Any] = json.loads((REPO / "examples" / "thermostats.json").read_text())
    del found["db_config"], found["redis_config"]
    found["bloques"][0].update(entidades=2 * PER_BLOCK, entidades_por_bloque=PER_BLOCK)
    found["alertas"]["clear_after_ticks"] = CLEAR
    found["tasks"][0].update(url=url, secret_file=str(secret), timeout_seconds=0.3, retries=1000,
                             name="hook")  # fmt: skip
    once = {"canal": 1, "retries": 1}
    found["tasks"] += [
        {**once, "run": "failing:answer"},
        {**once, "run": "failing:poison", "when": ["acknowledged"]},
        {**once, "run": "failing:wrong"},
    ]  # fmt: skip
    return found | {"http": {"port": 0}, "tick_hz": 100}


def entries(client: redis.Redis, key: str) -> list[dict[bytes, bytes]]:
    """The fields of a stream's entries."""
    found: Any = client.xrange(key)
    return [fields for _, fields in found]


def messages(client: redis.Redis) -> dict[int, list[int]]:
    """By entity, the ticks in which it emitted."""
    found: dict[int, list[int]] = {}
    for fields in entries(client, "corec:{plant}:out:1"):
        for entity, *_ in MESSAGE.iter_unpack(fields[b"m"]):
            found.setdefault(entity, []).append(int(fields[b"t"]))
    return found


def lives(ticks: list[int]) -> list[tuple[int, int, int]]:
    """(first, last, ticks) of each alert of an entity, by the rule."""
    found: list[list[int]] = []
    for tick in sorted(set(ticks)):
        if found and tick - found[-1][-1] <= CLEAR:
            found[-1].append(tick)
        else:
            found.append([tick])
    return [(one[0], one[-1], len(one)) for one in found]


def table(dsn: str) -> list[dict[str, Any]]:
    """The table ``alertas``."""
    with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute("SELECT * FROM alertas WHERE instance_id = 'plant'").fetchall()


def restarts(run: Running) -> tuple[int, str]:
    """Of the tasks' process, and how it is."""
    (found,) = (one for one in run.status()["processes"] if one["role"] == "tasks")
    return int(found["restarts"]), str(found["state"])


def ctl(one: Instance, *words: str) -> tuple[int, Any]:
    """``corec-ctl … --json``."""
    done = one.ctl(*words, "--json")
    return done.code, json.loads(done.out)


@pytest.fixture
def started(make: Any, tmp_path: Path) -> Iterator[tuple[Instance, Running, Receiver]]:
    """The instance, and its receiver."""
    secret = tmp_path / "secret"
    secret.write_text("a key\n")
    with Receiver.serving(seed=3, share=0.34) as (receiver, url):
        one = make(config(url, secret))
        plugins = one.home / "plugins"
        plugins.mkdir(exist_ok=True)
        shutil.copy(REPO / "examples" / "thermostats.py", plugins)
        (plugins / "failing.py").write_text(FAILING)
        one.environment["COREC_CRASH"] = DEATHS
        run = one.start("--fresh", "--workers", "2")
        run.ready(seconds=150.0)
        yield one, run, receiver
        assert run.stop().code == 0, run.texts()[1][-4000:]


def test_each_alert_is_told_once(
    started: tuple[Instance, Running, Receiver], pg_dsn: str, valkey_url: str
) -> None:
    one, run, receiver = started
    with redis.Redis.from_url(valkey_url) as client:
        for round_ in range(12):
            rooms = [(i, 35.0 if (i + round_) % 8 == 0 else 20.0, 50.0) for i in range(0, 60, 2)]
            bad = [(i, 10.0, 20.0) for i in (1, 3, 5, 7)] if round_ < 4 else []
            packed = b"".join(struct.pack("!I2f", *room) for room in rooms + bad)
            client.xadd("corec:{plant}:in:1", {"v": packed})
            run.until_tick(run.status()["tick"] + 5)
        wait_until(lambda: restarts(run) == (4, "ready"), "it has died at each point", 60.0)
        # until the new one enters, its place says what the dead one said
        wait_until(lambda: is_running(run.pid_of("tasks")), "the fifth lives", 60.0)
        os.kill(run.pid_of("tasks"), signal.SIGKILL)
        wait_until(lambda: len(messages(client)) >= 80, "everybody fell silent", 60.0)
        run.ask("pause")

        def told() -> bool:
            raised = {row["id"] + ":raised" for row in table(pg_dsn)}
            wanted = sum(len(lives(ticks)) for ticks in messages(client).values())
            return len(raised) == wanted and raised <= receiver.taken.keys()

        wait_until(told, "each is told", 90.0)
        assert restarts(run) == (5, "ready")
        rows = table(pg_dsn)
        found: dict[int, list[tuple[int, int, int]]] = {}
        for row in sorted(rows, key=lambda row: row["desde"]):
            found.setdefault(row["entidad"], []).append((row["desde"], row["ultimo"], row["veces"]))
        assert found == {i: lives(ticks) for i, ticks in sorted(messages(client).items())}
        assert {key.partition(":")[2] for key in receiver.taken} == {"raised"}
        assert set(receiver.taken) == {row["id"] + ":raised" for row in rows}
        assert any(row["estado"] == "cleared" and row["hasta"] == row["ultimo"] + CLEAR
                   for row in rows)  # fmt: skip
        first = receiver.bodies[next(iter(receiver.taken))]
        assert first["fields"].keys() == {"t", "h", "silent"}
        _failures(one, client, rows)
        _refused(one, rows)
        _acknowledged(one, _raised(run, pg_dsn, valkey_url))
        wait_until(lambda: ctl(one, "tasks")[1]["tasks"][0]["pending"] == 0, "all is done", 60.0)
        assert restarts(run) == (5, "ready")
        run.ask("resume")


def _failures(one: Instance, client: redis.Redis, rows: list[Any]) -> None:
    """Who failed for good is told of, each once, and answers came in once."""
    nobody = [row["id"] for row in rows if row["entidad"] + 1 == 2 * PER_BLOCK]
    assert nobody, "the last one fell silent, too; it has no neighbour"

    def settled() -> bool:
        said = ctl(one, "tasks", "--limit", "10000")[1]
        count = sum(task["pending"] for task in said["tasks"])
        return count == 0 and len(said["failed"]) == len(rows) + len(nobody)

    wait_until(settled, "everything is done", 60.0)
    failed = ctl(one, "tasks", "--limit", "10000")[1]["failed"]
    by_task: dict[str, list[str]] = {}
    for each in failed:
        by_task.setdefault(each["tarea"], []).append(each["aviso"]["id"])
        text = (
            "no such door (failing.py, line " if "wrong" in each["tarea"] else "which there is not"
        )
        assert text in each["error"]
        assert each["intentos"] == 1
    assert by_task.pop("failing.answer.1") == nobody
    assert sorted(by_task.pop("failing.wrong.1")) == sorted(row["id"] for row in rows)
    assert not by_task
    answers = [int(f[b"id"]) for f in entries(client, "corec:{plant}:in:1") if b"id" in f]
    wanted = [row["entidad"] + 1 for row in rows if row["entidad"] + 1 < 2 * PER_BLOCK]
    assert sorted(answers) == sorted(wanted)


def _raised(run: Running, dsn: str, url: str) -> str:
    """The id of an alert that stays open: the world rests before it can be cleared. What others
    wrote into the streams keeps nobody from it."""
    run.ask("set", path="tick_hz", value=2)
    run.ask("resume")
    with redis.Redis.from_url(url) as client:
        deep = "[" * 500 + "]" * 500
        for text in ("[1]", deep, '{"canal":1,"procesador":"p","tick":7,"entidades":[5]}'):
            client.xadd("corec:{plant}:alertas", {"alerta": text})
            client.xadd("corec:{plant}:tareas_fallidas", {"tarea": text})
            last = client.xinfo_stream("corec:{plant}:avisos")["last-generated-id"].decode()
            number, _, further = last.partition("-")
            client.xadd("corec:{plant}:avisos", {"aviso": text}, id=f"{number}-{int(further) + 1}")
        far = {"canal": 1, "procesador": "p", "tick": 2**60, "entidades": [{"id": 1, "valor": 1}]}
        last = "18446744073709551614-1"  # and all later ones are behind it
        client.xadd("corec:{plant}:alertas", {"alerta": json.dumps(far)}, id=last)
        client.xadd("corec:{plant}:avisos", {"aviso": deep})  # under a larger id than any number
        client.xadd("corec:{plant}:in:1", {"v": struct.pack("!I2f", 0, 35.0, 50.0) * 5})
    found: list[str] = []

    def raised() -> bool:
        found[:] = [row["id"] for row in table(dsn) if row["estado"] == "raised"]
        return bool(found)

    wait_until(raised, "another alert is raised", 30.0)
    run.ask("pause")
    return found[0]


def _refused(one: Instance, rows: list[Any]) -> None:
    """Of what can't be acknowledged it is said at once why."""
    cleared = next(row["id"] for row in rows if row["estado"] == "cleared")
    unknown = cleared[:-1] + "99999"
    done = one.ctl("alerts", "--ack", unknown, "--ack", cleared, "--ack", "17")
    assert done.code == 1
    assert f"{unknown}: there is no such alert" in done.err
    assert f"{cleared}: it is cleared already" in done.err
    assert "17: expected <world's epoch>-<tick raised>-<entity>" in done.err


def _acknowledged(one: Instance, still_open: str) -> None:
    code, said = ctl(one, "alerts", "--ack", still_open, "--by", "me", "--limit", "1000")
    assert code == 0
    assert ctl(one, "alerts", "--ack", still_open)[0] == 0, "somebody does already"
    acked = {alert["id"]: alert for alert in said["alerts"]}[still_open]
    assert (acked["estado"], acked["acuse"]) == ("acknowledged", "me")

    def poisoned() -> bool:
        last = ctl(one, "tasks", "--limit", "1")[1]["failed"][0]
        return (last["tarea"], last["intentos"]) == ("failing.poison.1", 2)

    wait_until(poisoned, "a task that ends its process is given up", 30.0)
