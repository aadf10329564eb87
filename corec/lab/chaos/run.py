"""One chaos run: a disturbed instance, an undisturbed one with the same inputs, their ledgers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from corec.lab.chaos import acting, feeder, meeting, witness
from corec.lab.chaos.disturber import Disturber
from corec.lab.chaos.feeder import Feeder, feed_at_rest
from corec.lab.chaos.instance import START_SECONDS, ChaosInstance
from corec.lab.chaos.ledger import differences
from corec.lab.chaos.plan import WORKERS, schedule
from corec.lab.chaos.stage import Stage, in_own_folder
from corec.lab.instance import LabFailed

TICK_HZ: Final = 40
STILL_TICK_HZ: Final = 0.001
"""No tick comes by itself while readings are taken in."""
REST_TICK_HZ: Final = 5
"""Once the faults are over: each tick raises alerts, and at rest is who has followed the last."""
EVERY_TICKS: Final = 10
SENSORES, OSCILADORES, DETECTORES = 1, 2, feeder.CANAL
OSCILLATORS: Final = 1500
SPOOL_MAX_MB: Final = 1
REST_SECONDS: Final = 180.0


def world(seed: int, blocks: int) -> dict[str, Any]:
    """Sensors and oscillators that live by the tick, detectors that live by what arrives, witnesses
    whom the oracle knows, listeners who live by what a task answers, and entities that meet."""
    return {
        "instance_id": "chaos",
        "bloques": [
            {"id": "sensores", "canal": SENSORES, "entidades": blocks * 1000},
            {"id": "osciladores", "canal": OSCILADORES, "entidades": OSCILLATORS,
             "procesador": "kuramoto", "parametros": {"K": 1.5}},
            {"id": "detectores", "canal": DETECTORES, "entidades": feeder.DETECTORS,
             "procesador": "ewma", "parametros": {"warmup": 5, "z0": 2}},
            witness.SWARM,
            acting.SWARM,
            *meeting.SWARMS,
        ],
        "seed": seed,
        "tick_hz": TICK_HZ,
        "workers": WORKERS,
        "persist": {"every_ticks": EVERY_TICKS, "spool_max_mb": SPOOL_MAX_MB},
        "streams": {"maxlen": 1_000_000_000, "max_mb": 1_048_576},
        "http": {"port": 0},
        "checkpoint": {"every_seconds": 5},
        "log": {"format": "json"},
    }  # fmt: skip


def first_detector(blocks: int) -> int:
    """Ids are given in config order."""
    return blocks * 1000 + OSCILLATORS


class ChaosRun:
    """``run`` makes it and returns the report."""

    def __init__(
        self, seed: int, seconds: float, blocks: int, keep: bool, tell: Callable[[str], None]
    ) -> None:
        self.seed, self.seconds, self.blocks, self.tell = seed, seconds, blocks, tell
        self.keep = keep

    def run(self) -> dict[str, Any]:
        """Disturb, stop, repeat undisturbed, compare.

        Raises:
            LabFailed: the instance did not survive, or could not be started.
        """
        return in_own_folder(self._compare, self.keep, self.tell)

    def _compare(self, base: Path) -> dict[str, Any]:
        canales = [SENSORES, OSCILADORES, DETECTORES, witness.CANAL, acting.CANAL, meeting.CANAL]
        config = world(self.seed, self.blocks)
        with Stage(base / "disturbed", config | acting.TASKS) as stage:
            disturber, entries, tick = self._disturbed(stage)
            first = stage.instance.stop()
            chaos = stage.ledger(canales)
            disagrees = stage.disagrees_with_oracle(config, tick)
            told = acting.answers(stage.servers.valkey.url)
            disagrees += acting.disagree(stage.servers.postgres.dsn, told)
        self.tell(
            f"tick {tick} reached; now the same {tick} ticks, readings and answers undisturbed, "
            "without any task"
        )
        with Stage(base / "calm", config) as stage:
            feed_at_rest(stage.servers.valkey.url, entries, self.seed, first_detector(self.blocks))
            acting.repeat(stage.servers.valkey.url, told)
            wanted = entries * feeder.READINGS_PER_ENTRY + len(told)
            second = self._undisturbed(stage.instance, tick, wanted)
            calm = stage.ledger(canales)
        found = differences(
            chaos, calm, (str(first["digest"]), str(second["digest"])),
            {DETECTORES, acting.CANAL},
        )  # fmt: skip
        found += disagrees + disturber.unnoticed
        return {
            "ok": not found,
            "seed": self.seed,
            "seconds": self.seconds,
            **disturber.report(),
            "entidades": first["entidades"],
            "tick": tick,
            "readings": entries * feeder.READINGS_PER_ENTRY,
            "alerts_answered": len(told),
            "rows": chaos.rows.total(),
            "messages": chaos.message_count,
            "digest": first["digest"],
            "digest_undisturbed": second["digest"],
            "differences": found,
        }

    def _undisturbed(self, instance: ChaosInstance, tick: int, readings: int) -> dict[str, Any]:
        """``tick`` ticks flat out, once all readings wait for them; its summary. Not ``--fresh``,
        which begins behind the readings that are there."""
        instance.spawn("--ticks", str(tick), "--tick-hz", str(STILL_TICK_HZ))
        instance.ready()
        deadline = time.monotonic() + REST_SECONDS
        while (taken := int(instance.ask("status")["messages_in"])) < readings:
            if time.monotonic() > deadline:
                raise LabFailed(f"only {taken} readings were taken in, of {readings}")
            time.sleep(0.1)
        instance.ask("set", path="tick_hz", value=0.0)
        return instance.wait(START_SECONDS + tick / 20.0)

    def _disturbed(self, stage: Stage) -> tuple[Disturber, int, int]:
        """The faults; entries of readings published, and the tick it stands at afterwards."""
        self.tell(f"seed {self.seed}: an instance for {self.seconds:g} s under faults")
        faults = schedule(self.seed, self.seconds)
        stage.instance.spawn("--fresh")
        stage.instance.ready()
        longest = max((fault.lasts for fault in faults), default=0.0)
        feeding = Feeder(
            stage.servers.valkey.url, self.seed, first_detector(self.blocks),
            2.0 * longest + START_SECONDS,
        )  # fmt: skip
        feeding.start()
        disturber = Disturber(stage.instance, stage.servers, self.tell)
        try:
            disturber.run(faults, self.seconds)
        finally:
            feeding.end()
        tick = self._come_to_rest(stage, feeding.entries * feeder.READINGS_PER_ENTRY)
        return disturber, feeding.entries, tick

    def _come_to_rest(self, stage: Stage, readings: int) -> int:
        """All readings applied, and all alerts answered, paused at a tick that ends with a row;
        returns that tick."""
        instance, dsn = stage.instance, stage.servers.postgres.dsn
        url = stage.servers.valkey.url
        instance.ready()
        instance.ask("set", path="tick_hz", value=REST_TICK_HZ)
        deadline = time.monotonic() + REST_SECONDS
        while True:
            taken = int(instance.ask("status")["messages_in"])
            if taken >= readings and acting.at_rest(dsn, url):
                wanted = readings + len(acting.answers(url))
                if int(instance.ask("status")["messages_in"]) >= wanted and taken >= wanted:
                    break
            if time.monotonic() > deadline:
                raise LabFailed(f"only {taken} readings were taken in, of {readings} and answers")
            time.sleep(0.1)
        time.sleep(3.0 / REST_TICK_HZ)
        instance.ask("pause")
        tick = int(instance.ask("digest")["tick"])
        more = -tick % EVERY_TICKS
        if more:
            instance.ask("step", ticks=more)
        return tick + more
