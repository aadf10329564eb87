"""Group ``messages``: 10-byte messages through Valkey, out of a running world and into one.

Out: every sensor emits at every tick; a sample ends when Valkey has confirmed the last message.
In: frames of messages are in the stream before the world goes on; a sample counts what the broker
read from then on, until the last reading was taken, and afterwards the blocks are asked how many
readings they applied. Rivals use the same Valkey, which syncs every write to disk.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import redis

from corec.lab.bench.check import verify
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, wait_until
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.world import sensors
from corec.layout import MESSAGE

FRAME_MESSAGES = 10_000
STREAM_ENTRIES = 20
RIVAL_KEY = "rival"
LOUD = {"mu": 2.0}
"""Parameters of a sensor that always exceeds umbral (at most 0.9)."""


def measure(effort: Effort) -> list[Table]:
    """Two tables: out and in."""
    return [_out(effort), _in(effort)]


def _client(server: Server) -> Any:
    return redis.Redis.from_url(server.address("redis_url"))


def _out(effort: Effort) -> Table:
    n = effort.pick(1_000_000, 100_000)
    ticks = effort.pick(20, 5)
    table = Table("messages-out", "Messages out, to Valkey", "messages/s")
    streams = {"maxlen": STREAM_ENTRIES}
    loud = {"parametros": LOUD}
    config = sensors(n, bloque=loud, persist={"every_ticks": NEVER}, streams=streams)
    with Server(config) as server:
        server.start()
        wait_until(lambda: server.messages_out >= server.tick * n, "messages are out", 60.0)

        def ours() -> float:
            target = server.messages_out + ticks * n
            began = time.perf_counter()
            server.step(ticks)
            wait_until(lambda: server.messages_out >= target, "messages are confirmed", 120.0)
            return ticks * n / (time.perf_counter() - began)

        note = f"{ticks * n:,} messages a sample, exactly once"
        contenders = [Contender("CoreC, running server", ours, True, note)]
        with _client(server) as client:
            few, frames = effort.pick(20_000, 2_000), effort.pick(2_000, 100)
            contenders += [
                Contender("XADD, 1,000 messages an entry",
                          lambda: xadd(client, frames, 1000), False, "redis-py, pipelined"),
                Contender("XADD, one entry per message", lambda: xadd(client, few, 1), False,
                          "redis-py, pipelined"),
            ]  # fmt: skip
            try:
                with load("celery_tasks").Celery(server.address("redis_url"), server.home) as tasks:
                    count = effort.pick(2_000, 200)
                    note = f"one task per message, {count:,}, one worker"
                    rate = Contender("Celery, no-op tasks", lambda: tasks.rate(count), False, note)
                    table.rows = interleave([*contenders, rate], effort.rounds)
            except Absent as absent:
                table.notes.append(f"Celery: skipped, {absent}")
                table.rows = interleave(contenders, effort.rounds)
            client.delete(RIVAL_KEY)
        table.checks += verify("messages out", server)
    return table


def xadd(client: Any, entries: int, messages: int) -> float:
    """Messages per second by pipelined XADDs of ``messages`` in each entry."""
    client.delete(RIVAL_KEY)
    frame = bytes(MESSAGE.itemsize * messages)
    pipeline = client.pipeline(transaction=False)
    began = time.perf_counter()
    for first in range(0, entries, 1000):
        for _ in range(min(1000, entries - first)):
            pipeline.xadd(RIVAL_KEY, {"m": frame}, maxlen=100_000, approximate=True)
        pipeline.execute()
    return entries * messages / (time.perf_counter() - began)


def _in(effort: Effort) -> Table:
    n = effort.pick(1_000_000, 100_000)
    rounds_of_all = effort.pick(8, 20)
    table = Table("messages-in", "Messages in, from Valkey", "messages/s")
    config = sensors(n, bloque={"procesador": "ewma"}, persist={"every_ticks": NEVER})
    sent = 0
    with Server(config) as server:
        server.start()
        key = "corec:{bench}:in:1"
        with _client(server) as client:
            frames = _frames(n)

            def ours() -> float:
                nonlocal sent
                for _ in range(rounds_of_all):
                    _publish(client, key, frames)
                sent += rounds_of_all * n
                # what fits into the inbox is read now, and does not count
                _still(server)
                before, began = server.messages_in, time.perf_counter()
                server.ask("resume")
                wait_until(lambda: server.messages_in >= sent, "every message was read", 120.0)
                took = time.perf_counter() - began
                _applied(server, sent)
                server.ask("pause")
                client.xtrim(key, maxlen=0)
                return (sent - before) / took

            few = effort.pick(20_000, 2_000)
            note = f"{rounds_of_all * n:,} messages a sample, exactly once"
            contenders = [
                Contender("CoreC, running server", ours, True, note),
                Contender("XREADGROUP and XACK, one entry per message",
                          lambda: xread(client, few), False, "redis-py, 1,000 a call"),
            ]  # fmt: skip
            table.rows = interleave(contenders, effort.rounds)
            client.delete(RIVAL_KEY)
        found = _applied(server, sent)
        summary = server.stop()
        ok = found == sent == summary["messages_in"] and not summary["messages_dead"]
        detail = f"sent {sent:,}, read {summary['messages_in']:,}, applied {found:,}"
        table.checks.append(Check("every reading was applied once", ok, detail))
    return table


def _frames(n: int) -> list[bytes]:
    """One message for each entity of canal 1, in frames."""
    rows = np.zeros(n, MESSAGE)
    rows["id"] = np.arange(n)
    rows["canal"] = rows["activo"] = 1
    rows["valor"] = np.random.default_rng(3).normal(0.5, 0.1, n)
    return [rows[at : at + FRAME_MESSAGES].tobytes() for at in range(0, n, FRAME_MESSAGES)]


def _publish(client: Any, key: str, frames: list[bytes]) -> None:
    pipeline = client.pipeline(transaction=False)
    for frame in frames:
        pipeline.xadd(key, {"m": frame})
    pipeline.execute()


def _still(server: Server) -> None:
    """Wait until the broker reads no more: the inbox is full, or everything is in it."""
    seen = [-1.0, 0.0]

    def quiet() -> bool:
        now = server.messages_in
        if now != seen[0]:
            seen[0], seen[1] = now, time.perf_counter()
        return time.perf_counter() - seen[1] > 0.3

    wait_until(quiet, "the inbox fills", 60.0)


def _applied(server: Server, wanted: int) -> int:
    """Readings that the blocks have applied, once they are ``wanted`` or time is up."""
    found = 0

    def counted() -> bool:
        nonlocal found
        found, offset = 0, 0
        while True:
            answer = server.ask("blocks", offset=offset, limit=1000)
            found += sum(block["readings"] for block in answer["blocks"])
            offset += 1000
            if offset >= int(answer["total"]):
                return bool(found >= wanted)

    try:
        wait_until(counted, f"{wanted} readings are applied", 30.0)
    except TimeoutError:
        pass  # the check says so
    return found


def xread(client: Any, entries: int) -> float:
    """Messages per second by a consumer group that acknowledges what it read."""
    client.delete(RIVAL_KEY)
    pipeline = client.pipeline(transaction=False)
    for _ in range(entries):
        pipeline.xadd(RIVAL_KEY, {"m": bytes(MESSAGE.itemsize)})
    pipeline.execute()
    client.xgroup_create(RIVAL_KEY, "group", "0")
    taken = 0
    began = time.perf_counter()
    while taken < entries:
        answer = client.xreadgroup("group", "one", {RIVAL_KEY: ">"}, count=1000)
        streams = answer.items() if isinstance(answer, dict) else answer
        for _, found in streams:
            items = found[0] if found and isinstance(found[0], list) else found
            ids = [item[0] for item in items]
            taken += len(ids)
            client.xack(RIVAL_KEY, "group", *ids)
    return entries / (time.perf_counter() - began)
