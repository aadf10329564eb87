"""Kernels that were compiled in different processes, and are loaded by one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from corec.cache import cache_folder
from tests.support.forked import plain_environment

WORLDS = '''"""python worlds.py 8x8 16x4: two grids of these sides, after a tick."""

import json
import sys

import corec


def start(me):
    me.x = me.id
    return 0.0


@corec.micro(state={"x": "f4"}, public=("x",), init=start)
def rule(me):
    total = 0.0
    for other in me.neighbours:
        total += other.x
    return total


def bloque(sides):
    width, height = map(int, sides.split("x"))
    space = {"kind": "grid", "width": width, "height": height, "wrap": True}
    return {"id": sides, "canal": 1, "entidades": width * height, "procesador": rule,
            "space": space}


with corec.World({"bloques": [bloque(sides) for sides in sys.argv[1:]]}) as world:
    world.run(1)
    print(json.dumps([world.frame(sides)["valor"].tolist() for sides in sys.argv[1:]]))
'''


def expected(width: int, height: int, first: int) -> list[float]:
    """The sum of the eight around each of a torus whose cells show their ids."""
    ids = np.arange(first, first + width * height, dtype=float).reshape(height, width)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    total: list[float] = np.sum([np.roll(ids, step, (0, 1)) for step in steps], 0).ravel().tolist()
    return total


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        pass  # another process, which compiles meanwhile, has removed or renamed it
    except OSError:
        shutil.copy2(source, target)


@pytest.mark.slow
def test_what_was_compiled_apart_stays_apart(tmp_path: Path) -> None:
    """Numba's symbols of functions that are made within functions are alike in every process, if it
    numbers them from 1 in each; a process that loads both would run the first for both."""
    (tmp_path / "worlds.py").write_text(WORLDS, encoding="utf-8")
    compiled = tmp_path / "cache" / cache_folder().name
    processors = "kernels"  # and what others are just writing: other tests compile, too
    passing = shutil.ignore_patterns(processors, "*.tmp.*", ".*")
    shutil.copytree(cache_folder(), compiled, copy_function=_link, ignore=passing)

    def ran(*sides: str) -> list[list[float]]:
        found = subprocess.run(
            [sys.executable, "worlds.py", *sides], cwd=tmp_path, check=True, text=True,
            capture_output=True,
            env=plain_environment() | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        return [list(map(float, values)) for values in json.loads(found.stdout)]

    assert ran("8x8") == [expected(8, 8, 0)]
    assert ran("16x4") == [expected(16, 4, 0)]
    assert ran("8x8", "16x4") == [expected(8, 8, 0), expected(16, 4, 64)]
    assert ran("16x4", "8x8") == [expected(16, 4, 0), expected(8, 8, 64)]
