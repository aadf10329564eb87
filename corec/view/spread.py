"""The runs of a sweep on Celery's workers; ``corec.tasks.queue`` says what is where.

The process that asks sends a run, looks for its answer, and writes it into its file: it alone knows
what is done. A run's number is made of the sweep's mark and its place in it, so the same sweep,
begun anew, finds answers that came meanwhile. A run is sent again when it was begun and who made it
has died, or when it is neither begun nor in the queue: Redis has lost it, or a dead worker has it.
Made twice it would be the same, and its row is written once. What kills its workers DEATHS times
ends the sweep by its number.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from kombu.exceptions import OperationalError

from corec.config.measures import Expression
from corec.config.parse import read_json
from corec.plan import make_plan
from corec.process.backoff import Backoff
from corec.tasks.queue import LOST_SECONDS, SWEEP, make_queue, prefix_of, queue_of, where
from corec.view.making import Rows, RunFailed, one_run
from corec.view.runs import Measure, Run, plan_mark
from corec.view.settings import configured, plain

AT_ONCE: Final = 64
DEATHS: Final = 3
LOOK_SECONDS: Final = 0.1
READ_SECONDS: Final = 600
"""An answer that was read stays so long, for who takes up a run that was sent twice."""
_SERVERS: Final = ("db_config", "redis_config")
_AWAY: Final = (redis.ConnectionError, redis.TimeoutError, OperationalError, OSError)


def _data(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """What the file or dict says, without the servers: a run has none, and they have passwords."""
    raw = read_json(Path(config)) if isinstance(config, str | Path) else plain(config, {})
    return {name: value for name, value in raw.items() if name not in _SERVERS}


class _Sent:
    """A run on its way."""

    def __init__(self, run: Run) -> None:
        self.run, self.deaths, self.begun = run, 0, False
        self.waited = time.monotonic()
        """When it was last known to be in the queue, or just sent."""


class Spread:
    """Who sends the runs of one sweep."""

    def __init__(
        self, config: Mapping[str, Any] | str | Path, marks: Sequence[tuple[dict[str, Any], str]],
        when: list[int], measures: list[Measure], mark: str, at_once: int | None,
    ) -> None:  # fmt: skip
        """``marks``: what each set of changes makes of the plan (``plan_mark``).

        Raises:
            NoInstance, SeveralInstances, ConfigError, ValueError: there is no Redis to be used.
        """
        url, instance_id = where()
        self._app, self._client = make_queue(url, instance_id), redis.Redis.from_url(url)
        self._prefix, self._queue = prefix_of(instance_id), queue_of(instance_id)
        self._marks, self._mark, self._at_once = marks, mark, at_once or AT_ONCE
        path = str(Path(config).absolute()) if isinstance(config, str | Path) else None
        self._job = {"path": path, "config": _data(config), "when": when, "measures": measures}

    def rows(self, left: list[Run]) -> Iterator[tuple[int, Rows]]:
        """Number and rows of each run, as they are finished. Raises RunFailed."""
        waiting, sent = deque(left), dict[int, _Sent]()
        backoff = Backoff()
        with self._client:
            while waiting or sent:
                try:
                    while waiting and len(sent) < self._at_once:
                        self._send(waiting[0])
                        run = waiting.popleft()
                        sent[run.number] = _Sent(run)
                    found = self._look(sent)
                except _AWAY:
                    time.sleep(backoff.next_seconds())
                    continue
                backoff.reset()
                for number, rows in found:
                    del sent[number]
                    yield number, rows
                if not found:
                    time.sleep(LOOK_SECONDS)

    def _key(self, run: Run) -> str:
        return f"{self._mark}-{run.number}"

    def _send(self, run: Run) -> None:
        """Raises what says that the server is away."""
        plan = next(mark for changes, mark in self._marks if changes == run.changes)
        job = {**self._job, "seed": run.seed, "changes": run.changes, "plan": plan}
        self._app.send_task(SWEEP, args=[self._key(run), job], retry=False)

    def _look(self, sent: Mapping[int, _Sent]) -> list[tuple[int, Rows]]:
        """Those that are finished. Raises RunFailed, and what says that the server is away."""
        keys = [f"{self._prefix}{self._key(one.run)}" for one in sent.values()]
        with self._client.pipeline(transaction=False) as asked:
            asked.llen(self._queue)
            asked.mget([name for key in keys for name in (key, f"{key}:begun")])
            queued, found = asked.execute()
        done = []
        for k, (number, one) in enumerate(sent.items()):
            answer, begun = found[2 * k : 2 * k + 2]
            if answer is not None:
                done.append((number, self._rows_in(number, keys[k], answer)))
            elif begun is not None:
                one.begun = True
            elif one.begun:
                self._died(number, one)
            elif queued:
                one.waited = time.monotonic()
            elif time.monotonic() - one.waited > LOST_SECONDS:
                self._again(one)
        return done

    def _rows_in(self, number: int, key: str, answer: bytes) -> Rows:
        said = json.loads(answer)
        if not said["ok"]:
            self._client.delete(key, f"{key}:begun")  # who mends it and asks again is not told it
            raise RunFailed(f"run {number}: {said['error']}")
        self._client.expire(key, READ_SECONDS)
        rows: Rows = said["rows"]
        return rows

    def _died(self, number: int, one: _Sent) -> None:
        one.deaths += 1
        if one.deaths == DEATHS:
            raise RunFailed(f"run {number}: {DEATHS} workers died while they made it")
        self._again(one)

    def _again(self, one: _Sent) -> None:
        self._send(one.run)
        one.begun, one.waited = False, time.monotonic()


def made(job: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of a run, in a worker: its rows, or what it failed of."""
    try:
        config, changes = job["config"], job["changes"]
        path = Path(job["path"]) if job["path"] else None
        if path is not None and path.is_file() and _data(path) == config:
            config = path  # so that relative paths start where they do for who asks
        plan = make_plan(*configured(config, job["seed"], changes))
        if plan_mark(plan) != job["plan"]:
            raise RunFailed(
                "found other code on a worker, expected CoreC, processors, graphs, Python, NumPy "
                "and Numba as here"
            )
        measures = [Measure(swarm, Expression(*what)) for swarm, what in job["measures"]]
        return {"ok": True, "rows": one_run(config, Run(0, job["seed"], changes), job["when"],
                                            measures)}  # fmt: skip
    except Exception as error:  # noqa: BLE001  # whatever it is, who asked says it
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
