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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corec import layout as L
from corec.control.client import Client
from shm.atomics import read_word
from shm.segment import Segment

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


class Watched:
    """A running instance, seen through its control segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segment = Segment.attach(
            folder / "control.seg",
            kind=L.KIND_CONTROL_SEGMENT,
            layout_hash=L.CONTROL_LAYOUT_HASH,
            writable=False,
        )
        self.words = self.segment.words

    def get(self, worker: int, word: int) -> int:
        """A word of a worker's slot."""
        return int(read_word(self.words, L.slot_base(L.SLOT_WORKER0 + worker) + word))

    @property
    def workers(self) -> int:
        """How many there are."""
        return int(self.words[L.C_WORKERS])


def cpu_ms(pid: int) -> float:
    """Milliseconds that the first thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def one_kill(watched: Watched, worker: int, supervisor: int) -> dict[str, float]:
    """Kill ``worker`` and time its successor; milliseconds by step."""
    pid = watched.get(worker, L.S_PID)
    restarts = watched.get(worker, L.S_RESTARTS)
    found: dict[str, float] = {}
    before = cpu_ms(supervisor)
    os.kill(pid, signal.SIGKILL)
    killed = time.perf_counter()
    tick = watched.get(worker, L.S_TICK)
    while "committed" not in found:
        now = time.perf_counter()
        ms = 1000.0 * (now - killed)
        if now - killed > STEP_SECONDS_MAX:
            raise TimeoutError(f"worker {worker} is not back after {STEP_SECONDS_MAX} s: {found}")
        if "reaped" not in found and watched.get(worker, L.S_RESTARTS) > restarts:
            found["reaped"] = ms
        if "forked" not in found and watched.get(worker, L.S_PID) != pid:
            found["forked"] = ms
        if "forked" in found:
            if "ready" not in found and watched.get(worker, L.S_STATE) == L.PROC_READY:
                found["ready"] = ms
            if watched.get(worker, L.S_TICK) > tick:
                found["committed"] = ms
                found.setdefault("ready", ms)
        time.sleep(0.0001)
    found["cpu"] = cpu_ms(supervisor) - before + cpu_ms(watched.get(worker, L.S_PID))
    return found


def machine() -> str:
    """Which machine this is, in a line."""
    return f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the largest, in ms."""
    ordered = sorted(values)
    at = min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[at], 2),
        "max": round(ordered[-1], 2),
    }


def wait_for_instance(folder: Path, process: subprocess.Popen[bytes]) -> Watched:
    """The instance once it ticks. Raises RuntimeError when it ends instead."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the instance ended with exit code {process.returncode}")
        found = sorted(folder.glob("recovery-????????/control.sock"))
        if found:
            try:
                with Client(found[0]) as client:
                    if client.ask("status", {}, 10.0)["tick"] > 0:
                        return Watched(found[0].parent)
            except Exception:  # noqa: BLE001 - it is still starting, whatever it says
                pass
        time.sleep(0.05)


def measure(kills: int, entities: int, tick_hz: float, workers: int, seed: int) -> dict[str, Any]:
    """Run the whole benchmark."""
    load = [round(value, 2) for value in os.getloadavg()]
    chosen = random.Random(seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="corec-recovery-") as home,
        tempfile.TemporaryDirectory(prefix="corec-recovery-", dir=memory) as runtime,
    ):
        path = Path(home) / "config.json"
        path.write_text(json.dumps(config(entities)))
        environment = os.environ | {"COREC_HOME": home, "COREC_RUNTIME_BASE": runtime}
        process = subprocess.Popen(
            [sys.executable, "-m", "corec", "run", "--config", str(path), "--json",
             "--tick-hz", str(tick_hz), "--workers", str(workers)],
            cwd=Path(__file__).resolve().parents[3],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            watched = wait_for_instance(Path(runtime), process)
            times: list[dict[str, float]] = []
            last = dict.fromkeys(range(watched.workers), 0.0)
            for _ in range(kills):
                worker = chosen.randrange(watched.workers)
                # at any moment of the tick's period, not always just behind a commit
                phase = chosen.random() / max(1.0, tick_hz)
                time.sleep(max(0.1, last[worker] + QUIET_SECONDS - time.monotonic()) + phase)
                times.append(one_kill(watched, worker, process.pid))
                last[worker] = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    summary = json.loads(out)
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
