"""Drawn worlds in a real instance: it stands still, is given its input, steps, and is compared.

The ticks at which something came in are read from the instance, so a tick more or less (an
instance that is started again may run one before it is paused) does not spoil the comparison: the
oracle is given what happened, not what was planned.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, Protocol

import redis

from corec.control.client import Unreachable
from corec.control.outcome import await_change, last_change
from corec.control.protocol import ControlError
from corec.lab.oracle import sinks
from corec.lab.oracle.block import Reading
from corec.lab.oracle.compare import Disagreement
from tests.oracle import left, subjects
from tests.oracle.drawn import EVERYBODY, GROW, MODULE, PER_BLOCK, Drawn, places_for
from tests.support.instance import Instance, Running
from tests.support.processes import promised, wait_until

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
        self.run: Running

    def play(self) -> tuple[left.Left, dict[str, Any]]:
        """All ticks; what the instance says of itself before it ends, and its summary."""
        self._start()
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

    def _start(self) -> None:
        workers = self.workers.pop(0) if len(self.workers) > 1 else self.workers[0]
        self.run = self.instance.start(*STILL, "--workers", str(workers)).ready(SECONDS_MAX)
        self._stand_still()

    def _stand_still(self) -> None:
        """Paused, flat out when it steps, at the load it had."""
        self.run.answered("pause")
        self.run.answered("set", path="tick_hz", value=0)
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
        changes = self.drawn.changes.get(tick)
        if not changes:
            return
        for path, value in changes.items():
            if path == "carga" or path.startswith("globals.") or ".parametros." in path:
                after = int(self.run.answered("set", path=path, value=value)["after_tick"])
                self.carga = value if path == "carga" else self.carga
            elif path.startswith(GROW):
                after = self._grow(path.removeprefix(GROW), int(value))
            else:
                self._reload(path, value)
                after = self._tick()
            self.happened.changes.setdefault(after + 1, {})[path] = value

    def _grow(self, bloque: str, more: int) -> int:
        """So many more entities; the tick after which they are there."""
        answer = self.run.ask("grow", 10.0, bloque=bloque, more=more)  # once: nobody dies now
        if "after_change" in answer:
            outcome = await_change(
                self.instance.folder, int(answer["after_change"]), str(answer["change"]),
                lambda: self.run.process.poll() is None,
            )  # fmt: skip
            assert outcome["accepted"], outcome
        self.run.ready(SECONDS_MAX)
        self._stand_still()
        return int(answer["after_tick"])

    def _reload(self, path: str, value: Any) -> None:
        """The configuration file changed, and taken over."""
        config = copy.deepcopy(self.instance.config)
        _, swarm, key = path.split(".", 2)
        bloque = next(b for b in config["bloques"] if b["id"] == swarm)
        bloque.update({"umbral": value} if key == "umbral" else
                      {"autoreparacion": {"max_errores": value}})  # fmt: skip
        self.instance.configure(config)
        before = int(last_change(self.instance.folder)["number"])
        self.run.signal(signal.SIGHUP)
        outcome = await_change(
            self.instance.folder, before, "reload", lambda: self.run.process.poll() is None
        )
        assert outcome["accepted"], outcome
        self.run.ready(SECONDS_MAX)
        self._stand_still()

    def _send(self, tick: int) -> None:
        readings = self.drawn.readings.get(tick)
        if not readings:
            return
        with redis.Redis.from_url(self.servers.url) as client:
            for canal, mine in self._by_canal(readings).items():
                key = f"corec:{{{self.instance.instance_id}}}:in:{canal}"
                while mine:
                    part = self._alike(mine[: self.dice.choice([1, 1, 7, len(mine)])])
                    mine = mine[len(part) :]
                    client.xadd(key, self._fields(canal, part))
        self.sent += len(readings)
        found: list[int] = []

        def arrived() -> bool:
            found[:] = [int(self.run.answered("status")["messages_in"])]
            return found == [self.sent]

        try:
            wait_until(arrived, "they are in", SECONDS_MAX)
        except AssertionError:
            raise Disagreement(
                f"messages_in: found {found}, the oracle says {self.sent} were sent"
            ) from None
        self.happened.readings[self._tick() + 1] = readings

    def _alike(self, part: list[Reading]) -> list[Reading]:
        """The first of them that fit one entry."""

        def form(reading: Reading) -> tuple[int, bool]:
            values = EVERYBODY[self.drawn.swarm_of(reading[0])["procesador"]].values
            return len(values) if reading[2] else 0, bool(values)

        return list(takewhile(lambda reading: form(reading) == form(part[0]), part))

    def _fields(self, canal: int, part: list[Reading]) -> Any:
        """One entry: packed messages, or for a Celu entity an id with its datum in one of the
        forms that docs/streams.md names."""
        identity, valor, activo = part[0]
        names = EVERYBODY[self.drawn.swarm_of(identity)["procesador"]].values
        if names and activo:
            full = [self.drawn.full(reading) for reading in part]
            if len(part) > 1 or self.dice.random() < 0.5:
                return {"v": b"".join(struct.pack(f"!I{len(v)}f", i, *v) for i, v, _ in full)}
            datos = dict(zip(names, full[0][1], strict=True))
            return {"id": str(identity), "datos": json.dumps(datos)}
        if len(part) > 1 or not activo or self.drawn.kind_of(identity) != "celu":
            return {"m": b"".join(MESSAGE.pack(i, canal, v, a) for i, v, a in part)}
        forms = [
            repr(valor), json.dumps({"valor": valor}), json.dumps({"value": valor, "x": [1]}),
            struct.pack("!f", valor), struct.pack("!d", valor),
        ]  # fmt: skip
        return {"id": str(identity), "datos": self.dice.choice(forms)}

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
                self.run.until_tick(target, SETTLE_SECONDS)
            except AssertionError:
                return self._tick() >= target
            return True

        wait_until(stepped, f"tick {target}", SECONDS_MAX)


def compile_all(folder: Path, names: Collection[str] = EVERYBODY) -> None:
    """What drawn worlds run, or just these processors, is compiled, so that no deadline has to
    allow for that."""
    if (folder / "warm").exists():
        return
    swarms = [
        {
            "id": f"b{k}",
            "canal": 1,
            "entidades": PER_BLOCK,
            "procesador": name,
            **places_for(name.rpartition(":")[2]),
        }
        for k, name in enumerate(names)
    ]
    config = {"instance_id": "w", "globals": {"wind": 0.0}, "bloques": swarms}
    instance = Instance(folder / "warm", folder / "none", config)
    (folder / "warm" / "plugins").mkdir()
    shutil.copy(subjects.__file__, folder / "warm" / "plugins" / f"{MODULE}.py")
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
    """
    tmpfs = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="corec-oracle-", dir=tmpfs if tmpfs.is_dir() else None))
    player = Player(drawn, name, folder / name, base, servers, disturbance or Calm(), armed)
    try:
        found, summary = player.play()
        player.instance.assert_clean()
        world = player.happened.play()
        left.same(found, world)
        sinks.same(sinks.read(servers.dsn, servers.url, name, world), world)
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
