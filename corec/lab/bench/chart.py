"""The chart as SVG: updates per second and core (logarithmic), and time against entities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from corec.lab.bench import machine
from corec.lab.bench.render import number
from corec.lab.bench.results import Row, Table
from corec.lab.bench.runner import Report

WIDTH = 760
BAR = 22
LEFT = 200
PLOT_HEIGHT = 260
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px } .small { font-size: 10px; fill: #57606a }
.ours { fill: #0969da } .rival { fill: #8c959f } .grid { stroke: #d0d7de }
.line { stroke: #0969da; fill: none; stroke-width: 2 } .ideal { stroke: #8c959f;
stroke-dasharray: 4 4 } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #8d96a0 }
.grid { stroke: #30363d } .ours { fill: #4493f8 } .line { stroke: #4493f8 }
.back { fill: #0d1117 } }
"""


def write(path: Path, report: Report) -> None:
    """Write the chart of the tables ``tick`` and ``scaling`` of ``report``."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(svg(report), encoding="utf-8")


def svg(report: Report) -> str:
    """The chart; a table that was not measured leaves its part out."""
    tables = {table.name: table for table in report.tables}
    parts: list[str] = []
    y = 12.0
    if "tick" in tables and tables["tick"].rows:
        y = _bars(parts, tables["tick"], y)
    if "scaling" in tables and tables["scaling"].rows:
        y = _curve(parts, tables["scaling"], y)
    y += 14
    parts.append(_text(12, y, _cut(machine.line(report.machine)), "small"))
    height = math.ceil(y + 12)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="Benchmarks of CoreC and its rivals">\n<style>{_STYLE}</style>\n'
        f'<rect class="back" width="{WIDTH}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _cut(text: str) -> str:
    return text if len(text) < 150 else text[:149] + "…"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    given = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{given}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _powers(low: float, high: float) -> Iterable[int]:
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


def _bars(parts: list[str], table: Table, y: float) -> float:
    rows: list[Row] = sorted(table.rows, key=lambda row: -row.median)
    powers = list(_powers(min(r.median for r in rows) / 1.5, max(r.median for r in rows)))
    scale = (WIDTH - LEFT - 90) / max(1, powers[-1] - powers[0])
    parts.append(_text(12, y + 6, f"{table.title}, {table.unit} (logarithmic)", "title"))
    top = y + 20
    bottom = top + BAR * len(rows)
    for power in powers:
        x = LEFT + scale * (power - powers[0])
        parts.append(_line(x, top, x, bottom, "grid"))
        parts.append(_text(x, bottom + 13, number(10.0**power), "small", "middle"))
    for k, row in enumerate(rows):
        at = top + BAR * k
        width = max(2.0, scale * (math.log10(row.median) - powers[0]))
        kind = "ours" if row.ours else "rival"
        parts.append(_text(LEFT - 8, at + 15, row.name, "", "end"))
        parts.append(
            f'<rect x="{LEFT}" y="{at + 3:.1f}" width="{width:.1f}" height="{BAR - 6}" '
            f'rx="2" class="{kind}"/>'
        )
        parts.append(_text(LEFT + width + 6, at + 15, number(row.median)))
    return bottom + 34


def _curve(parts: list[str], table: Table, y: float) -> float:
    """Rows named by their number of entities, milliseconds per tick."""
    points = [(float(row.name.replace(",", "")), row.median) for row in table.rows]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    left, right = LEFT / 2, WIDTH - 40.0
    top, bottom = y + 20, y + 20 + PLOT_HEIGHT
    x0, x1 = math.log10(min(xs)), math.log10(max(xs))
    y0, y1 = math.log10(min(ys)) - 0.1, math.log10(max(ys)) + 0.1

    def place(entities: float, ms: float) -> tuple[float, float]:
        return (
            left + (right - left) * (math.log10(entities) - x0) / max(x1 - x0, 1e-9),
            bottom - (bottom - top) * (math.log10(ms) - y0) / max(y1 - y0, 1e-9),
        )

    parts.append(_text(12, y + 6, f"{table.title}: {table.unit} against entities", "title"))
    for power in _powers(min(ys), max(ys)):
        if y0 <= power <= y1:
            at = place(min(xs), 10.0**power)[1]
            parts += [_line(left, at, right, at, "grid")]
            parts += [_text(left - 6, at + 4, number(10.0**power), "small", "end")]
    for power in _powers(min(xs), max(xs)):
        if x0 - 1e-9 <= power <= x1 + 1e-9:
            at = place(10.0**power, min(ys))[0]
            parts += [_line(at, top, at, bottom, "grid")]
            parts += [_text(at, bottom + 13, f"{10**power:,}", "small", "middle")]
    start = points[0]
    end = (points[-1][0], start[1] * points[-1][0] / start[0])
    parts.append(_line(*place(*start), *place(*end), "ideal"))
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(*p) for p in points))
    parts.append(f'<polyline points="{path}" class="line"/>')
    parts += [
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" class="ours"/>'
        for a, b in (place(*p) for p in points)
    ]
    return bottom + 24
