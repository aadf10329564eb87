"""Drawn worlds in a real instance: it stands still, is given its input, steps, and is compared.

The ticks at which something came in are read from the instance, so a tick more or less (an
instance that is started again may run one before it is paused) does not spoil the comparison: the
oracle is given what happened, not what was planned.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import redis

from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.lab.oracle import sinks
from tests.oracle import left
from tests.oracle.changing import LIMITS, change, even_out, into_plugins, take_form
from tests.oracle.drawn import (
    CHANGELING,
    EVEN,
    EVERYBODY,
    FORMS,
    MIGRATE,
    PACK,
    PER_BLOCK,
    REEF,
    WRITE,
    Drawn,
    places_for,
)
from tests.oracle.edges import write_edges
from tests.oracle.entries import Entries
from tests.support.instance import Instance, Running
from tests.support.processes import is_running, promised, wait_until

STILL_HZ: Final = 0.001
"""No tick comes by itself within the time of a test."""
SETTLE_SECONDS: Final = 2.0
SECONDS_MAX: Final = 60.0


class Disturbance(Protocol):
    """What happens to an instance meanwhile."""

    def before_change(self, run: Running, path: str) -> None:
        """Something is about to be changed."""

    def before_step(self, run: Running) -> None:
        """Ticks are about to be asked for."""

    def between(self, run: Running) -> str | None:
        """Between two steps: None, or how the instance is to end and be started again: "stop",
        "kill" (of its supervisor) or "fresh workers"."""

    def over(self) -> None:
        """The last step was made."""


class Calm:
    """Nothing happens."""

    def before_change(self, run: Running, path: str) -> None:
        """Nothing."""

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
        into_plugins(home)
        write_edges(drawn, home)
        if armed:
            self.instance.environment["COREC_CRASH"] = ",".join(armed)
        self.workers = list(drawn.workers)
        self.entries = Entries(drawn, random.Random(name))
        self.happened = replace(drawn, readings={}, changes={}, letters={}, ticks=0, refused={})
        self.sent = 0
        self.letters: list[tuple[str, str]] = []
        """Stream and id of each entry that could not be understood."""
        self.carga = float(drawn.config["carga"])
        self.evened = 0
        """How often workers' shares were seen to be evened out."""
        self.run: Running

    def play(self) -> tuple[left.Left, dict[str, Any]]:
        """All ticks; what the instance says of itself before it ends, and its summary."""
        self._start()
        tick = 0
        while tick < self.drawn.ticks:
            count = max(1, self.drawn.quiet - tick)
            tick += count
            self._change(tick)
            self._send(tick)
            self.disturbance.before_step(self.run)
            stood = self._step(count)
            how = self.disturbance.between(self.run)
            if how is not None:
                self._again(how)
                self._run_again(stood)
        self.disturbance.over()
        self.happened = replace(self.happened, ticks=self._tick())
        found = left.left_by(self.run, self.drawn.entidades)
        return found, self.run.stop().summary

    def _start(self) -> None:
        workers = self.workers.pop(0) if len(self.workers) > 1 else self.workers[0]
        options = ("--tick-hz", str(STILL_HZ), "--migrate", "--workers", str(workers))
        self.run = self.instance.start(*options).ready(SECONDS_MAX)
        self._stand_still()

    def _stand_still(self) -> None:
        """Paused, at the load it had. The pace outlives it: were that none, it would tick flat out
        from its next start until it is paused again."""
        self.run.answered("pause")
        self.run.answered("set", path="tick_hz", value=STILL_HZ)
        self.run.answered("set", path="carga", value=self.carga)

    def _again(self, how: str) -> None:
        if how == "kill":
            self.run.process.kill()
            self.run.process.wait(SECONDS_MAX)
            wait_until(lambda: not self.instance.processes(), "its processes end", promised(5.0))
        else:
            ended = self.run.stop()
            assert ended.code == 0, f"exit {ended.code}\n{ended.err[-3000:]}"
        self._start()

    def _tick(self) -> int:
        """The tick it stands at."""
        return int(self.run.answered("digest")["tick"])

    def _change(self, tick: int) -> None:
        for path, value in self.drawn.changes.get(tick, {}).items():
            at = self._tick()  # before the supervisor may die
            self.disturbance.before_change(self.run, path)
            after = self._changed(path, value, at)
            self.disturbance.over()
            if not is_running(self.run.pid):
                self._again("kill")
            self.carga = value if path == "carga" else self.carga
            if not path.startswith(WRITE):
                self.run.ready(SECONDS_MAX)
                self._stand_still()
            if after is not None:
                self.happened.changes.setdefault(after + 1, {})[path] = value

    def _changed(self, path: str, value: Any, at: int) -> int | None:
        """Make a change at tick ``at``, whoever dies meanwhile; the tick after which it counts.
        None: it was refused."""
        if path == EVEN:
            self.evened += even_out(self.run)
            return self._tick()
        try:
            return change(self.run, path, value)
        except (AssertionError, ControlError, Unreachable) as error:
            if path.endswith(LIMITS) and getattr(error, "code", "") == "bad_request":
                self.happened.refused.setdefault(at + 1, []).append([path, value])
                return None
            if path != MIGRATE or is_running(self.run.pid):
                raise
        return at  # the supervisor died: the next start goes on with the new code

    def _send(self, tick: int) -> None:
        readings = self.drawn.readings.get(tick, [])
        letters = [self.entries.letter(*one) for one in self.drawn.letters.get(tick, ())]
        key = f"corec:{{{self.instance.instance_id}}}"
        with redis.Redis.from_url(self.servers.url) as client:
            for canal, fields in letters:
                source: Any = client.xadd(f"{key}:in:{canal}", fields)
                self.letters.append((f"{key}:in:{canal}", source.decode()))
            for canal, fields in self.entries.of(readings):
                client.xadd(f"{key}:in:{canal}", fields)
            wait_until(
                lambda: client.xlen(f"{key}:dead") >= len(self.letters), "they are judged",
                SECONDS_MAX,
            )  # fmt: skip
        if not readings:
            return
        self.sent += len(readings)
        found: list[int] = []

        def arrived() -> bool:
            found[:] = [int(self.run.answered("status")["messages_in"])]
            return found == [self.sent]

        try:
            wait_until(arrived, "they are in", SECONDS_MAX)
        except AssertionError as late:
            raise AssertionError(f"messages_in: {found} of {self.sent}; {late}") from None
        self.happened.readings[self._tick() + 1] = readings

    def _run_again(self, stood: int) -> None:
        """Where it stands before the tick it stood at, its machine was lost: what it ran since its
        checkpoint it runs again, and nothing new comes in until then."""
        behind = stood - self._tick()
        if behind > 0:
            self._step(behind)

    def _step(self, count: int) -> int:
        """So many ticks, whoever dies meanwhile; the tick it stands at then."""
        target = self._tick() + count

        def stepped() -> bool:
            more = max(1, target - self._tick())
            try:
                return bool(self.run.ask("step", 10.0, ticks=more)["tick"] >= target)
            except (Unreachable, ControlError):
                assert self.run.process.poll() is None, self.run.texts()[1][-3000:]
            try:
                self.run.until_tick(target, SETTLE_SECONDS)
            except AssertionError:
                return self._tick() >= target
            return True

        wait_until(stepped, f"tick {target}", SECONDS_MAX)
        return target


def compile_all(folder: Path, names: Collection[str] = EVERYBODY) -> None:
    """What drawn worlds run, or just these processors, is compiled, so that no deadline has to
    allow for that."""
    if (folder / "warm").exists():
        return
    if any(name in PACK for name in names):
        names = {*names, *PACK}
    if any(name.endswith(":wader") for name in names):
        names = {*names, REEF["procesador"]}
    swarms = [
        {
            "id": "reef" if name == REEF["procesador"] else name if name in PACK else f"b{k}",
            "canal": 1,
            "entidades": PER_BLOCK,
            "entidades_por_bloque": PER_BLOCK,
            "procesador": name,
            **places_for(name.rpartition(":")[2]),
        }
        for k, name in enumerate(names)
    ]
    config = {"instance_id": "w", "globals": {"wind": 0.0}, "bloques": swarms}
    instance = Instance(folder / "warm", folder / "none", config)
    into_plugins(folder / "warm")
    (folder / "warm" / "ties.csv").write_text("0,1,1.0\n", "utf-8")
    for number in range(len(FORMS) if CHANGELING in names else 1):
        if number:
            alone = [swarm for swarm in swarms if swarm["procesador"] == CHANGELING]
            instance.configure({**config, "bloques": alone})
            take_form(folder / "warm", number)
        subprocess.run(
            [sys.executable, "-m", "corec.cli.warm", str(instance.config_path)],
            env=instance.environment, cwd=folder / "warm", check=True,
        )  # fmt: skip


def check(
    drawn: Drawn, name: str, folder: Path, servers: Servers,
    disturbance: Disturbance | None = None, armed: Sequence[str] = (),
) -> None:  # fmt: skip
    """Play ``drawn`` in an instance called ``name`` and hold what it left against the oracle.

    Raises:
        Disagreement: they differ.
        AssertionError: something else is not as it has to be, or did not come in time.
    """
    tmpfs = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="corec-oracle-", dir=tmpfs if tmpfs.is_dir() else None))
    player = Player(drawn, name, folder / name, base, servers, disturbance or Calm(), armed)
    try:
        found, summary = player.play()
        player.instance.assert_clean()
        world = player.happened.play()
        left.same(found, world)
        written = sinks.read(servers.dsn, servers.url, name, world)
        sinks.same(written, world)
        left.same_shares(written.events, world, player.evened, disturbance is None)
        sinks.same_letters(servers.url, name, player.letters)
        left.same_summary(summary, world, updates=disturbance is None and not armed)
    except BaseException:
        disturbed = disturbance or Calm()
        disturbed.over()
        (folder / f"{name}.json").write_text(
            json.dumps({"drawn": json.loads(drawn.to_json()),
                        "happened": json.loads(player.happened.to_json())})
        )  # fmt: skip
        raise
    finally:
        player.instance.kill()
        shutil.rmtree(base, ignore_errors=True)
