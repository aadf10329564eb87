"""What a checkpoint costs: how long the world is held for one, its size, its time, its restore.

Starts an instance with embedded servers in a temporary folder, twice:

    sensors     a million sensors, the state alone
    histories   a million entities whose 200-value histories are full, each pushing one value per
                second while the checkpoints are made: what a million readings/s would do

``hold_ms``: from the moment the nucleus sees the world at rest to its release. ``gap_ms``: the
longest time between two ticks around each checkpoint beyond the tick's period, as a watcher of the
control segment sees it (it looks every 0.1 ms): what the ticks feel, waiting for a CPU included.

    python -m benchmarks.checkpoint
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from corec import layout as L
from corec.control.client import Client
from shm.atomics import read_word
from shm.segment import Segment

RECORDER = '''"""A sensor that remembers: one value pushed per tick."""

import corec


@corec.micro(state={"level": "f4"}, history={"values": ("f4", 200)})
def recorder(me):
    me.level = 0.95 * me.level + 0.3 * (me.random() - 0.5)
    me.values.push(me.level)
    return 0.0
'''
FULL_TICKS = 210


class Ticks(threading.Thread):
    """Watches C_GO_TICK and keeps the longest time between two ticks."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.words = Segment.attach(
            folder / "control.seg",
            kind=L.KIND_CONTROL_SEGMENT,
            layout_hash=L.CONTROL_LAYOUT_HASH,
            writable=False,
        ).words
        self.longest = 0.0

    def run(self) -> None:
        """Look for ever."""
        seen, since = self.tick, time.perf_counter()
        while True:
            now = time.perf_counter()
            self.longest = max(self.longest, now - since)
            if self.tick != seen:
                seen, since = self.tick, now
            time.sleep(0.0001)

    @property
    def tick(self) -> int:
        """The last tick that went."""
        return int(read_word(self.words, L.C_GO_TICK))


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99 and the largest, in ms."""
    ordered = sorted(1000.0 * s for s in seconds)
    at = min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[at], 2),
        "max": round(ordered[-1], 2),
    }


def wait_for_instance(runtime: Path, process: subprocess.Popen[bytes]) -> Path:
    """The folder of the instance once it ticks. Raises RuntimeError when it ends instead."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the instance ended with exit code {process.returncode}")
        found = sorted(runtime.glob("checkpoints-????????/control.sock"))
        if found:
            try:
                with Client(found[0]) as client:
                    if client.ask("status", {}, 10.0)["tick"] > 0:
                        return found[0].parent
            except Exception:  # noqa: BLE001 - it is still starting, whatever it says
                pass
        time.sleep(0.05)


def snapshots(folder: Path, count: int, hz: float) -> dict[str, Any]:
    """Make ``count`` checkpoints of a running instance and tell what they cost."""
    ticks = Ticks(folder)
    ticks.start()
    period = 1.0 / hz if hz else 0.0
    holds, gaps, seconds = [], [], []
    with Client(folder / "control.sock") as client:
        for _ in range(count):
            ticks.longest = 0.0
            made = client.ask("snapshot", {"timeout_seconds": 300.0}, 310.0)
            holds.append(made["hold_seconds"])
            gaps.append(max(0.0, ticks.longest - period))
            seconds.append(made["seconds"])
    return {
        "tick_hz": hz,
        "count": count,
        "hold_ms": percentiles(holds),
        "gap_ms": percentiles(gaps),
        "seconds": round(statistics.median(seconds), 2),
        "bytes": made["bytes"],
    }


def measure(histories: bool, entities: int, count: int) -> dict[str, Any]:
    """One instance: its checkpoints while it ticks, and the restore of the last one."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    swarm: dict[str, Any] = {"id": "s", "canal": 1, "entidades": entities}
    if histories:
        swarm["procesador"] = "recorder:recorder"
    with (
        tempfile.TemporaryDirectory(prefix="corec-checkpoint-") as home,
        tempfile.TemporaryDirectory(prefix="corec-checkpoint-", dir=memory) as runtime,
    ):
        (Path(home) / "recorder.py").write_text(RECORDER)
        path = Path(home) / "config.json"
        config = {"instance_id": "checkpoints", "http": {"port": 0}, "bloques": [swarm],
                  "state_dir": str(Path(home) / "state"),
                  "checkpoint": {"every_seconds": 0}}  # fmt: skip
        path.write_text(json.dumps(config))
        environment = os.environ | {"COREC_HOME": home, "COREC_RUNTIME_BASE": runtime}
        command = [sys.executable, "-m", "corec", "run", "--config", str(path), "--json"]

        def start(*options: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*command, *options], cwd=Path(__file__).resolve().parents[1], env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip

        process = start("--tick-hz", "0" if histories else "10")
        try:
            folder = wait_for_instance(Path(runtime), process)
            with Client(folder / "control.sock") as client:
                while histories and client.ask("status", {}, 10.0)["tick"] < FULL_TICKS:
                    time.sleep(0.1)

                def pace(hz: float) -> None:
                    client.ask("set", {"path": "tick_hz", "value": hz}, 30.0)

                pace(1.0 if histories else 10.0)
                time.sleep(2.0)
                paced = snapshots(folder, count, 1.0 if histories else 10.0)
                pace(0.0)
                time.sleep(1.0)
                flat_out = snapshots(folder, count, 0.0)
                pace(1.0)
            process.send_signal(signal.SIGTERM)
            summary = json.loads(process.communicate(timeout=300)[0])
            began = time.perf_counter()
            process = start("--ticks", "0")
            again = json.loads(process.communicate(timeout=300)[0])
            took = time.perf_counter() - began
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    assert again["digest"] == summary["digest"]
    return {"paced": paced, "flat_out": flat_out, "restored_start_to_end_seconds": round(took, 2)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="what a checkpoint costs")
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--count", type=int, default=20, help="Checkpoints of sensors.")
    parser.add_argument("--history-count", type=int, default=4, help="… with full histories.")
    given = parser.parse_args()
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
        "entidades": given.entities,
        "sensors": measure(False, given.entities, given.count),
        "histories": measure(True, given.entities, given.history_count),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
