"""Where the notices of a task come from: a stream, and what an entry of it says.

Alerts: an entry of ``…:avisos`` is one notice. Messages: an entry of an out-stream is a notice for
each message in it, thousands perhaps, so they are made when they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config.acting import TaskConfig
from corec.notices import MESSAGE, Notice
from corec.plan import Plan
from corec.tasks.streams import Names, notice_of


class Batch(NamedTuple):
    """The notices of an entry: how many, and those from one place to before another."""

    size: int
    part: Callable[[int, int], list[Notice]]


class Source(Protocol):
    """A stream of notices for one task."""

    stream: str
    in_flight: int
    """Entries that are taken at a time."""
    epoch: int | None
    """The world whose messages alone count; None: each notice names its own."""
    behind: int | None
    """The tick behind which a group that is new begins; None: behind all that is there."""

    def batch(self, fields: Sequence[bytes]) -> Batch:
        """What an entry says. Raises whatever one that says nothing makes it raise."""


class OfAlerts:
    """What happens to alerts."""

    def __init__(self, names: Names, config: TaskConfig) -> None:
        self.stream, self.in_flight, self._config = names.notices, 1000, config
        self.epoch: int | None = None
        self.behind: int | None = None

    def batch(self, fields: Sequence[bytes]) -> Batch:
        """As ``Source`` says; nothing where it is none of this task's."""
        one = notice_of(fields)
        wanted = self._config.canal in (None, one.canal) and one.event in self._config.events
        return Batch(1 if wanted else 0, lambda begin, end: [one][begin:end])


class OfMessages:
    """The messages of one canal in the world ``epoch``."""

    def __init__(self, names: Names, plan: Plan, canal: int, epoch: int, behind: int = 0) -> None:
        """``behind``: the tick that its processes began at (``Runtime.group_tick``)."""
        self.stream, self.in_flight = names.keys.out(canal), 64
        self.epoch: int | None = epoch
        self.behind: int | None = behind
        self._head, self._canal = f"{epoch:016x}", canal
        self._ends = np.array([swarm.end_id for swarm in plan.swarms])
        self._named = [swarm.processor.name for swarm in plan.swarms]

    def batch(self, fields: Sequence[bytes]) -> Batch:
        """As ``Source`` says."""
        said = dict(zip(fields[::2], fields[1::2], strict=True))
        tick, found = int(said[b"t"]), np.frombuffer(said[b"m"], L.MESSAGE)
        ids = found["id"].astype(np.int64)
        if len(ids) and int(ids.max()) >= int(self._ends[-1]):
            raise ValueError(f"a message of entity {int(ids.max())}, which there is not")
        many, swarms = numbered(ids), np.searchsorted(self._ends, ids, "right")

        def part(begin: int, end: int) -> list[Notice]:
            taken = slice(begin, end)
            columns = (ids, many, swarms, found["valor"])
            rows = zip(*(column[taken].tolist() for column in columns), strict=True)
            return [self._notice(tick, *row) for row in rows]

        return Batch(len(ids), part)

    def _notice(self, tick: int, entity: int, many: int, swarm: int, valor: float) -> Notice:
        name = f"{self._head}-{tick}-{entity}{'' if many == 1 else f'-{many}'}"
        processor = self._named[swarm]
        return Notice(name, MESSAGE, tick, entity, self._canal, processor, valor, count=many)


def without_source(tasks: Sequence[TaskConfig], plan: Plan) -> list[str]:
    """Those that nothing can start, as the code is: no processor of their canal has alerts."""
    raising = {s.canal for s in plan.swarms if s.processor.alerts}
    return [
        f"tasks[{index}], no processor {'' if one.canal is None else f'of canal {one.canal} '}with "
        "alerts being there,"
        for index, one in enumerate(tasks)
        if one.on == "alertas" and not raising & ({one.canal} if one.canal is not None else raising)
    ]


def numbered(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each of ``ids`` i8[n], the how manieth of its kind it is, from 1."""
    order = np.argsort(ids, kind="stable")
    places = np.arange(len(ids))
    begins = np.ones(len(ids), bool)
    begins[1:] = ids[order][1:] != ids[order][:-1]
    found = np.empty(len(ids), np.int64)
    found[order] = places - np.maximum.accumulate(np.where(begins, places, 0)) + 1
    return found
