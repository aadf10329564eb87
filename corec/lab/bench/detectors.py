"""Group ``detectors``: what a reading costs each of them, and how well they find what is labelled.

Where the time of a reading of ``ewma`` goes is told by ``dense.py``.

The score is that of the Numenta Anomaly Benchmark (``nab.py``), over the checkout of it that
``--nab`` or ``COREC_NAB`` names: every file goes through one block, an entity per file, a reading
per tick, in the server's own kernel. Parameters are the defaults; the detectors see nothing but the
readings, in order. The folders on which the defaults were chosen are told apart from the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from corec.entities.registry import resolve
from corec.lab.bench import dense, nab
from corec.lab.bench.results import Row, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, rate_of, tell
from corec.lab.bench.world import BenchWorld, sensors
from corec.testing import Block

ENVIRONMENT: Final = "COREC_NAB"
DETECTORS: Final = ("detector", "ewma", "spot", "seasonal", "rate", "stuck")
SCORED: Final = ("detector", "ewma", "spot")
"""Of general use; the others answer questions of their own (docs/detectors.md)."""
CHOSEN_ON: Final = ("artificialWithAnomaly", "realAWSCloudwatch", "realTraffic")
"""The folders whose labels the defaults of ``detector`` were chosen with."""
UMBRAL: Final = 0.5
ENTITIES: Final = 10_000
WARM_TICKS: Final = 500
WITHOUT: Final = (
    "not scored: name a checkout of github.com/numenta/NAB with --nab FOLDER or COREC_NAB"
)


def measure(effort: Effort) -> list[Table]:
    """The cost, and with a checkout of NAB the scores."""
    tables = [_cost(effort), dense.measure(effort)]
    folder = os.environ.get(ENVIRONMENT)
    if folder:
        tables += _scores(nab.read(Path(folder)))
    else:
        tables[0].notes.append(WITHOUT)
        tell(f"  {WITHOUT}")
    return tables


def _cost(effort: Effort) -> Table:
    table = Table("detectors", "Detectors, the kernel on one core", "M readings/s", "neither")
    contenders = []
    entities = effort.pick(ENTITIES, ENTITIES // 10)
    for name in DETECTORS:
        bloque: dict[str, Any] = {"procesador": name}
        world = BenchWorld(sensors(entities, bloque=bloque), readings_per_entity=1)
        ids, rng = np.arange(entities), np.random.default_rng(11)
        for _ in range(effort.pick(WARM_TICKS, WARM_TICKS // 10)):  # what is remembered is full
            world.arrive(ids, rng.normal(0.5, 0.1, entities))
            world.tick()
        sample = rate_of(world.tick, entities / 1e6, effort.sample_seconds)
        contenders.append(Contender(name, sample, True, "a reading for each entity and tick"))
    table.rows = interleave(contenders, effort.rounds)
    for row in table.rows:
        row.note = f"{1000.0 / row.median:.0f} ns a reading"
    return table


def _scores(series: Sequence[nab.Series]) -> list[Table]:
    """One table for NAB's threshold, one for CoreC's own."""
    found = {name: run(name, series) for name in SCORED}
    own = Table("nab", "NAB, standard profile, NAB's threshold", "of 100", "neither")
    fixed = Table("nab-0.5", f"NAB, standard profile, threshold {UMBRAL}", "of 100", "neither")
    parts = {
        "all files": series,
        "chosen on": [s for s in series if s.folder in CHOSEN_ON],
        "held out": [s for s in series if s.folder not in CHOSEN_ON],
    }
    for part, files in parts.items():
        if not files:
            continue
        board = nab.Board(files)
        for name in SCORED:
            scores = [found[name][s.name] for s in files]
            for table, score in ((own, board.best(scores)), (fixed, board.at(scores, UMBRAL))):
                table.rows.append(_row(f"{name}, {part}", score))
    first = SCORED[0]
    apart = min(nearest(found[first][s.name]) for s in series)
    fixed.notes.append(f"{first}: two alerts of one series are at least {apart} readings apart")
    for profile, weights in nab.PROFILES.items():
        best = nab.Board(series).best(list(found[first].values()), weights)
        own.notes.append(f"{first}, all files, {profile}: {best.points:.1f}")
    return [own, fixed]


def nearest(scores: nab.Numbers) -> int:
    """The fewest readings from an alert to the next one; of all there are where there is none."""
    at = np.flatnonzero(scores >= UMBRAL)
    return int(np.diff(at).min(initial=len(scores)))


def _row(name: str, score: nab.Score) -> Row:
    note = f"{score.hit} of {score.windows} windows, {score.false_alerts} false alerts"
    return Row(name, [score.points], True, f"{note}, threshold {score.threshold:.4g}")


def run(name: str, series: Sequence[nab.Series], **params: float) -> dict[str, nab.Numbers]:
    """What ``procesador`` ``name`` says to each reading of each series, by the series' name;
    ``params``: others than it comes with."""
    tell(f"  NAB: {name}, {len(series)} files")
    block = Block(resolve(name, ()), entities=len(series), params=params)
    found = [np.zeros(len(s.values)) for s in series]
    for row in range(max(len(s.values) for s in series)):
        due = [k for k, s in enumerate(series) if row < len(s.values)]
        block.tick([(k, float(series[k].values[row])) for k in due])
        valor = block.view.column("valor")
        for k in due:
            found[k][row] = valor[k]
    return {s.name: scores for s, scores in zip(series, found, strict=True)}
