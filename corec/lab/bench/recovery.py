"""Group ``recovery``: from the SIGKILL of a worker to its successor's first commit.

The world runs at 100 ticks a second on all cores, with a row per block every ten ticks (one of a
thousand ticks would hold 10,000 messages, and the world would wait for a burst of 80 MB). Workers
are killed in turn, each more than a second after its start, so that no back-off enters. Time counts
from before ``kill`` until the successor's word says a tick more than the dead worker's
(``lab.measure.recovery`` has the steps between). The rival is a Ray actor that keeps as many
values in an array, restarted by Ray when its process is killed: until its next method has returned.
Its state begins anew, CoreC's goes on: the digest is compared with a world that was never killed.
The two do not take turns: a Ray that has just restarted an actor starts another process in reserve,
and is busy for a second.
"""

from __future__ import annotations

import os
import signal
import statistics
import time

from corec import layout as L
from corec.lab.bench.check import verify
from corec.lab.bench.loading import Absent, load
from corec.lab.bench.results import Row, Table
from corec.lab.bench.rounds import Effort, tell
from corec.lab.bench.server import Server
from corec.lab.bench.world import sensors

HZ = 100.0
LIFE_SECONDS = 1.2
KILLS_PER_ROUND = 20
STREAM_ENTRIES = 200


def measure(effort: Effort) -> list[Table]:
    """One table: milliseconds, of all kills."""
    n = effort.pick(1_000_000, 100_000)
    table = Table("recovery", f"Kill to next commit, {n:,} entities", "ms", "lower")
    ours = Row("CoreC worker", [], True, "state kept, bit by bit; p50, low … p99")
    rival = Row("Ray actor", [], False, "state lost; to its next answer")
    config = sensors(n, streams={"maxlen": STREAM_ENTRIES})
    with Server(config, workers="auto") as server:
        server.start(tick_hz=HZ, paused=False)
        time.sleep(LIFE_SECONDS)
        for number in range(effort.rounds):
            tell(f"  round {number + 1} of {effort.rounds}")
            ours.samples += _kills(server, effort)
        server.ask("pause")
        try:
            with load("ray_actor").Actor(n) as actor:
                rival.samples += [1e3 * actor.kill() for _ in range(effort.rounds)]
        except Absent as absent:
            table.notes.append(f"Ray: skipped, {absent}")
        table.checks += verify("after the kills", server)
    ours.low_high = (min(ours.samples), percentile(ours.samples, 99))
    count = len(ours.samples)
    table.notes.append(
        f"CoreC: {count} kills, p50 {statistics.median(ours.samples):.1f}, "
        f"p90 {percentile(ours.samples, 90):.1f}, p99 {percentile(ours.samples, 99):.1f}, "
        f"longest {max(ours.samples):.1f} ms"
    )
    table.rows = [ours] + ([rival] if rival.samples else [])
    return [table]


def percentile(samples: list[float], percent: float) -> float:
    """The smallest sample that at least ``percent`` % do not exceed (nearest rank)."""
    ordered = sorted(samples)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def _kills(server: Server, effort: Effort) -> list[float]:
    workers = server.get(L.C_WORKERS)
    found = []
    for k in range(effort.pick(KILLS_PER_ROUND, 2)):
        time.sleep(LIFE_SECONDS / workers)
        found.append(_kill(server, k % workers))
    return found


def _kill(server: Server, worker: int) -> float:
    """Milliseconds from SIGKILL to the next commit of ``worker``."""
    slot = L.SLOT_WORKER0 + worker
    pid = server.slot(slot, L.S_PID)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    # a dead worker stores no tick, so what its word says once another pid stands there is the last
    server.wait_for(lambda: server.slot(slot, L.S_PID) != pid, "another takes over", 30.0)
    found = server.slot(slot, L.S_TICK)
    server.wait_for(lambda: server.slot(slot, L.S_TICK) > found, "it commits a tick", 30.0)
    return 1e3 * (time.perf_counter() - began)
