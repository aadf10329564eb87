"""Group ``checkpoint``: what a digest and a checkpoint of a world full of histories cost it.

Every entity keeps 200 values, and has all of them: most of the world is history. Both are taken at
rest and while readings come in. Held is the time during which no tick may start; a checkpoint's
time is compared with that of writing as many bytes into the same folder and syncing them, measured
right after it. ``/readyz`` is asked all the while.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis

from corec.lab.bench.processors import FILL
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort, tell
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.world import sensors
from corec.layout import MESSAGE

HISTORY = 200
HZ = 10.0
HELD_MS_MAX = 20.0
WRITING_TIMES_MAX = 3.0
READINGS_PER_SECOND = 100_000
BEATS_PER_SECOND = 10
FRAME_MESSAGES = 10_000
KEY = "corec:{bench}:in:1"
READY_SECONDS = 0.1
SECONDS_MAX = 300.0


def measure(effort: Effort) -> list[Table]:
    """Two tables: how long the world is held, how long a checkpoint takes."""
    n = effort.pick(980_000, 20_000)
    held = Table("held", f"World held for a copy, {n:,} entities, histories full", "ms", "neither")
    taken = Table("checkpoint", f"Checkpoint of {n:,} entities, histories full", "s", "neither")
    config = sensors(
        n,
        bloque={"procesador": "corec.lab.bench.processors:keeper"},
        persist={"every_ticks": NEVER},
        checkpoint={"every_seconds": 0},
    )
    with Server(config, workers="auto") as server:
        server.start(tick_hz=HZ, paused=False)
        with redis.Redis.from_url(server.address("redis_url")) as client, _ready(server) as told:
            _fill(server, client, n)
            _sample(server, effort.rounds, "at rest", held, taken)
            with _readings(server, n):
                _sample(server, effort.rounds, "readings coming in", held, taken)
        held.checks.append(Check("/readyz was 200 all the while", not told, "; ".join(told[:3])))
    if not effort.quick:
        _judge(held, taken)
    return [held, taken]


def _judge(held: Table, taken: Table) -> None:
    longest = max(max(row.samples) for row in held.rows)
    detail = f"longest {longest:.1f} ms"
    held.checks.append(Check(f"held {HELD_MS_MAX:g} ms at most", longest <= HELD_MS_MAX, detail))
    rows = {row.name: row for row in taken.rows}
    for name, row in rows.items():
        if not name.startswith("checkpoint"):
            continue
        times = row.over(rows[name.replace("checkpoint", "its bytes, written and synced")])
        what = f"{name}: {WRITING_TIMES_MAX:g} times its writing at most"
        taken.checks.append(Check(what, times <= WRITING_TIMES_MAX, f"{times:.1f} times"))


def _frame(ids: Any, value: float) -> bytes:
    messages = np.zeros(len(ids), MESSAGE)
    messages["id"], messages["canal"] = ids, 1
    messages["valor"], messages["activo"] = value, True
    return messages.tobytes()


def _fill(server: Server, client: Any, n: int) -> None:
    """Readings for every entity, four values each, until its history is full."""
    tell("  filling the histories")
    server.ask("set", path="tick_hz", value=0.0)
    frames = [
        _frame(np.arange(first, min(n, first + FRAME_MESSAGES)), FILL)
        for first in range(0, n, FRAME_MESSAGES)
    ]
    for number in range(1, HISTORY // 4 + 1):
        for frame in frames:
            client.xadd(KEY, {"m": frame})
        server.wait_for(
            partial(lambda sent: server.messages_in >= sent, number * n), "they are read", 60.0
        )
        client.xtrim(KEY, maxlen=0, approximate=False)

    def full() -> bool:
        entities = (server.ask("entity", id=k) for k in (0, n // 2, n - 1))
        return all(len(found["estado"]["values"]) == HISTORY for found in entities)

    server.wait_for(full, "every history is full", 60.0)
    server.ask("set", path="tick_hz", value=HZ)


def _sample(server: Server, rounds: int, when: str, held: Table, taken: Table) -> None:
    digest, checkpoint = Row(f"digest, {when}", [], True), Row(f"checkpoint, {when}", [], True)
    made = Row(f"checkpoint, {when}", [], True)
    written = Row(f"its bytes, written and synced, {when}", [])
    for number in range(rounds):
        tell(f"  {when}: round {number + 1} of {rounds}")
        digest.samples.append(1e3 * server.ask("digest", SECONDS_MAX)["held_seconds"])
        found = server.ask("snapshot", SECONDS_MAX + 10, timeout_seconds=SECONDS_MAX)
        checkpoint.samples.append(1e3 * found["hold_seconds"])
        made.samples.append(found["seconds"])
        written.samples.append(_written(Path(found["path"])))
        made.note = f"{found['bytes'] / 1e6:,.0f} MB"
    held.rows += [digest, checkpoint]
    taken.rows += [made, written]


def _written(path: Path) -> float:
    """Seconds to write the bytes of ``path`` into its folder, and to sync them."""
    content = path.read_bytes()
    other = path.with_name("written")
    began = time.perf_counter()
    with other.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    other.unlink()
    return took


@contextmanager
def _readings(server: Server, n: int) -> Iterator[None]:
    """Readings for entities drawn at random, until the end of the block."""
    over = threading.Event()
    draw = np.random.default_rng(9)
    each = READINGS_PER_SECOND // BEATS_PER_SECOND

    def feed() -> None:
        with redis.Redis.from_url(server.address("redis_url")) as client:
            while not over.wait(1.0 / BEATS_PER_SECOND):
                client.xadd(KEY, {"m": _frame(draw.integers(0, n, each), 0.25)})

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        over.set()
        feeder.join()


@contextmanager
def _ready(server: Server) -> Iterator[list[str]]:
    """Asks ``/readyz`` again and again; what it says when it is not 200 comes into the list."""
    over = threading.Event()
    told: list[str] = []
    address = urlsplit(str(server.ask("status")["http_url"]))

    def ask() -> None:
        while not over.wait(READY_SECONDS):
            connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                if answer.status != 200:
                    told.append(f"{answer.status} {answer.read()[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                told.append(repr(error))
            finally:
                connection.close()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield told
    finally:
        over.set()
        asker.join()
