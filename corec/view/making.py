"""One run of a sweep, made in the process that calls."""

from __future__ import annotations

from typing import Any

from corec.view.runs import Measure, Run
from corec.view.world import World

Rows = list[list[float]]


class RunFailed(RuntimeError):
    """A run of a sweep ended with an error, which the text has; what was finished is kept."""


def one_run(config: Any, run: Run, when: list[int], measures: list[Measure]) -> Rows:
    """The numbers of one run, one list for each tick of ``when``."""
    found: Rows = []
    with World(config, seed=run.seed, changes=run.changes) as world:
        for tick in when:
            world.run(tick - world.ticks)
            columns: dict[str, list[str]] = {}
            for measure in measures:
                columns.setdefault(measure.swarm, []).append(measure.column)
            frames = {
                name: world.frame(name, list(dict.fromkeys(c))) for name, c in columns.items()
            }
            found.append([one.of(frames[one.swarm][one.column]) for one in measures])
    return found
