"""One chaos run: a disturbed instance, an undisturbed one with the same inputs, their ledgers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec.chaos.instance import ChaosFailed, Instance
from corec.chaos.ledger import Ledger, differences
from corec.chaos.plan import Fault, schedule
from corec.replay.publish import Limits, Publisher
from corec.replay.wire import ReplayError

TICK_HZ: Final = 40
EVERY_TICKS: Final = 10
SENSORES, OSCILADORES, DETECTORES = 1, 2, 3
DETECTORS: Final = 4000
READINGS_PER_ENTRY: Final = 500


def world(seed: int, blocks: int) -> dict[str, Any]:
    """Sensors and oscillators that live by the tick, detectors that live by what arrives."""
    return {
        "instance_id": "chaos",
        "db_config": {"embedded": True},
        "redis_config": {"embedded": True},
        "bloques": [
            {"id": "sensores", "canal": SENSORES, "entidades": blocks * 1000},
            {"id": "osciladores", "canal": OSCILADORES, "entidades": 4000,
             "procesador": "kuramoto", "parametros": {"K": 1.5}},
            {"id": "detectores", "canal": DETECTORES, "entidades": DETECTORS,
             "procesador": "detector", "parametros": {"warmup": 5, "z0": 2}},
        ],
        "seed": seed,
        "tick_hz": TICK_HZ,
        "workers": 2,
        "persist": {"every_ticks": EVERY_TICKS},
        "http": {"port": 0},
        "checkpoint": {"every_seconds": 20},
        "log": {"format": "json"},
    }  # fmt: skip


def first_detector(blocks: int) -> int:
    """Ids are given in config order."""
    return blocks * 1000 + 4000


def entry(number: int, seed: int, blocks: int) -> bytes:
    """The ``number``-th entry of readings: a function of the seed."""
    import numpy as np

    from corec.layout import MESSAGE

    dice = np.random.default_rng([seed, number])
    messages = np.zeros(READINGS_PER_ENTRY, MESSAGE)
    messages["id"] = first_detector(blocks) + dice.integers(0, DETECTORS, READINGS_PER_ENTRY)
    messages["canal"] = DETECTORES
    messages["valor"] = dice.normal(10.0, 2.0, READINGS_PER_ENTRY)
    messages["activo"] = 1
    return messages.tobytes()


class Feeder(threading.Thread):
    """Publishes readings, each entry exactly once whatever happens to the server."""

    def __init__(self, url: str, seed: int, blocks: int) -> None:
        super().__init__(daemon=True)
        self.url, self.seed, self.blocks = url, seed, blocks
        self.halt = threading.Event()
        self.entries = 0
        self.error: str | None = None

    def run(self) -> None:
        """Until ``halt``."""
        limits = Limits(retry_s=120.0, patience_s=120.0)
        try:
            with Publisher(
                self.url, "chaos", DETECTORES, limits, threading.Event(), lambda _text: None
            ) as publisher:
                while not self.halt.is_set():
                    publisher.publish([entry(self.entries, self.seed, self.blocks)])
                    self.entries += 1
                    self.halt.wait(0.02)
        except ReplayError as error:
            self.error = str(error)


class ChaosRun:
    """``run`` makes it and returns the report."""

    def __init__(
        self, seed: int, seconds: float, blocks: int, keep: bool, tell: Callable[[str], None]
    ) -> None:
        self.seed, self.seconds, self.blocks, self.tell = seed, seconds, blocks, tell
        self.keep = keep
        self.done: Counter[str] = Counter()
        self.adoptions = 0

    def run(self) -> dict[str, Any]:
        """Disturb, stop, repeat undisturbed, compare.

        Raises:
            ChaosFailed: the instance did not survive, or could not be started.
        """
        base = Path(tempfile.mkdtemp(prefix="corec-chaos-"))
        os.chmod(base, 0o755)
        disturbed = Instance(base / "disturbed", world(self.seed, self.blocks))
        calm = Instance(base / "calm", {**world(self.seed, self.blocks), "tick_hz": 0})
        good = False
        try:
            report = self._compare(disturbed, calm)
            good = bool(report["ok"])
            return report
        finally:
            for instance in (disturbed, calm):
                if instance.process is not None:
                    instance.abandon()
            if good and not self.keep:
                import shutil

                shutil.rmtree(base, ignore_errors=True)
            else:
                self.tell(f"logs and data are kept in {base}")

    def _compare(self, disturbed: Instance, calm: Instance) -> dict[str, Any]:
        self.tell(f"seed {self.seed}: an instance for {self.seconds:g} s under faults")
        disturbed.start("--fresh")
        disturbed.ready()
        url = str(disturbed.ask("status")["sinks"]["redis"]["address"])
        feeder = Feeder(url, self.seed, self.blocks)
        feeder.start()
        self._disturb(disturbed)
        feeder.halt.set()
        feeder.join(150.0)
        if feeder.error or feeder.is_alive():
            raise ChaosFailed(f"feeding the readings failed: {feeder.error or 'no end'}")
        tick = self._come_to_rest(disturbed, feeder.entries * READINGS_PER_ENTRY)
        first = disturbed.stop()
        self.tell(f"tick {tick} reached; now the same {tick} ticks and readings undisturbed")
        calm.start("--fresh", "--ticks", "0")
        calm.wait()
        self._feed_at_rest(calm, feeder.entries)
        calm.start("--ticks", str(tick), "--tick-hz", "200")
        second = calm.wait(60.0 + tick / 20.0)
        canales = [SENSORES, OSCILADORES, DETECTORES]
        books = [Ledger(i.state, i.runtime, "chaos", canales) for i in (disturbed, calm)]
        found = differences(
            books[0], books[1], (str(first["digest"]), str(second["digest"])), {DETECTORES}
        )
        return {
            "ok": not found,
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": dict(sorted(self.done.items())),
            "faults_total": sum(self.done.values()),
            "adoptions": self.adoptions,
            "tick": tick,
            "readings": feeder.entries * READINGS_PER_ENTRY,
            "rows": sum(books[0].rows.values()),
            "messages": sum(sum(m.values()) for m in books[0].messages.values()),
            "digest": first["digest"],
            "differences": found,
        }

    def _feed_at_rest(self, calm: Instance, entries: int) -> None:
        from corec.embedded.valkey import EmbeddedValkey

        valkey = EmbeddedValkey(calm.state / "chaos" / "valkey", calm.runtime / "feed")
        valkey.start()
        try:
            import redis

            with redis.Redis.from_url(valkey.url) as client:
                for number in range(entries):
                    message = entry(number, self.seed, self.blocks)
                    client.xadd(f"corec:{{chaos}}:in:{DETECTORES}", {"m": message})
        finally:
            valkey.stop()

    def _disturb(self, instance: Instance) -> None:
        start = time.monotonic()
        for fault in schedule(self.seed, self.seconds):
            time.sleep(max(0.0, start + fault.at - time.monotonic()))
            if self._do(instance, fault):
                self.done[fault.what] += 1
                self.tell(str(fault))
        time.sleep(max(0.0, start + self.seconds - time.monotonic()))

    def _do(self, instance: Instance, fault: Fault) -> bool:
        """Make the fault happen; false when its target is not there at this moment."""
        assert instance.process is not None
        verb, _, target = fault.what.partition(" ")
        supervisor = instance.process
        if fault.what == "kill supervisor":
            supervisor.kill()
            supervisor.wait()
            self.adoptions += 1
            instance.start()
            instance.ready()
            return True
        numbers = {"more workers": signal.SIGTTIN, "fewer workers": signal.SIGTTOU,
                   "reload": signal.SIGHUP}  # fmt: skip
        if fault.what in numbers:
            supervisor.send_signal(numbers[fault.what])
            return True
        pids = instance.children().get(target, [])
        if not pids:
            return False
        pid = pids[int(fault.pick * len(pids))]
        with contextlib.suppress(ProcessLookupError):
            if verb == "kill":
                os.kill(pid, signal.SIGKILL)
            elif verb == "restart":
                os.kill(pid, signal.SIGQUIT)
            else:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(fault.lasts)
                os.kill(pid, signal.SIGCONT)
        return True

    def _come_to_rest(self, instance: Instance, readings: int) -> int:
        """All readings applied, paused at a tick that ends with a row; returns that tick."""
        instance.ready()
        deadline = time.monotonic() + 120.0
        while int(instance.ask("status")["messages_in"]) < readings:
            if time.monotonic() > deadline:
                raise ChaosFailed(f"not all of the {readings} readings were taken in")
            time.sleep(0.1)
        time.sleep(3.0 / TICK_HZ)
        instance.ask("pause")
        tick = int(instance.ask("digest")["tick"])
        more = -tick % EVERY_TICKS
        if more:
            instance.ask("step", ticks=more)
        return tick + more


def any_seed() -> int:
    """A seed for a run that was given none; it is printed."""
    return random.SystemRandom().randrange(2**31)
