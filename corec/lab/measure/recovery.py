"""How long a killed worker is missed: ``kill -9`` to its successor's first commit.

Starts an instance of its own with embedded servers in a temporary folder, kills one worker after
another (a seeded choice) and watches the control segment:

    reaped      the supervisor has seen the death      S_RESTARTS of the worker
    forked      its successor lives                    S_PID
    ready       it waits for its tick                  S_STATE
    committed   all its blocks have committed a tick   S_TICK

    cpu         what supervisor and successor computed for it, waiting for a CPU left out:
                what a machine with nothing else to do would need, beside the victim's own end

Prints one JSON document with the 50th and 99th percentile of each, in milliseconds since the kill.
``committed`` contains the wait for the next tick's time, up to 1 / tick_hz.

    python -m corec.lab.measure.recovery --kills 100
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import time
from pathlib import Path
from typing import Any

from corec import layout as L
from corec.lab.bench.recovery import percentile
from corec.lab.bench.server import Server

STEP_SECONDS_MAX = 20.0
QUIET_SECONDS = 1.2  # longer than a life that counts as quick, or the supervisor would back off
STEPS = ("reaped", "forked", "ready", "committed", "cpu")


def config(entities: int) -> dict[str, Any]:
    """The shipped kind of world: sensors, and a few detectors."""
    detectors = entities // 50
    return {
        "instance_id": "recovery",
        "db_config": {"embedded": True},
        "redis_config": {"embedded": True},
        "http": {"port": 0},
        "bloques": [
            {"id": "sensors", "canal": 1, "entidades": entities - detectors, "max_size_mb": 1},
            {"id": "detectors", "canal": 3, "entidades": detectors, "max_size_mb": 5,
             "procesador": "ewma"},
        ],
    }  # fmt: skip


def cpu_ms(pid: int) -> float:
    """Milliseconds that the first thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def one_kill(server: Server, worker: int) -> dict[str, float]:
    """Kill ``worker`` and time its successor; milliseconds by step."""
    assert server.process is not None, "it runs"
    supervisor, slot = server.process.pid, L.SLOT_WORKER0 + worker
    pid, restarts = server.slot(slot, L.S_PID), server.slot(slot, L.S_RESTARTS)
    found: dict[str, float] = {}
    before = cpu_ms(supervisor)
    os.kill(pid, signal.SIGKILL)
    killed = time.perf_counter()
    tick = server.slot(slot, L.S_TICK)
    while "committed" not in found:
        now = time.perf_counter()
        ms = 1000.0 * (now - killed)
        if now - killed > STEP_SECONDS_MAX:
            raise TimeoutError(f"worker {worker} is not back after {STEP_SECONDS_MAX} s: {found}")
        if "reaped" not in found and server.slot(slot, L.S_RESTARTS) > restarts:
            found["reaped"] = ms
        if "forked" not in found and server.slot(slot, L.S_PID) != pid:
            found["forked"] = ms
        if "forked" in found:
            if "ready" not in found and server.slot(slot, L.S_STATE) == L.PROC_READY:
                found["ready"] = ms
            if server.slot(slot, L.S_TICK) > tick:
                found["committed"] = ms
                found.setdefault("ready", ms)
        time.sleep(0.0001)
    found["cpu"] = cpu_ms(supervisor) - before + cpu_ms(server.slot(slot, L.S_PID))
    return found


def machine() -> str:
    """Which machine this is, in a line."""
    return f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the largest, in ms."""
    found = {"p50": statistics.median(values), "p99": percentile(values, 99), "max": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


def measure(kills: int, entities: int, tick_hz: float, workers: int, seed: int) -> dict[str, Any]:
    """Run the whole benchmark."""
    load = [round(value, 2) for value in os.getloadavg()]
    chosen = random.Random(seed)
    with Server(config(entities), workers=workers) as server:
        server.start(tick_hz=tick_hz, paused=False)
        times: list[dict[str, float]] = []
        last = dict.fromkeys(range(server.get(L.C_WORKERS)), 0.0)
        for _ in range(kills):
            worker = chosen.randrange(len(last))
            # at any moment of the tick's period, not always just behind a commit
            phase = chosen.random() / max(1.0, tick_hz)
            time.sleep(max(0.1, last[worker] + QUIET_SECONDS - time.monotonic()) + phase)
            times.append(one_kill(server, worker))
            last[worker] = time.monotonic()
        summary = server.stop()
    return {
        "machine": machine(),
        "load_before": load,
        "entidades": entities,
        "workers": workers,
        "tick_hz": tick_hz,
        "kills": kills,
        "seed": seed,
        "restarts": summary["restarts"],
        "milliseconds": {step: percentiles([t[step] for t in times]) for step in STEPS},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="kill -9 of a worker to its next commit")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--tick-hz", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = measure(given.kills, given.entities, given.tick_hz, given.workers, given.seed)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
