"""A notice is ended with all that follows from it, or not at all."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from corec.broker.link import LAST_ID, Link
from corec.config import parse_config
from corec.notices import load_task
from corec.plan import make_plan
from corec.tasks.pool import Pool
from corec.tasks.runner import CHUNK, Counts, Pace, Runner
from corec.tasks.source import OfMessages
from corec.tasks.streams import ELSEWHERE, Names, end_notices

TITLE = "t"


def asked(client: Any, names: Names) -> bytes:
    """One notice in the hands of the task."""
    client.xgroup_create(names.notices, f"tarea:{TITLE}", "0", mkstream=True)
    entry: bytes = client.xadd(names.notices, {"aviso": "{}"})
    client.xreadgroup(f"tarea:{TITLE}", "corec", {names.notices: ">"})
    return entry


@pytest.mark.parametrize("how", ["another type", "the last id"])
@pytest.mark.parametrize("span", [(0, 1, 1), (0, 1, 2), (1, 2, 2)])
def test_answers_that_have_no_place_leave_the_notice_where_it_is(
    valkey_url: str, how: str, span: tuple[int, int, int]
) -> None:
    names = Names(f"ending{span[0]}{span[1]}{span[2]}{how[0]}")
    good, bad = names.keys.incoming(1), names.keys.incoming(2)
    with redis.Redis.from_url(valkey_url) as client:
        entry = asked(client, names)
        if span[0]:
            client.hset(names.progress, f"{names.notices} tarea:{TITLE} {entry.decode()}", span[0])
        if how == "another type":
            client.set(bad, "no stream")
        else:
            client.xadd(bad, {"m": "x"}, id=LAST_ID)
        command = end_notices(
            names, names.notices, TITLE, entry, span, [(good, ["m", b"1"]), (bad, ["m", b"2"])]
        )
        for _ in range(2):
            with pytest.raises(redis.ResponseError, match=r"WRONGTYPE|the last id there is"):
                client.execute_command(*command)
        assert client.xlen(good) == 0
        assert client.xpending(names.notices, f"tarea:{TITLE}")["pending"] == 1
        client.delete(bad)
        assert client.execute_command(*command) == 1
        assert client.execute_command(*command) == (0 if span[1] == span[2] else ELSEWHERE), "once"
        assert [client.xlen(key) for key in (good, bad)] == [1, 1]
        left = client.xpending(names.notices, f"tarea:{TITLE}")["pending"]
        assert left == (0 if span[1] == span[2] else 1)
        said = client.hvals(names.progress)
        assert said == ([] if span[1] == span[2] else [b"1"])


ECHO = """import corec


@corec.task
async def echo(notice):
    return {"id": notice.entity, "valor": notice.valor}
"""


def test_notices_that_redis_knows_no_more_to_be_ended_are_called_again(
    valkey_url: str, tmp_path: Path
) -> None:
    """It came back without its last writes within an entry of many: the rest of it was called, its
    answers were dropped, and the entry stayed with the task until the next start."""
    (tmp_path / "echoes.py").write_text(ECHO)
    count, names = 3 * CHUNK, Names("again")
    bloque = {"id": "a", "canal": 1, "entidades": count, "procesador": "detector"}
    task = {"on": "mensajes", "run": "echoes:echo", "per_second": 500.0}
    config = parse_config({"instance_id": "again", "bloques": [bloque], "tasks": [task]})
    one, plan, answers = config.tasks[0], make_plan(config), names.keys.incoming(1)

    async def until(what: Callable[[], bool]) -> None:
        async with asyncio.timeout(60.0):
            while not what():
                await asyncio.sleep(0.01)

    async def played(client: Any) -> None:
        pool = Pool(load_task(one.run, (tmp_path,)), one.run, one.model_dump(), (tmp_path,))
        source = OfMessages(names, plan, 1, 5)
        runner = Runner(one, source, pool, Pace(one.per_second), plan, names,
                        lambda: Link(valkey_url, names.pos), Counts())  # fmt: skip
        running = asyncio.create_task(runner.run())
        try:
            await until(lambda: client.hvals(names.progress) == [b"%d" % CHUNK])
            with client.pipeline() as pipe:
                pipe.delete(names.progress, answers)
                pipe.execute()
            await until(lambda: not client.xpending(source.stream, runner.group)["pending"])
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await pool.close()
        assert runner._counts.waiting == 0

    with redis.Redis.from_url(valkey_url) as client:
        sent = b"".join(struct.pack("!Ibf?", k, 1, 0.5, True) for k in range(count))
        client.hset(names.pos, "epoch", 5)
        client.xadd(names.keys.out(1), {"m": sent, "t": 3})
        asyncio.run(played(client))
        found: Any = client.xrange(answers)
        assert sorted(int(said[b"id"]) for _, said in found) == list(range(count))
        assert client.hvals(names.progress) == []
