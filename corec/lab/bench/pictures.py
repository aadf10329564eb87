"""``python -m corec.lab.bench.pictures NAB FOLDER``: what the detectors say of some series, as SVG.

NAB is a checkout of github.com/numenta/NAB, or a folder with its series by their folders and its
labels as ``windows.json``. Each picture is a series, the windows that its labels name, and the
alerts, out of the server's own kernel with the parameters beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corec.entities.registry import resolve
from corec.lab.bench import nab
from corec.lab.bench.figure import BASELINE, BLUE, FOOT, RED, YELLOW, figure, words
from corec.testing import Block

WIDTH, HEIGHT, MARGIN = 720, 150, 8


class Picture(NamedTuple):
    """One detector on one series."""

    detector: str
    series: str
    parametros: Mapping[str, float] = {}


PICTURES: Final = (
    Picture("detector", "realTraffic/speed_t4013.csv"),
    Picture("spot", "realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv"),
    Picture("seasonal", "artificialWithAnomaly/art_daily_flatmiddle.csv", {"period": 288}),
    Picture("rate", "realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv"),
    Picture("stuck", "artificialWithAnomaly/art_daily_flatmiddle.csv", {"many": 60, "band": 0}),
)


def read(folder: Path, name: str) -> nab.Series:
    """One series. Raises OSError, KeyError: it is not there."""
    flat = folder / "windows.json"
    labels: Any = json.loads((flat if flat.exists() else folder / nab.WINDOWS_FILE).read_bytes())
    return nab.read_file((folder if flat.exists() else folder / "data") / name, name, labels[name])


def alerts(picture: Picture, values: nab.Numbers) -> list[int]:
    """The rows at which the detector raises one."""
    block = Block(resolve(picture.detector, ()), entities=1, params=dict(picture.parametros))
    found = []
    for row, value in enumerate(values.tolist()):
        block.tick([(0, value)])
        if block.view.column("valor")[0] >= 0.5:
            found.append(row)
    return found


def drawn(picture: Picture, series: nab.Series, rows: list[int]) -> str:
    """The SVG's text."""
    count = len(series.values)
    inner = WIDTH - 2 * MARGIN
    low, high = float(series.values.min()), float(series.values.max())

    def x(row: float) -> float:
        return MARGIN + inner * row / count

    def y(value: float) -> float:
        return MARGIN + HEIGHT * (high - value) / (high - low or 1.0)

    shapes = [
        f'<rect x="{x(first):.1f}" y="{MARGIN}" width="{max(x(last + 1) - x(first), 1):.1f}" '
        f'height="{HEIGHT}" fill="{YELLOW}" fill-opacity="0.45"/>'
        for first, last in _spans(series.window)
    ]
    shapes.append(f'<path d="{_path(series.values, x, y)}" fill="none" stroke="{BLUE}"/>')
    shapes += [
        f'<circle cx="{x(row):.1f}" cy="{y(float(series.values[row])):.1f}" r="4" fill="{RED}"/>'
        for row in rows
    ]
    given = "".join(f", {name} {value:g}" for name, value in picture.parametros.items())
    said = f"{picture.detector}{given}: {series.name}, {count:,} readings, {len(rows)} alerts"
    shapes.append(words(f"{MARGIN}", f"{HEIGHT + MARGIN + BASELINE}", said))
    return figure((WIDTH, HEIGHT + MARGIN + FOOT), said, shapes)


def _spans(window: NDArray[np.int64]) -> list[tuple[int, int]]:
    numbers = [n for n in np.unique(window).tolist() if n != nab.NO_WINDOW]
    rows = [np.flatnonzero(window == n) for n in numbers]
    return [(int(one[0]), int(one[-1])) for one in rows]


def _path(values: nab.Numbers, x: Any, y: Any) -> str:
    """A line through the least and the largest of as many readings as fall on two pixels."""
    step = max(1, -(-len(values) * 2 // WIDTH))
    points = []
    for at in range(0, len(values), step):
        part = values[at : at + step]
        rows = sorted({at + int(part.argmin()), at + int(part.argmax())})
        points += [f"{x(row):.1f} {y(float(values[row])):.1f}" for row in rows]
    return "M" + "L".join(points)


def main(arguments: list[str]) -> int:
    """Draw them all; the exit code."""
    if len(arguments) != 2:
        print("expected a checkout of NAB and a folder to draw into", file=sys.stderr)
        return 2
    source, target = Path(arguments[0]), Path(arguments[1])
    target.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        try:
            series = read(source, picture.series)
        except (OSError, KeyError) as error:
            print(f"{picture.series}: not found in {source}: {error}", file=sys.stderr)
            return 1
        text = drawn(picture, series, alerts(picture, series.values))
        (target / f"{picture.detector}.svg").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
