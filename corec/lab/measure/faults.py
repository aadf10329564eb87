"""How long each kind of fault is felt: the numbers in the table of docs/durability.md.

Starts an instance of its own with embedded servers, makes one fault after the other happen and
watches the control segment for the moment at which the work goes on:

    killed worker            its place commits another tick
    killed persister         the rows of a later tick than the world's at the kill are durable
    killed broker            the messages of such a tick are sent
    killed nucleus           the control socket answers
    frozen worker            as killed, with the ten seconds until it is noticed
    postgres, valkey         killed and started by the supervisor; as persister and broker
    supervisor: children     until the last child has left
    supervisor: start        ``corec run`` to the next committed tick, Python's start included
    upgrade, workers, reload the longest time without a tick while it happens

Prints one JSON document: for each fault how often, and the median and the longest in milliseconds.
Ticks come every 1000 / tick_hz ms, and rows every ``persist.every_ticks`` of them: both waits are
in the numbers.

    python -m corec.lab.measure.faults
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from corec import layout as L
from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.lab.bench.server import Server
from corec.lab.measure.recovery import QUIET_SECONDS, config, machine
from corec.proc import alive
from corec.world.segment import WORLD_FILE

LOOK_SECONDS: Final = 0.0005
FAULT_SECONDS_MAX: Final = 60.0
SLOTS: Final = {
    "persister": L.SLOT_PERSISTER,
    "broker": L.SLOT_BROKER,
    "nucleus": L.SLOT_NUCLEUS,
    "worker": L.SLOT_WORKER0,
}


def until(condition: Callable[[], bool], what: str) -> float:
    """Milliseconds until ``condition()``. Raises TimeoutError after a minute."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > FAULT_SECONDS_MAX:
            raise TimeoutError(f"not within {FAULT_SECONDS_MAX:g} s: {what}")
        time.sleep(LOOK_SECONDS)
    return 1000.0 * (time.perf_counter() - began)


class Bench:
    """One instance, its faults and what they cost."""

    def __init__(self, server: Server, tick_hz: float) -> None:
        self.server, self.tick_hz = server, tick_hz
        self.found: dict[str, list[float]] = {}
        server.start(tick_hz=tick_hz, paused=False)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self.server.process is not None, "it runs"
        return self.server.process

    def is_past(self, tick: int) -> bool:
        """Whether a later tick is committed."""
        return self.server.attached() and self.server.tick > tick

    def note(self, fault: str, milliseconds: float) -> None:
        """One measurement."""
        self.found.setdefault(fault, []).append(milliseconds)
        time.sleep(QUIET_SECONDS)

    def answers(self) -> bool:
        """Whether the control socket does."""
        try:
            return bool(self.server.ask("status", 2.0)["tick"])
        except (Unreachable, ControlError, OSError):
            return False

    def hit(self, role: str, number: signal.Signals, name: str) -> None:
        """A signal to a process; until its place has done what it is there for."""
        slot = SLOTS[role]
        pid, tick = self.server.slot(slot, L.S_PID), self.server.tick
        os.kill(pid, number)

        def back() -> bool:
            if self.server.slot(slot, L.S_PID) == pid:
                return False
            return self.answers() if role == "nucleus" else self.server.slot(slot, L.S_TICK) > tick

        self.note(name, until(back, name))

    def embedded(self, program: str, number: signal.Signals, role: str) -> None:
        """Kill an embedded server; until its process has caught up with the kill."""
        tick = self.server.tick
        os.kill(self._server_pid(program), number)
        slot = SLOTS[role]
        took = until(lambda: self.server.slot(slot, L.S_TICK) > tick, program)
        self.note(f"{program} killed", took)

    def _server_pid(self, program: str) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in children.split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if program in command and not command.startswith("corec:"):
                return int(pid)
        raise RuntimeError(f"{program} does not run")

    def supervisor(self) -> None:
        """SIGKILL; until nobody is left, then the next start until it ticks."""
        slots = [*list(SLOTS.values()), L.SLOT_WORKER0 + 1]
        pids = [self.server.slot(slot, L.S_PID) for slot in slots]
        self.process.kill()
        began = until(lambda: not any(map(alive, pids)), "children leave")
        tick = self.server.tick  # of a world that nobody ticks
        self.server.kill()
        self.note("supervisor killed: its children leave", began)
        start = time.perf_counter()
        self.server.spawn(tick_hz=self.tick_hz)
        until(partial(self.is_past, tick), "the adopted world ticks")
        self.note("supervisor killed: the next start ticks", 1000.0 * (time.perf_counter() - start))

    def change(self, name: str, number: signal.Signals, seconds: float) -> None:
        """A signal to the supervisor; the longest time without a tick in the seconds after."""
        self.process.send_signal(number)
        end, longest = time.perf_counter() + seconds, 0.0
        while time.perf_counter() < end:
            tick = self.server.tick
            longest = max(longest, until(partial(self.is_past, tick), name))
        self.note(name, longest)

    def refused(self) -> None:
        """A start that finds a flipped byte in world.seg; until it has said so."""
        self.server.kill()
        time.sleep(QUIET_SECONDS)
        with (self.server.folder / WORLD_FILE).open("r+b", buffering=0) as file:
            byte = os.pread(file.fileno(), 1, 20)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), 20)
            began = time.perf_counter()
            ended = subprocess.run(
                [sys.executable, "-m", "corec", "run"], env=self.server.environment,
                cwd=self.server.home, capture_output=True, check=False,
            )  # fmt: skip
            if ended.returncode != 2:
                raise RuntimeError(f"a damaged world ended with exit code {ended.returncode}")
            self.note("damaged segment: refused", 1000.0 * (time.perf_counter() - began))
            os.pwrite(file.fileno(), byte, 20)
        self.server.start(tick_hz=self.tick_hz, paused=False)


def run(bench: Bench, times: int) -> None:
    """Every fault, so many times; the slow ones less often."""
    for role in ("worker", "persister", "broker", "nucleus"):
        for _ in range(times):
            bench.hit(role, signal.SIGKILL, f"{role} killed")
    for _ in range(2):
        bench.hit("worker", signal.SIGSTOP, "worker frozen")
    for _ in range(max(2, times // 4)):
        bench.embedded("postgres", signal.SIGQUIT, "persister")
        bench.embedded("valkey", signal.SIGKILL, "broker")
        bench.change("upgrade (USR2)", signal.SIGUSR2, 8.0)
        bench.change("one worker more (TTIN)", signal.SIGTTIN, 2.0)
        bench.change("one worker fewer (TTOU)", signal.SIGTTOU, 2.0)
        good = bench.server.config_path.read_text()
        bench.server.config_path.write_text("{")
        bench.change("bad reload (HUP)", signal.SIGHUP, 2.0)
        bench.server.config_path.write_text(good)
        bench.supervisor()
    bench.refused()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="how long each kind of fault is felt")
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--tick-hz", type=float, default=20.0)
    given = parser.parse_args()
    with Server(config(given.entities), workers=2) as server:
        bench = Bench(server, given.tick_hz)
        run(bench, given.times)
        server.stop()
    faults: dict[str, Any] = {
        fault: {"times": len(ms), "median_ms": round(statistics.median(ms), 1),
                "longest_ms": round(max(ms), 1)}
        for fault, ms in bench.found.items()
    }  # fmt: skip
    about = {"machine": machine(), "entidades": given.entities, "tick_hz": given.tick_hz}
    print(json.dumps(about | {"faults": faults}, indent=2))


if __name__ == "__main__":
    main()
