"""The figure of ``docs/experiments.md``: who falls ill in ``sir`` against R0, runs and theory.

    python -m corec.lab.bench.experiment docs/experiments
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Final

import corec
from corec.lab.bench.figure import BASELINE, BLUE, RED, figure, words

GAMMA: Final = 0.1
SEEDED: Final = 0.01
RATES: Final = (0.02, 0.05, 0.07, 0.09, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)
SEEDS: Final = 5
COLUMN: Final = "towns.mean(fase != 0)"
WIDTH, HEIGHT, MARGIN = 640, 320, 40
R0_MAX: Final = 4.5
STEPS: Final = 90


def r0_of(beta: float) -> float:
    """How many somebody infects where nearly all are well."""
    return beta / (1.0 - math.exp(-GAMMA))


def expected(r0: float) -> float:
    """z = 1 − (1 − s) exp(−R0 z), the largest solution (Kermack, McKendrick 1927)."""
    z = 1.0
    for _ in range(1000):
        z = 1.0 - (1.0 - SEEDED) * math.exp(-r0 * z)
    return z


def runs() -> Any:
    """The table of the sweep."""
    towns = {
        "id": "towns", "canal": 1, "entidades": 25_000, "entidades_por_bloque": 5000,
        "procesador": "sir", "parametros": {"gamma": GAMMA, "seeded": SEEDED},
    }  # fmt: skip
    return corec.sweep(
        {"bloques": [towns]}, over={"towns.beta": list(RATES)}, seeds=SEEDS, ticks=500,
        collect={"towns": ["mean(fase != 0)"]},
    )  # fmt: skip


def drawn(table: Any) -> str:
    """The SVG's text."""

    def at(r0: float, share: float) -> tuple[str, str]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * r0 / R0_MAX
        return f"{x:.1f}", f"{MARGIN + (HEIGHT - 2 * MARGIN) * (1.0 - share):.1f}"

    at_r0 = [R0_MAX * k / STEPS for k in range(STEPS + 1)]
    curve = [" ".join(at(r0, expected(r0))) for r0 in at_r0]
    shapes = [f'<path d="M{"L".join(curve)}" fill="none" stroke="{BLUE}"/>']
    for beta, share in zip(table["towns.beta"].tolist(), table[COLUMN].tolist(), strict=True):
        x, y = at(r0_of(beta), share)
        shapes.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{RED}" fill-opacity="0.6"/>')
    foot = f"{HEIGHT - MARGIN + BASELINE}"
    shapes += [words(at(r0, 0.0)[0], foot, f"{r0:g}", "middle") for r0 in range(5)]
    left = f"{MARGIN - 6}"
    shapes += [words(left, at(0.0, z)[1], f"{z:.0%}", "end") for z in (0.0, 0.5, 1.0)]
    said = f"who fell ill against R0: {len(table)} runs of sir, and z = 1 − (1 − s) exp(−R0 z)"
    shapes.append(words(f"{WIDTH / 2:g}", f"{HEIGHT - 6}", said, "middle"))
    return figure((WIDTH, HEIGHT), said, shapes)


def main(arguments: list[str]) -> int:
    """Draw it into a folder."""
    if len(arguments) != 1:
        print("usage: python -m corec.lab.bench.experiment FOLDER", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    target.mkdir(parents=True, exist_ok=True)
    (target / "threshold.svg").write_text(drawn(runs()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
