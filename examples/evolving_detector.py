"""Detectors that evolve: their parameters are genes, and labelled readings say who is fit.

    python examples/evolving_detector.py FOLDER [CANDIDATES [GENERATIONS]]

FOLDER holds labelled series of the Numenta Anomaly Benchmark: ``windows.json`` (the benchmark's
``labels/combined_windows.json``) and the files that it names, ``timestamp,value`` in each row.
Every other series is for learning: all candidates hear it, reading by reading, with its labels, and
earn what the benchmark gives for a window that is found in time, less what it takes for false
alerts. A generation hears all of them once. Then the best one and the processor with the
parameters it comes with are scored on the series that no candidate has heard.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import corec
from corec.lab.bench import nab
from corec.lab.bench.detectors import run
from corec.processors import gate, spot

CANDIDATES = 200
GENERATIONS = 20
READINGS_PER_TICK = 500
ALERT = 0.5
GENES = {
    "risk": (1e-6, 2e-2, 2e-3), "quantile": (0.80, 0.995, 0.03), "follow": (0.001, 0.5, 0.03),
    "pause": (0.0, 600.0, 60.0),
}  # fmt: skip
STATE = {**spot.STATE, **gate.STATE}


def forget(me: Any) -> None:
    """Another series begins."""
    me.drift, me.read, me.rest = 0.0, 0.0, 0.0
    me.high_t, me.high_z, me.high_n, me.high_mean, me.high_sum2 = 0.0, 0.0, 0.0, 0.0, 0.0
    me.low_t, me.low_z, me.low_n, me.low_mean, me.low_sum2 = 0.0, 0.0, 0.0, 0.0, 0.0


@corec.celu(
    value={"x": "f4", "gain": "f4", "window": "f4", "scored": "f4", "first": "f4"},
    state={**STATE, "points": "f4", "held": "f4", "inside": ("f4", -1.0)},
    params={"learn": spot.PARAMS["learn"]}, history=spot.HISTORY, genes=GENES, fitness="points",
)  # fmt: skip
def candidate(me: Any, value: Any) -> Any:
    """The built-in ``spot`` with its genes for parameters; ``points`` are what it has earned."""
    if value.first > 0.0:
        forget(me)
    if value.first > 1.0:
        me.points = 0.0
    if value.window != me.inside:
        me.inside, me.held = value.window, -1.0
    said = gate.speak(me, spot.strength(me, value.x))
    if said >= ALERT and value.scored > 0.0:
        if value.window < 0.0:
            me.points = me.points + nab.STANDARD.fp * value.gain
        elif value.gain > me.held:
            me.points = me.points + (value.gain - me.held)
            me.held = value.gain
    return said


def labelled(series: list[nab.Series]) -> Any:
    """f4[readings, 5] of all series, one behind the other."""
    rows: list[Any] = []
    windows = 0
    for one in series:
        first = np.zeros(len(one.values))
        first[0] = 1.0 if rows else 2.0
        window = np.where(one.window < 0, -1, one.window + windows)
        windows += one.windows
        rows.append(np.stack([one.values, one.gain, window, one.scored, first], axis=1))
    return np.concatenate(rows).astype(np.float32)


def evolve(series: list[nab.Series], candidates: int, generations: int) -> dict[str, float]:
    """The genes of the best candidate after so many generations."""
    readings = labelled(series)
    parts = np.array_split(readings, -(-len(readings) // READINGS_PER_TICK))
    everybody = np.arange(candidates)
    hears = [
        (np.tile(everybody, len(part)), np.repeat(part, candidates, axis=0)) for part in parts
    ]
    evolution = {"cada": len(parts), "tamano": 4, "elite": 0.05, "cruce": "mezcla", "mutacion": 0.3}
    bloque = {"id": "detectors", "canal": 1, "entidades": candidates, "procesador": candidate,
              "umbral": "nunca", "evolucion": evolution}  # fmt: skip
    with corec.World({"bloques": [bloque], "seed": 42}) as world:
        for generation in range(1, generations + 1):
            for heard in hears:
                world.tick({"detectors": heard})
            frame = world.frame("detectors")
            best = int(frame["points"].argmax())
            if generation % 5 == 0 or generation == 1:
                mean = float(frame["points"].mean())
                top = float(frame["points"][best])
                print(f"generation {generation:2}: best {top:7.3f}, mean {mean:8.3f}", flush=True)
    return {name: float(frame[name][best]) for name in GENES}


def points(series: list[nab.Series], **parametros: float) -> nab.Score:
    """The benchmark's score of ``spot`` on a scale on which silence is 0 and the ideal is 100."""
    found = run("spot", series, **parametros)
    return nab.Board(series).at([found[one.name] for one in series], ALERT)


def main(folder: Path, candidates: int, generations: int) -> None:
    """Learn on every other series, score on the others."""
    labels = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    series = [nab.read_file(folder / name, name, labels[name]) for name in sorted(labels)]
    learn, unseen = series[::2], series[1::2]
    genes = evolve(learn, candidates, generations)
    print("genes: " + ", ".join(f"{name} {value:.4g}" for name, value in genes.items()))
    for title, these in (("heard", learn), ("unseen", unseen)):
        for who, parameters in (("default", {}), ("evolved", genes)):
            score = points(these, **parameters)
            hit = f"{score.hit} of {score.windows} windows"
            print(f"{title} {who}: {score.points:.2f} points, {hit}, {score.false_alerts} false")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]} FOLDER [CANDIDATES [GENERATIONS]]")
    numbers = [int(word) for word in sys.argv[2:]]
    main(Path(sys.argv[1]), *numbers, *(CANDIDATES, GENERATIONS)[len(numbers) :])
