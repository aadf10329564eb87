"""A machine is lost: the world goes on from its checkpoint, and input says what it must."""

from __future__ import annotations

import json
import signal
import struct
from pathlib import Path
from typing import Any

import pytest
import redis

from corec.world.checkpoint import Contents, PartWriter, read_head
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost, small_config
from tests.support.processes import promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

MESSAGE = struct.Struct("!Ibf?")
ECHO = """
import corec

@corec.celu(state={"seen": "u4"})
def echo(me, value):
    me.seen = me.seen + 1
    return value
"""
IN, OUT = "corec:{corec1}:in:1", "corec:{corec1}:out:1"


def echoing(make: Make, name: str) -> Instance:
    """Celu entities that emit every reading."""
    bloques = [{"id": "a", "canal": 1, "entidades": 10, "procesador": "echo:echo"}]
    one = make(small_config(bloques=bloques, checkpoint={"every_seconds": 0}), name=name)
    plugins = one.home / "plugins"
    plugins.mkdir()
    (plugins / "echo.py").write_text(ECHO)
    return one


def emitted(client: redis.Redis) -> list[float]:
    """The values of all messages on the out-stream."""
    found: list[float] = []
    entries: Any = client.xrange(OUT)
    for _, fields in entries:
        found += [valor for _, _, valor, _ in MESSAGE.iter_unpack(fields[b"m"])]
    return found


def with_set(path: Path, key: str, value: float) -> None:
    """Let a checkpoint say that ``key`` was set to ``value``, as a version without today's bounds
    would have."""
    with Contents(path) as found:
        head, before = found.head(), path.read_bytes()[: found.head_offset()]
    head["set"][key][0] = value
    writer = PartWriter(open(path, "wb"))  # noqa: SIM115 - the writer closes it
    writer.file.seek(0)
    writer.file.truncate()
    writer.file.write(before)
    writer.finish(head)
    writer.close()


def test_a_value_that_was_set_before_there_were_bounds(make: Make) -> None:
    """Is refused with what the file does not show, and the way out; which is one."""
    one = make(small_config())
    run = one.start("--tick-hz", "50").ready()
    key = "bloques.detectores.parametros.z0"
    run.ask("set", path=key, value=4.0)
    assert run.stop().code == 0
    (path,) = (one.home / "var" / "state" / "corec1").glob("*.corec")
    with_set(path, key, 0.0)
    refused = one.run("--ticks", "1")
    assert refused.code == 2
    (told,) = refused.complaints
    assert told == (
        "corec: bloques[1].parametros.z0: found 0, allowed a number of at least 1e-06; it was set "
        "in the living world; a value for it in the configuration counts instead"
    )
    detectors = {**one.config["bloques"][1], "parametros": {"z0": 2.5}}
    one.configure({**one.config, "bloques": [one.config["bloques"][0], detectors]})
    assert one.run("--ticks", "1").summary["digest_tick"] > read_head(path).tick


def test_new_readings_wait_and_old_ones_are_there_once(make: Make, valkey_url: str) -> None:
    one = echoing(make, "home")
    run = one.start("--tick-hz", "50").ready()
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 1.0, True)})
        wait_until(lambda: emitted(client) == [1.0], "the first is out")
        tick = run.ask("snapshot")["tick"]
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 2.0, True)})
        wait_until(lambda: emitted(client) == [1.0, 2.0], "the second is out")
        run.until_tick(tick + 250)
        wait_until(lambda: _out_tick(client) > tick + 200, "that is known")
        bounds = json.loads(one.command("checkpoint", "trim-bound", "--json").out)["min_ids"]
        machine_is_lost(one, run)
        (first, _), _ = client.xrange(IN)
        assert bounds == {IN: first.decode()}
        text = one.command("checkpoint", "trim-bound").out
        assert text == f"XTRIM {IN} MINID {first.decode()}\n"
        client.execute_command(*text.split())
        before = _out_tick(client)
        again = one.start("--tick-hz", "2").ready()
        assert again.status()["tick"] < before
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 3.0, True)})
        again.ask("set", path="tick_hz", value=50)
        wait_until(lambda: 3.0 in emitted(client), "no alarm for a new reading vanishes", 30)
        assert emitted(client) == [1.0, 2.0, 3.0]
        assert again.ask("entity", id=1)["estado"]["seen"] == 3
        assert again.status()["tick"] > before
        status = again.status()
        assert (status["input_lost"], status["messages_dropped"]) == (0, 0)
        assert status["messages_in"] == 3

        # trimmed further than the checkpoint allows: told
        machine_is_lost(one, again)
        client.execute_command("XTRIM", IN, "MAXLEN", 0)
        last = one.start("--tick-hz", "50").ready()
        wait_until(lambda: last.status()["input_lost"], "the lost input is told")
        checks = {check["check"]: check["ok"] for check in last.ask("doctor")["checks"]}
        assert not checks["no input lost"]
        assert last.stop().code == 0


def _out_tick(client: redis.Redis) -> int:
    return int(client.hget("corec:{corec1}:pos", "out_tick") or -1)


def test_fresh_leaves_the_old_worlds_input(make: Make, valkey_url: str) -> None:
    one = echoing(make, "home")
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 1.0, True)})
        run = one.start("--tick-hz", "50").ready()
        wait_until(lambda: emitted(client) == [1.0], "what waited for the first world is its own")
        assert run.stop().summary["messages_in"] == 1
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 2.0, True)})
        fresh = one.start("--fresh", "--tick-hz", "50").ready().until_tick(20)
        client.xadd(IN, {"m": MESSAGE.pack(1, 1, 3.0, True)})
        wait_until(lambda: emitted(client) == [3.0], "only what came since")
        assert fresh.stop().summary["messages_in"] == 1
        resumed = one.start("--tick-hz", "50").ready()
        soon = promised(3.0)
        wait_until(lambda: resumed.status()["messages_in"] == 1, "the count is there at once", soon)
        assert resumed.stop().code == 0


def test_what_was_set_is_part_of_the_world(make: Make) -> None:
    """It survives a stop, a kill and the machine, until the configuration says something new."""
    one = make(small_config(tick_hz=50, checkpoint={"every_seconds": 0}))

    def settings(run: Running) -> tuple[float, float]:
        status = run.status()
        return status["tick_hz"], status["carga"]

    run = one.start().ready()
    run.ask("set", path="carga", value=0.25)
    run.ask("set", path="tick_hz", value=40)
    run.stop()
    run = one.start().ready()
    assert settings(run) == (40, 0.25)
    assert "carga is 0.25, as it was set; the configuration says 1" in run.texts()[1]
    run.ask("set", path="carga", value=0.5)
    run.signal(signal.SIGKILL)
    run.process.wait()
    wait_until(lambda: set(one.processes()) == set(), "its processes end")
    run = one.start().ready()
    assert settings(run) == (40, 0.5), "adopted"
    run.ask("snapshot", 60.0)
    run.ask("set", path="tick_hz", value=45)
    run.ask("set", path="carga", value=0.75)
    run.until_tick(run.status()["tick"] + 100)  # it has counted, so the journal has it
    machine_is_lost(one, run)
    run = one.start("--tick-hz", "30").ready()
    assert settings(run) == (30, 0.75), "what counted in a tick, but for what is said anew"
    run.stop()
    summary = one.run("--fresh", "--ticks", "5").summary
    assert summary["tick"] == 5
    run = one.start().ready()
    assert settings(run) == (50, 1.0), "a new world has the configuration's"
    run.stop()
