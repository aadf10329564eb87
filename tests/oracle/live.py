"""Drawn worlds in a real instance: it stands still, is given its input, steps, and is compared.

The ticks at which something came in are read from the instance, so a tick more or less (an
instance that is started again may run one before it is paused) does not spoil the comparison: the
oracle is given what happened, not what was planned.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import redis

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.oracle import sinks
from corec.oracle.block import Reading
from tests.oracle import left, subjects
from tests.oracle.drawn import MODULE, Drawn
from tests.support.instance import Instance, Running
from tests.support.processes import wait_until

MESSAGE: Final = struct.Struct("!Ibf?")
STILL: Final = ("--tick-hz", "0.001")
"""No tick comes by itself within the time of a test."""
SETTLE_SECONDS: Final = 2.0
SECONDS_MAX: Final = 60.0


class Disturbance(Protocol):
    """What happens to an instance meanwhile."""

    def before_step(self, run: Running) -> None:
        """Ticks are about to be asked for."""

    def between(self, run: Running) -> str | None:
        """Between two steps: None, or how the instance is to end and be started again: "stop",
        "kill" (of its supervisor) or "fresh workers"."""

    def over(self) -> None:
        """The last step was made."""


class Calm:
    """Nothing happens."""

    def before_step(self, run: Running) -> None:
        """Nothing."""

    def between(self, run: Running) -> str | None:
        """Nothing."""
        return None

    def over(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Servers:
    """Where PostgreSQL and Valkey are."""

    dsn: str
    url: str


class Player:
    """Plays one drawn world in an instance in ``home``."""

    def __init__(
        self, drawn: Drawn, name: str, home: Path, base: Path, servers: Servers,
        disturbance: Disturbance, armed: Sequence[str] = (),
    ) -> None:  # fmt: skip
        config = {
            "instance_id": name, "http": {"port": 0}, "streams": {"batch_ms": 2},
            "checkpoint": {"every_seconds": 0}, **drawn.config,
        }  # fmt: skip
        self.drawn, self.servers, self.disturbance = drawn, servers, disturbance
        self.instance = Instance(home, base, config, db_url=servers.dsn, redis_url=servers.url)
        (home / "plugins").mkdir()
        shutil.copy(subjects.__file__, home / "plugins" / f"{MODULE}.py")
        if armed:
            self.instance.environment["COREC_CRASH"] = ",".join(armed)
        self.workers = list(drawn.workers)
        self.dice = random.Random(name)
        self.happened = replace(drawn, readings={}, changes={}, ticks=0)
        self.sent = 0
        self.carga = float(drawn.config["carga"])
        self.restarted = False
        self.run = self._started()

    def play(self) -> tuple[left.Left, dict[str, Any]]:
        """All ticks; what the instance says of itself before it ends, and its summary."""
        for tick in range(1, self.drawn.ticks + 1):
            self._change(tick)
            self._send(tick)
            self.disturbance.before_step(self.run)
            self._step()
            how = self.disturbance.between(self.run)
            if how is not None:
                self._again(how)
        self.disturbance.over()
        self.happened = replace(self.happened, ticks=self._tick())
        found = left.left_by(self.run, self.drawn.entidades)
        return found, self.run.stop().summary

    def _started(self) -> Running:
        workers = self.workers.pop(0) if len(self.workers) > 1 else self.workers[0]
        run = self.instance.start(*STILL, "--workers", str(workers)).ready(SECONDS_MAX)
        self.run = run
        self._ask("pause")
        self._ask("set", path="tick_hz", value=0)
        if self.restarted and self.carga != float(self.drawn.config["carga"]):
            self._ask("set", path="carga", value=self.carga)
        return run

    def _again(self, how: str) -> None:
        if how == "kill":
            self.run.process.kill()
            self.run.process.wait(SECONDS_MAX)
            wait_until(lambda: not self.instance.processes(), "its processes end", 5.0)
        else:
            ended = self.run.stop()
            assert ended.code == 0, f"exit {ended.code}\n{ended.err[-3000:]}"
        self.restarted = True
        self.run = self._started()

    def _ask(self, op: str, **arguments: Any) -> Any:
        """Asks until somebody answers: the nucleus may be dead at the moment."""
        answer: list[Any] = []

        def asked() -> bool:
            try:
                answer.append(self.run.ask(op, 10.0, **arguments))
            except Unreachable:
                assert self.run.process.poll() is None, self.run.texts()[1][-3000:]
                return False
            except ControlError as error:
                if error.code in ("timeout", "busy"):
                    return False
                raise
            return True

        wait_until(asked, f"an answer to {op}", SECONDS_MAX)
        return answer[0]

    def _tick(self) -> int:
        """The tick it stands at."""
        return int(self._ask("digest")["tick"])

    def _change(self, tick: int) -> None:
        changes = self.drawn.changes.get(tick)
        if not changes:
            return
        for path, value in changes.items():
            answer = self._ask("set", path=path, value=value)
            self.carga = value if path == "carga" else self.carga
            self.happened.changes[int(answer["after_tick"]) + 1] = dict(changes)

    def _send(self, tick: int) -> None:
        readings = self.drawn.readings.get(tick)
        if not readings:
            return
        with redis.Redis.from_url(self.servers.url) as client:
            for canal, mine in self._by_canal(readings).items():
                key = f"corec:{{{self.instance.instance_id}}}:in:{canal}"
                while mine:
                    part = mine[: self.dice.choice([1, 7, len(mine)])]
                    mine = mine[len(part) :]
                    packed = b"".join(MESSAGE.pack(i, canal, v, a) for i, v, a in part)
                    client.xadd(key, {"m": packed})
        self.sent += len(readings)
        wait_until(
            lambda: self._ask("status")["messages_in"] == self.sent,
            f"{self.sent} readings are in", SECONDS_MAX,
        )  # fmt: skip
        self.happened.readings[self._tick() + 1] = readings

    def _by_canal(self, readings: list[Reading]) -> dict[int, list[Reading]]:
        found: dict[int, list[Reading]] = {}
        for reading in readings:
            found.setdefault(self.drawn.canal_of(reading[0]), []).append(reading)
        return found

    def _step(self) -> None:
        """One tick, whoever dies meanwhile."""
        target = self._tick() + 1

        def stepped() -> bool:
            try:
                return bool(self.run.ask("step", 10.0, ticks=1)["tick"] >= target)
            except (Unreachable, ControlError):
                assert self.run.process.poll() is None, self.run.texts()[1][-3000:]
            try:
                wait_until(lambda: self._ask("status")["tick"] >= target, "it", SETTLE_SECONDS)
            except AssertionError:
                return self._tick() >= target
            return True

        wait_until(stepped, f"tick {target}", SECONDS_MAX)


def check(
    drawn: Drawn, name: str, folder: Path, servers: Servers,
    disturbance: Disturbance | None = None, armed: Sequence[str] = (),
) -> None:  # fmt: skip
    """Play ``drawn`` in an instance called ``name`` and hold what it left against the oracle.

    Raises:
        Disagreement: they differ.
    """
    base = Path("/dev/shm") / f"corec-oracle-{name}"
    player = Player(drawn, name, folder / name, base, servers, disturbance or Calm(), armed)
    try:
        found, summary = player.play()
        player.instance.assert_clean()
        world = player.happened.play()
        left.same(found, world)
        sinks.same(sinks.read(servers.dsn, servers.url, name, world), world)
        left.same_summary(summary, world, updates=disturbance is None and not armed)
    except BaseException:
        (folder / f"{name}.json").write_text(
            json.dumps({"drawn": json.loads(drawn.to_json()),
                        "happened": json.loads(player.happened.to_json())})
        )  # fmt: skip
        raise
    finally:
        player.instance.kill()
        shutil.rmtree(base, ignore_errors=True)
