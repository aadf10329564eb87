"""``collect``: statistics of blocks after a tick, for the database, told as a phase; whole columns.

A phase (``corec.world.phases``) before tick T that changes nothing: each worker reads its own
blocks as tick T − 1 left them, before any other phase, and pushes a KIND_COLLECT_FRAME for each
block of a swarm whose turn it is into its rows lane. The persister makes an event ``statistics`` of
it, once: a worker that was killed pushes its frames again, with the same keys (``persister.gaps``),
and nobody runs T, or another phase, before all have pushed theirs. Before its first frame it leaves
the columns that are to become a file (``corec.world.collected``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from corec import layout as L
from corec.config import Config
from corec.config.change import plain
from corec.config.collecting import Collect, CollectOf, collect_faults
from corec.kernels import desc as K
from corec.layout.frames import row_word
from corec.log import get_logger
from corec.plan import Plan, Swarm, columns_of
from corec.world.collected import Parts
from corec.world.columns import Apart
from corec.world.read import BlockView
from corec.world.tables import Tables
from shm.killpoint import kill_point, register
from shm.lane import Lane

log = get_logger(__name__)
TIME: Final = "unix_ns"
VALUES: Final = "values"
MEANS: Final = "means"
"""Beside each ``std``, without which those of blocks don't make the swarm's."""
LOST: Final = "lost"
"""Why the columns of the worker's blocks of this swarm are in no file."""
BEGUN: Final = "the next tick had begun before they were kept"
"""A predecessor left no part, and was killed in that tick."""
register("collect.pushed")


def collects(swarm: Swarm, after: int) -> bool:
    """Whether something is told of the blocks of ``swarm`` behind tick ``after``."""
    return after > 0 and any(after % one.every == 0 for one in swarm.collect)


def columns_due(swarm: Swarm, after: int) -> list[str]:
    """Which columns of ``swarm`` become a file behind tick ``after``."""
    due = (one.columns for one in swarm.collect if after > 0 and after % one.every == 0)
    return list(dict.fromkeys(name for columns in due for name in columns))


def collecting_of(config: Config) -> list[Any]:
    """What is asked for of all bloques, and of each by its id; as JSON data."""
    own = {one.id: [plain(what) for what in one.collect] for one in config.bloques if one.collect}
    return [[plain(what) for what in config.collect], own]


def collected_as(plan: Plan, config: Config, said: Sequence[Any]) -> Plan:
    """``plan`` with what ``said`` (``collecting_of``) asks for, but for what there is no column of
    any more. ``config``: of now."""
    common, own = said
    bloques = tuple(
        one.model_copy(update={"collect": tuple(map(Collect.model_validate, own.get(one.id, ())))})
        for one in config.bloques
    )
    of_all = tuple(map(CollectOf.model_validate, common))
    then = config.model_copy(update={"collect": of_all, "bloques": bloques})

    def of(swarm: Swarm) -> tuple[Collect, ...]:
        columns = columns_of(swarm.processor)
        asked = then.collected(swarm.bloque)
        return tuple(one for one in asked if not any(collect_faults([one], columns, "", swarm.id)))

    return replace(plan, swarms=tuple(replace(one, collect=of(one)) for one in plan.swarms))


class Collecting:
    """The statistics of one process's blocks, which end before ``hi``; their columns into ``parts``
    (a world without a folder has none)."""

    def __init__(self, plan: Plan, tables: Tables, hi: int, parts: Parts | None = None) -> None:
        self._plan, self._hi, self._parts = plan, hi, parts
        world: NDArray[np.uint8] = tables.keep[0]
        self._words = world.view(np.uint64)
        self._told = {
            s.index: [(one.every, one.expressions) for one in s.collect] for s in plan.swarms
        }
        self._kept = 0
        """Behind which tick the columns were left last."""
        self._lost: dict[int, str] = {}

    def run(self, at: int, targs: NDArray[np.int64], rows: Lane) -> int:
        """As ``Phases.run``."""
        tick = int(targs[K.T_TICK])
        if self._kept != tick - 1 and not self._keep(tick - 1):
            return at
        for index in range(at, self._hi):
            swarm = self._plan.swarms[int(self._plan.blocks["swarm"][index])]
            if not collects(swarm, tick - 1):
                continue
            body = {TIME: int(targs[K.T_UNIX_NS]), **self._statistics(index, swarm, tick - 1)}
            told = orjson.dumps(body)
            word = row_word(0, 0)
            if not rows.push(L.KIND_COLLECT_FRAME, told, a=index, tick=tick, c=word):
                return index
            kill_point("collect.pushed")
        return self._hi

    def _keep(self, after: int) -> bool:
        """Leave the columns that are due behind tick ``after``; false: too many wait."""
        self._lost.clear()
        due = [(swarm, columns_due(swarm, after)) for swarm in self._plan.swarms]
        due = [(swarm, names) for swarm, names in due if names]
        if self._parts is not None and due:
            if not self._parts.room(after):
                return False
            for swarm, names in due:
                try:
                    self._parts.keep(swarm, names, after)
                except OSError as error:
                    self._lost[swarm.index] = error.strerror or str(error)
                    log.error("columns are in no file: the runtime folder takes nothing",
                              swarm=swarm.id, tick=after, reason=error.strerror)  # fmt: skip
                except Apart:
                    self._lost[swarm.index] = BEGUN
                    log.error("columns are in no file", swarm=swarm.id, tick=after, reason=BEGUN)
        self._kept = after
        return True

    def _statistics(self, index: int, swarm: Swarm, after: int) -> dict[str, Any]:
        view = BlockView(self._plan, self._words, index)
        due = [
            one for every, expressions in self._told[swarm.index] if after % every == 0
            for one in expressions
        ]  # fmt: skip
        values = {one.text: one.of(view.column(one.column)) for one in due}
        means = {o.text: o.mean_of(view.column(o.column)) for o in due if o.reduce == "std"}
        lost = {LOST: self._lost[swarm.index]} if swarm.index in self._lost else {}
        return {"entidades": view.n, VALUES: values, **({MEANS: means} if means else {}), **lost}
