"""``corec.sweep``: many worlds with different parameters and seeds, on all cores, in one table.

Here, or on Celery's workers (``spread``).

The process that asks forks one worker for each core; they inherit the configuration and the
compiled kernels, so nothing has to be pickled but numbers. A worker gets a run, makes its
``World``, sends the rows back, and gets the next. It dies with its parent; a parent that is killed
has kept every finished run in ``path``, if there is one, and the same call goes on from there.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from corec.entities.compile import compile_processor
from corec.entities.processor import Processor
from corec.plan import Plan, make_plan
from corec.proc import die_with
from corec.view.frame import Table, library
from corec.view.making import Rows, RunFailed, one_run
from corec.view.reading import whole
from corec.view.runs import Kept, Measure, Run, mark_of, measures_of, named, plan_mark, runs_of
from corec.view.settings import configured

FORK: Final = get_context("fork")
TABLES: Final = (".parquet", ".csv")


def sweep(
    config: Mapping[str, Any] | str | Path, *,
    over: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]], ticks: int,
    collect: Mapping[str, Iterable[str]], seeds: int | Iterable[int] = 1, every: int | None = None,
    processes: int | None = None, path: str | Path | None = None, progress: bool | None = None,
    on: Literal["processes", "celery"] = "processes",
) -> Table:  # fmt: skip
    """Run a world for each combination of the values in ``over`` with each seed.

    Args:
        config: as ``corec.World`` takes it.
        over: path → values, of which all combinations are run, or a list of dicts path → value.
            Paths as in ``World(changes=…)``: ``"town.beta"``, ``"bloques.town.umbral"``,
            ``"carga"``.
        ticks: of each run.
        collect: swarm → numbers to take: ``"mean(valor)"``, ``"mean(fase == 1)"``; mean, std, min,
            max, sum, count.
        every: take the numbers every so many ticks, and at the end; at the end only if left out.
        processes: how many worlds at once; one for each core if left out. On Celery, how many runs
            are in its queue at once; 64 if left out.
        path: keep finished runs in this file; the same sweep goes on from there. A name that ends
            in ``.parquet`` or ``.csv`` is the table's, written at the end: until then the runs are
            in ``path`` + ``.runs``.
        progress: show a bar with the time that is left; on a terminal if left out.
        on: ``"celery"``: the workers of an instance's Celery run them (docs/python.md).

    Returns:
        A table with one row for each run and tick: run, seed, the paths of ``over``, tick, and
        ``swarm.text`` for each number, in the order of the runs, whatever ran first.

    Raises:
        ValueError, ConfigError: something of it is wrong; nothing was run. RunFailed: see there.
        NoInstance, SeveralInstances, ModuleNotFoundError: on Celery, which one, or none at all.
    """
    if on not in ("processes", "celery"):
        raise ValueError(f'on: found {on!r:.80}, expected "processes" or "celery"')
    runs, ticks = runs_of(over, seeds), whole("ticks", ticks)
    every = None if every is None else whole("every", every)
    if processes is not None and whole("processes", processes) < 1:
        raise ValueError(f"processes: found {processes}, expected 1 or more")
    if not runs or ticks < 0 or (every is not None and every < 1):
        raise ValueError(
            f"sweep: found {len(runs)} runs of {ticks} ticks, numbers every {every}, expected one "
            "run at least, 0 ticks or more, every 1 or more"
        )
    base, processors = configured(config, None)
    plan = make_plan(base, processors)
    if on == "processes":
        for swarm in plan.swarms:
            compile_processor(swarm.processor, swarm.cap, swarm.meeting)  # the workers inherit it
    measures = measures_of(plan, collect)
    plans, marks, its = _checked(config, runs, measures)
    plans, processors = [plan, *plans], processors | its
    when = [t for t in range(1, ticks + 1) if every and t % every == 0]
    when = when if when and when[-1] == ticks else [*when, ticks]
    mark = mark_of(plans, base.public_dict(), runs, when, measures)
    spread: Spread | None = None
    if on == "celery":
        from corec.view.spread import Spread

        if processors:
            raise ValueError(
                "on: found a processor itself, expected its name, package.module:attribute: "
                "Celery's workers import it"
            )
        spread = Spread(config, marks, when, measures, mark, processes)
    kept = None if path is None else Kept(_runs_at(Path(path)), mark)
    try:
        done = dict(kept.done) if kept else {}
        left = [run for run in runs if run.number not in done]
        with _bar(len(runs), progress) as step:
            step(len(done))
            some = spread.rows(left) if spread else _rows(config, left, when, measures, processes,
                                                          kept)  # fmt: skip
            for number, rows in some:
                if kept:
                    kept.add(number, rows)
                done[number] = rows
                step(len(done))
    finally:
        if kept:
            kept.close()
    table = _table(runs, done, when, measures)
    if path is not None:
        _write(table, Path(path))
    return table


def _checked(
    config: Any, runs: list[Run], measures: list[Measure]
) -> tuple[list[Plan], list[tuple[dict[str, Any], str]], dict[str, Processor]]:
    """The plans of all points of ``runs``, each point with what marks its plan, and processors that
    are given themselves. Raises ConfigError, ValueError: one of them can't be run, or measured."""
    plans: list[Plan] = []
    marks: list[tuple[dict[str, Any], str]] = []
    processors: dict[str, Processor] = {}
    asked = {one.swarm: [m.what.text for m in measures if m.swarm == one.swarm] for one in measures}
    for run in runs:
        if not any(run.changes == changes for changes, _ in marks):
            changed, its = configured(config, run.seed, run.changes)
            processors |= its
            plans.append(make_plan(changed, its))  # which compiles nothing
            measures_of(plans[-1], asked)
            marks.append((run.changes, plan_mark(plans[-1])))
    for seed in (min(run.seed for run in runs), max(run.seed for run in runs)):
        configured(config, seed)
    return plans, marks, processors


def _runs_at(path: Path) -> Path:
    """Where finished runs are kept, of what is to be at ``path``. Raises ImportError, OSError."""
    if path.is_dir():  # not behind the last run
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        library("pyarrow.parquet")  # says what to do, and not behind the last run
    return path.with_name(f"{path.name}.runs") if path.suffix in TABLES else path


def _write(table: Table, path: Path) -> None:
    """The table, where ``path`` is one's; its runs are kept no longer."""
    if path.suffix in TABLES:
        (table.to_parquet if path.suffix == ".parquet" else table.to_csv)(path)
        _runs_at(path).unlink(missing_ok=True)


def _rows(
    config: Any, left: list[Run], when: list[int], measures: list[Measure],
    processes: int | None, kept: Kept | None,
) -> Iterator[tuple[int, Rows]]:  # fmt: skip
    """Number and rows of each run, as they are finished. Raises RunFailed."""
    if not left:
        return
    runs = {run.number: run for run in left}
    waiting = list(reversed(runs))
    count = min(processes or len(os.sched_getaffinity(0)), len(waiting))
    workers: dict[Connection, Any] = {}
    try:
        for _ in range(count):
            mine, its = FORK.Pipe()
            # what a worker does not close goes on living with it when the parent is killed
            others = [*workers, mine, *([kept] if kept else [])]
            process = FORK.Process(
                target=_work, args=(its, others, os.getpid(), config, runs, when, measures),
                daemon=True,
            )  # fmt: skip
            process.start()
            its.close()
            workers[mine] = process
        for pipe in workers:
            pipe.send(waiting.pop())
        busy = len(workers)
        while busy:
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)  # nothing else is waited for
                try:
                    number, rows, error = ready.recv()
                except EOFError:
                    raise RunFailed("a process of the sweep was killed") from None
                if error is not None:
                    raise RunFailed(f"run {number}: {error}")
                yield number, rows
                if waiting:
                    ready.send(waiting.pop())
                else:
                    busy -= 1
    finally:
        for process in workers.values():
            process.kill()
            process.join()
        for pipe in workers:
            pipe.close()


def _work(
    pipe: Connection, others: list[Connection | Kept], parent: int, config: Any,
    runs: Mapping[int, Run], when: list[int], measures: list[Measure],
) -> None:  # fmt: skip
    """A worker's life; it is told the number of each of its runs."""
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends us
    if not die_with(parent):
        return
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((number, one_run(config, runs[number], when, measures), None))
        except Exception:  # noqa: BLE001  # whatever it is, the parent says it
            pipe.send((number, None, traceback.format_exc().strip().rpartition("\n")[2]))


def _table(
    runs: list[Run], done: Mapping[int, Rows], when: list[int], measures: list[Measure]
) -> Table:
    each = len(when)
    numbers = np.array([done[run.number] for run in runs], np.float64).reshape(-1, len(measures))
    columns = {
        "run": np.repeat(np.array([run.number for run in runs], np.int64), each),
        "seed": np.repeat(np.array([run.seed for run in runs], np.uint64), each),
        **{
            name: np.repeat(_values([run.changes[name] for run in runs]), each)
            for name in runs[0].changes
        },
        "tick": np.tile(np.array(when, np.int64), len(runs)),
        **{one.name: numbers[:, k].copy() for k, one in enumerate(measures)},
    }
    return Table(columns)


def _values(given: list[Any]) -> NDArray[Any]:
    """Numbers as numbers; anything else as text, JSON where it is neither text nor a processor."""
    if all(isinstance(one, int | float) for one in given):
        return np.array(given)
    plain = [named(one) if isinstance(one, Processor) else one for one in given]
    texts = [one if isinstance(one, str) else json.dumps(one, default=named) for one in plain]
    return np.array(texts)


@contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Callable[[int], None]]:
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda done: None
        return
    from rich.console import Console  # takes a while to import, and not everybody sees it
    from rich.progress import Progress

    # no thread of its own, in whose middle a worker would be forked
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("runs", total=total)
        yield lambda done: bar.update(task, completed=done, refresh=True)
