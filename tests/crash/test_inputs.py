"""Readings take effect exactly once and in order, whoever dies while they come in.

The final state of each entity tells every lost, doubled or swapped reading, whatever the tick each
was applied in: a ``tracer`` counts and mixes its readings, a ``keeper`` keeps the last one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import redis

from tests.crash.entities import SLOTS
from tests.crash.worlds import armed, deaths_expected, instance, killed, world
from tests.e2e.conftest import Make
from tests.support.instance import Running
from tests.support.ledger import MESSAGE, dead_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]

TRACERS, KEEPERS = 60, 60
ENTRIES, PER_ENTRY, GARBAGE_EVERY = 40, 50, 7
RUNS = {
    "reading": (
        "broker@broker.before_inbox_publish:2", "broker@broker.after_inbox_publish:1",
        "broker@broker.before_dead:1", "broker@broker.after_dead:1",
        "worker 0@leader.after_positions:1", "worker 0@leader.before_go:4",
        "worker 0@leader.after_go:2", "worker 0@worker.before_done:3",
        "worker 1@block.before_commit:4", "worker 1@block.after_commit:5",
        "worker 1@block.after_publish:3",
    ),
    "inbox": (
        "broker@lane.publish.before:2", "broker@lane.publish.after:2", "broker@lane.header.1:1",
        "worker 0@lane.release.before:1", "worker 0@lane.release.after:1",
        "worker 0@leader.after_positions:2", "worker 0@leader.after_cut:3",
        "worker 1@block.after_commit:2", "worker 1@block.before_commit:7",
    ),
}  # fmt: skip


def config() -> dict[str, Any]:
    """Three blocks of tracers on canal 3, three of keepers on canal 4."""
    names = (("tracer", 3, TRACERS), ("keeper", 4, KEEPERS))
    bloques = [
        {"id": name, "canal": canal, "entidades": n, "entidades_por_bloque": 20,
         "procesador": f"crash_entities:{name}"}
        for name, canal, n in names
    ]  # fmt: skip
    return world(bloques=bloques)


def write(client: redis.Redis, first: int, last: int) -> None:
    """Entries ``first … last−1`` of both streams, and some that nobody can understand."""
    for entry in range(first, last):
        for canal, base, n in ((3, 0, TRACERS), (4, TRACERS, KEEPERS)):
            numbers = range(entry * PER_ENTRY, (entry + 1) * PER_ENTRY)
            packed = b"".join(
                MESSAGE.pack(base + i % n, canal, _value(canal, i), True) for i in numbers
            )
            client.xadd(f"corec:{{corec1}}:in:{canal}", {"m": packed})
        if entry % GARBAGE_EVERY == 0:
            client.xadd("corec:{corec1}:in:3", {"m": b"nine byte"})


def _value(canal: int, number: int) -> float:
    """Keepers stay below every threshold, so nothing is emitted."""
    return float(number % 97) if canal == 3 else number / 65_536


def wanted() -> dict[int, tuple[int, float]]:
    """By entity: readings and trace of a tracer, 0 and valor of a keeper."""
    found = dict.fromkeys(range(TRACERS + KEEPERS), (0, 0.0))
    for i in range(ENTRIES * PER_ENTRY):
        seen, trace = found[i % TRACERS]
        found[i % TRACERS] = (seen + 1, (trace * 31.0 + _value(3, i)) % SLOTS)
        found[TRACERS + i % KEEPERS] = (0, _value(4, i))
    return found


def entities(run: Running) -> dict[int, tuple[int, float]]:
    """The same, as the running world has it."""
    found = {}
    for number in range(TRACERS + KEEPERS):
        shown = run.ask("entity", id=number)
        assert shown["fallos"] == 0
        state = shown["estado"]
        if number < TRACERS:
            found[number] = (state["seen"], state["trace"])
        else:
            found[number] = (0, shown["valor"])
    return found


@pytest.mark.parametrize("name", RUNS)
def test_readings_are_applied_once(make: Make, valkey_url: str, name: str) -> None:
    one = armed(instance(make, config()), RUNS[name])
    with redis.Redis.from_url(valkey_url) as client:
        write(client, 0, ENTRIES // 4)
        run = one.start("--tick-hz", "60", "--workers", "2").ready()
        write(client, ENTRIES // 4, ENTRIES // 2)
        for first in range(ENTRIES // 2, ENTRIES, GARBAGE_EVERY):
            # read in one go by a broker that began late, they would leave its next lives nothing
            run.until_tick(run.status()["tick"] + 10)
            write(client, first, min(first + GARBAGE_EVERY, ENTRIES))

    garbage = len(range(0, ENTRIES, GARBAGE_EVERY))
    total = 2 * ENTRIES * PER_ENTRY
    wait_until(lambda: run.status()["messages_in"] >= total, "everything is read", 30)
    run.until_tick(run.status()["tick"] + 3)
    found = entities(run)
    ended = run.stop()
    assert Counter(killed(ended)) == deaths_expected(RUNS[name], 2)
    assert found == wanted()
    assert ended.summary["messages_in"] == total
    assert len(dead_of(valkey_url)) == garbage
    assert ended.summary["messages_dead"] == garbage
