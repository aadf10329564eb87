"""What Numba knows in a process that only loads what is compiled, and in one that compiles."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shm.lane  # noqa: F401  # compiled and kept by now, if it was not
from tests.support.processes import patient

PROGRAM = """
import sys
import numpy as np
from numba import int64
from shm.atomics import read_word
from shm.jit import WORDS, compiled

assert read_word.stats.cache_hits, "it was compiled here"
words = np.array([3, 4], np.uint64)
assert read_word(words, 1) == 4
unknown = "numba.np.linalg" not in sys.modules


def both(words, at):
    return int64(read_word(words, at)) + int64(np.full(2, 1.5).sum())


print(unknown, compiled(int64(WORDS, int64))(both)(words, 1), "numba.np.linalg" in sys.modules)
"""


@pytest.mark.slow
def test_who_loads_knows_nothing_of_what_could_be_compiled_until_it_compiles() -> None:
    """In a process that is none of ours: this one has compiled something, perhaps."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert done.stdout.split() == ["True", "7", "True"], done.stderr
