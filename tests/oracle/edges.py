"""The files of the drawn graphs, each in one of the forms that docs/entities.md names."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from tests.oracle.drawn import Drawn

SEPARATORS = (",", ";", "\t", " ", ", ")


def write_edges(drawn: Drawn, folder: Path) -> None:
    """All of them, into ``folder``."""
    for name, edges in drawn.edges.items():
        path = folder / name
        if path.suffix == ".npz":
            columns = list(zip(*edges, strict=True))
            ends = [np.array(column, np.int64) for column in columns[:2]]
            if len(columns) > 2:
                weight = np.array(columns[2], np.float32)
                np.savez(path, source=ends[0], target=ends[1], weight=weight)
            else:
                np.savez(path, source=ends[0], target=ends[1])
        else:
            path.write_text(text_of(edges, random.Random(f"{name} {len(edges)}")), "utf-8")


def text_of(edges: list[list[float]], dice: random.Random) -> str:
    """As a table of text."""
    separator, quote = dice.choice(SEPARATORS), dice.choice(["", "", '"'])
    names = ["source", "target", "weight"][: len(edges[0])]
    lines = [separator.join(f"{quote}{name}{quote}" for name in names)] * dice.randint(0, 1)
    for number, (source, target, *weight) in enumerate(edges):
        if number % 7 == 3:
            lines += dice.choice([[""], ["# nobody"], []])
        parts = [f"{quote}{int(source)}{quote}", f"{quote}{int(target)}{quote}", *map(repr, weight)]
        lines.append(separator.join(parts))
    return "\n".join(lines) + "\n"
