"""``corec chaos --thermostats N``: who is told of N thermostats' alerts, under kills in turns.

A real HTTP server takes the webhooks and drops, delays and fails a third of the calls; Celery's
worker answers each alert with a reading. Worker, broker, the tasks' process, a process of its pool,
Celery's worker and Valkey are killed in turns. Afterwards the readings that were published, and the
journal, which says what each tick took in, go to the oracle: the messages, the table, the webhooks
and the answers have to be those that it says. And the journal goes to a ``World`` without servers
and tasks: its digest has to be that of the instance.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import psycopg
import redis
from psycopg.rows import dict_row

from corec.journal.file import read_stretch
from corec.lab.chaos import acting, plant
from corec.lab.chaos.celery_worker import CeleryWorker
from corec.lab.chaos.instance import START_SECONDS, ChaosInstance, children_of
from corec.lab.chaos.receiver import Receiver
from corec.lab.chaos.stage import Stage, in_own_folder
from corec.lab.chaos.told import Found
from corec.lab.instance import LabFailed
from corec.lab.oracle import sinks
from corec.lab.oracle.alerting import lives
from corec.replay.publish import Limits, Publisher
from corec.view.world import World

NAME: Final = "chaos"
TICK_HZ: Final = 10.0
SHARE: Final = 1.0 / 3.0
TIMEOUT_SECONDS: Final = 1.0
DELAY_SECONDS: Final = 1.3
REST_SECONDS: Final = 180.0
DOWN_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 0.1
"""Until it is looked for a victim again that was not there: it is being replaced."""
BYTES_MAX: Final = 4 << 30
"""All readings of a run stay in Valkey's memory until the oracle has seen them."""
VICTIMS: Final = ("worker", "pool", "broker", "tasks", "celery", "valkey")
_ROOMS: Final = f"corec:{{{NAME}}}:in:{plant.ROOMS}"
_ANSWERS: Final = f"corec:{{{NAME}}}:in:{plant.LISTENERS}"
_OUT: Final = f"corec:{{{NAME}}}:out:{plant.ROOMS}"
_PAGE: Final = 200


def config(entities: int, url: str, celery: bool, tick_hz: float, seed: int) -> dict[str, Any]:
    """Listeners first, whose ids the answers name; then the thermostats."""
    rooms = {"on": "alertas", "canal": plant.ROOMS, "retries": 1000}
    tasks = [
        {**rooms, "run": "webhook", "url": url, "timeout_seconds": TIMEOUT_SECONDS, "workers": 2}
    ]
    if celery:
        tasks.append({**rooms, "run": f"{plant.__name__}:heard", "pool": "celery",
                      "timeout_seconds": 5.0})  # fmt: skip
    return {
        "instance_id": NAME,
        "bloques": [
            {"id": "oyentes", "canal": plant.LISTENERS, "entidades": plant.LISTENER_COUNT,
             "procesador": "ewma"},
            {"id": "salas", "canal": plant.ROOMS, "entidades": entities,
             "procesador": f"{plant.__name__}:thermostat"},
        ],
        "seed": seed, "tick_hz": tick_hz, "workers": 2, "http": {"port": 0},
        "alertas": {"clear_after_ticks": plant.CLEAR}, "tasks": tasks,
        "streams": {"maxlen": 1_000_000_000, "max_mb": 1_048_576},
        "log": {"format": "json"},
    }  # fmt: skip


class Feeder(threading.Thread):
    """Publishes the script, round after round, ``hz`` a second or as many as are taken in."""

    def __init__(self, url: str, script: plant.Script, hz: float) -> None:
        super().__init__(daemon=True)
        self._url, self._script, self._hz = url, script, hz
        self.halt = threading.Event()
        self.readings = 0
        self.error: str | None = None

    def run(self) -> None:
        """All rounds, each entry once, whatever happens to the server."""
        limits = Limits(retry_s=REST_SECONDS, patience_s=REST_SECONDS)
        try:
            with Publisher(
                self._url, NAME, plant.ROOMS, limits, self.halt, lambda _: None, "v"
            ) as publisher:
                for number in range(self._script.rounds):
                    began = time.monotonic()
                    entries = self._script.entries(number)
                    publisher.publish(entries)
                    self.readings += sum(map(len, entries)) // plant.READING.itemsize
                    if self.halt.wait(max(0.0, began + 1.0 / self._hz - time.monotonic())):
                        return
        except Exception as error:  # noqa: BLE001  # told by whoever waits for this thread
            self.error = f"{type(error).__name__}: {error}"


class Thermostats:
    """``run`` makes it and returns the report."""

    def __init__(
        self, entities: int, seconds: float, seed: int, tell: Callable[[str], None],
        tick_hz: float = TICK_HZ,
    ) -> None:  # fmt: skip
        self.entities, self.seconds, self.seed, self.tell = entities, seconds, seed, tell
        self.tick_hz = tick_hz
        self.script = plant.Script(entities, round(seconds * tick_hz), seed)
        size = entities * self.script.rounds * plant.READING.itemsize
        if size > BYTES_MAX:
            raise LabFailed(
                f"{entities} thermostats for {seconds:g} s are {size >> 20} MiB of readings, "
                f"expected {BYTES_MAX >> 20} at most: take fewer, or a shorter time"
            )
        self.killed: Counter[str] = Counter()

    def run(self, keep: bool) -> dict[str, Any]:
        """Disturb, come to rest, stop, ask the oracle.

        Raises:
            LabFailed: the instance did not survive, or did not come to rest.
        """
        return in_own_folder(self._run, keep, self.tell)

    def _run(self, base: Path) -> dict[str, Any]:
        has = importlib.util.find_spec("celery") is not None
        if not has:
            self.tell("Celery is not installed (pip install 'corec[celery]'): without its part")
        with Receiver.serving(seed=self.seed, share=SHARE, delay_seconds=DELAY_SECONDS) as (
            receiver,
            url,
        ):
            wanted = config(self.entities, url, has, self.tick_hz, self.seed)
            with Stage(base / "plant", wanted) as stage:
                stage.instance.spawn("--fresh")
                stage.instance.ready()
                with self._celery(stage.instance, has) as celery:
                    began = time.monotonic()
                    feeder = self._fed(stage, celery)
                    lasted = time.monotonic() - began
                    tick = self._come_to_rest(stage, feeder.readings)
                epoch = int(stage.instance.ask("status")["epoch"], 16)
                digests = str(stage.instance.stop()["digest"]), self._replayed(stage, tick)
                report = self._report(stage, receiver, epoch, tick, lasted, has)
                return _with_digests(report, *digests)

    def _replayed(self, stage: Stage, tick: int) -> str:
        """The digest of a world that takes in what the journal says, and runs no task."""
        self.tell(f"tick {tick} reached; now what the journal says of them, without any task")
        url = stage.servers.valkey.url
        with World(stage.instance.config_path, replay=url) as world:
            world.run(tick)
            return str(world.digest())

    @contextmanager
    def _celery(self, instance: ChaosInstance, has: bool) -> Iterator[CeleryWorker | None]:
        if not has:
            yield None
            return
        environ = instance.environment | {"COREC_INSTANCE": NAME}
        with (
            open(instance.home / "celery.log", "ab") as log,
            CeleryWorker(environ, instance.home, 2, log) as celery,
        ):
            yield celery

    def _fed(self, stage: Stage, celery: CeleryWorker | None) -> Feeder:
        """All rounds, while one after the other is killed."""
        feeder = Feeder(stage.servers.valkey.url, self.script, self.tick_hz)
        feeder.start()
        pause = max(0.7, min(3.0, self.seconds / (2 * len(VICTIMS))))
        deadline = time.monotonic() + 5 * self.seconds + START_SECONDS
        has = celery is not None
        turns = itertools.cycle(one for one in VICTIMS if has or one != "celery")
        victim, wait = next(turns), pause
        while True:
            feeder.join(wait)
            if not feeder.is_alive():
                break
            if time.monotonic() > deadline:
                feeder.halt.set()
                raise LabFailed(
                    f"only {feeder.readings} readings were published; this machine is too slow for "
                    f"{self.entities} thermostats at {self.tick_hz:g} Hz: take fewer"
                )
            wait = RETRY_SECONDS
            if self._kill(victim, stage, celery):
                self.killed[victim] += 1
                self.tell(f"kill {victim}; {feeder.readings} readings published")
                victim, wait = next(turns), pause
        if feeder.error:
            raise LabFailed(f"publishing the readings failed: {feeder.error}")
        return feeder

    def _kill(self, victim: str, stage: Stage, celery: CeleryWorker | None) -> bool:
        """Whether there was somebody to kill."""
        if victim == "celery" and celery is not None:
            celery.kill()
            return True
        if victim == "valkey":
            stage.servers.kill(victim)
            time.sleep(DOWN_SECONDS)
            stage.servers.revive(victim)
            return True
        pids = stage.instance.children().get("tasks" if victim == "pool" else victim, [])
        if victim == "pool":
            pids = [child for pid in pids for child in children_of(pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def _come_to_rest(self, stage: Stage, readings: int) -> int:
        """All readings taken in, the world paused, everybody told; the tick it stands at."""
        instance, dsn, url = stage.instance, stage.servers.postgres.dsn, stage.servers.valkey.url

        def taken() -> bool:
            count = int(instance.ask("status")["messages_in"])
            with redis.Redis.from_url(url) as client:
                return count - int(client.xlen(_ANSWERS)) >= readings

        _until("all readings are taken in", taken)
        last = int(instance.ask("status")["tick"]) + 2  # each takes all that is there by then
        _until("all readings are in a tick", lambda: int(instance.ask("status")["tick"]) >= last)
        instance.ask("pause")
        tick = int(instance.ask("digest")["tick"])
        query = "SELECT count(*) FROM alertas WHERE hasta IS NULL AND ultimo + %s < %s"

        def told() -> bool:
            if not acting.at_rest(dsn, url):
                return False
            with psycopg.connect(dsn) as connection:
                found = connection.execute(query, (plant.CLEAR, tick)).fetchone()
            return found == (0,)

        _until("everybody is told", told)
        return tick

    def _report(
        self,
        stage: Stage,
        receiver: Receiver,
        epoch: int,
        tick: int,
        lasted: float,
        celery: bool,
    ) -> dict[str, Any]:
        stretch = read_stretch(stage.instance.state / NAME, epoch, 0)
        room = str(plant.ROOMS)
        cuts = [(one["tick"], tuple(one["in"][room])) for one in stretch.records
                if room in one.get("in", ())]  # fmt: skip
        recorded = plant.Recorded(self.entities, cuts)
        url, dsn = stage.servers.valkey.url, stage.servers.postgres.dsn
        with redis.Redis.from_url(url) as client:
            for identity, fields in _pages(client, _ROOMS):
                ms, _, number = identity.partition(b"-")
                recorded.entry((int(ms), int(number)), fields[b"v"])
            answers = Counter(
                (int(fields[b"id"]), int(orjson.loads(fields[b"datos"])["valor"]))
                for _, fields in _pages(client, _ANSWERS)
            )
            messages = Counter(_messages(client))
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            rows = connection.execute("SELECT * FROM alertas ORDER BY entidad, desde").fetchall()
            failed = connection.execute("SELECT tarea, error FROM tareas_fallidas").fetchall()
        wanted = Counter((at, plant.FIRST + who) for at, who in recorded.oracle.end(tick))
        alerts = lives(wanted, plant.CLEAR)
        found = Found(messages, rows, failed, receiver.taken, answers)
        differences = found.differences(wanted, alerts, tick, celery)
        if recorded.in_no_tick:
            differences.append(f"{recorded.in_no_tick} readings are in no tick of the journal")
        silent = sum(one.ticks == 1 for one in alerts)
        return {
            "ok": not differences, "seed": self.seed, "entidades": self.entities,
            "seconds": round(lasted, 1), "tick": tick, "readings": recorded.readings,
            "readings_per_second": round(recorded.readings / lasted),
            "kills": dict(self.killed), "messages": wanted.total(), "alerts": len(alerts),
            "alerts_of_one_tick": silent, "webhooks": len(receiver.taken),
            "webhook_calls": receiver.calls, "webhook_repeats": receiver.taken.total()
            - len(receiver.taken), "answers": answers.total(),
            "told_seconds": _percentiles(rows, receiver), "differences": differences,
        }  # fmt: skip


def _with_digests(report: dict[str, Any], lived: str, replayed: str) -> dict[str, Any]:
    """The report with both; that they differ is a difference."""
    found = report | {"digest": lived, "digest_replayed": replayed}
    if lived != replayed:
        text = f"digest: {lived}, and {replayed} of the journal replayed without any task"
        found |= {"ok": False, "differences": [*report["differences"], text]}
    return found


def _until(what: str, good: Callable[[], bool]) -> None:
    deadline = time.monotonic() + REST_SECONDS
    while not good():
        if time.monotonic() > deadline:
            raise LabFailed(f"not within {REST_SECONDS:g} s: {what}")
        time.sleep(0.05)


def _pages(client: redis.Redis, key: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """All entries of a stream."""
    start = "-"
    while True:
        page: Any = client.xrange(key, start, "+", _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        start = "(" + page[-1][0].decode()


def _messages(client: redis.Redis) -> Iterator[tuple[int, int]]:
    for _, fields in _pages(client, _OUT):
        for entity, *_ in sinks.MESSAGE.iter_unpack(fields[b"m"]):
            yield int(fields[b"t"]), entity


def _percentiles(rows: list[dict[str, Any]], receiver: Receiver) -> dict[str, float]:
    """From an alert's tick to when its webhook was first taken, in seconds."""
    at = receiver.taken_at
    keys = ((f"{row['id']}:raised", row["timestamp"].timestamp()) for row in rows)
    took = sorted(at[key] - raised for key, raised in keys if key in at)
    if not took:
        return {}
    part = {"p50": len(took) // 2, "p99": len(took) * 99 // 100, "max": len(took) - 1}
    return {name: round(took[place], 3) for name, place in part.items()}
