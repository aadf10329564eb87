"""Functions of one float32 (``kernels.elementary``) at each of the 2³² arguments there are.

Counts, for each function: arguments whose compiled result is another number than the plain form's
(NumPy's operations, each rounded by itself, so nothing fused), and than the float64 result of the
system's library rounded to float32. Exit code 1 when the first is not 0. All of them take about
two minutes a function and core; the tests look at one in 100,003.

    python -m corec.lab.measure.arguments exp [sin cos tan log tanh …] [--every N]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corec.kernels import elementary

ALL: Final = 1 << 32
CHUNK: Final = 1 << 20
REFERENCE: Final[dict[str, Callable[[Any], Any]]] = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "exp": np.exp, "log": np.log, "tanh": np.tanh,
    "atan": np.arctan,
}  # fmt: skip


def _loop(name: str) -> Any:
    function = getattr(elementary, name)

    @njit(error_model="numpy")
    def over(x: Any, found: Any) -> None:
        for i in range(x.size):
            found[i] = function(x[i])

    return over


def _differ(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    """How many are other bits; any NaN is any other."""
    other = a.view(np.uint32) != b.view(np.uint32)
    return int((other & ~(np.isnan(a) & np.isnan(b))).sum())


def look(name: str, every: int) -> tuple[int, int, int]:
    """Of one function: arguments looked at, those that differ from the plain form, and from the
    library's."""
    loop, plain = _loop(name), getattr(elementary, name)
    found = np.empty(CHUNK, np.float32)
    looked = apart = wrong = 0
    for begin in range(0, ALL, CHUNK * every):
        bits = np.arange(begin, min(begin + CHUNK * every, ALL), every, dtype=np.int64)
        x = bits.astype(np.uint32).view(np.float32)
        said = found[: x.size]
        loop(x, said)
        with np.errstate(all="ignore"):
            apart += _differ(said, plain(x))
            wrong += _differ(said, REFERENCE[name](x.astype(np.float64)).astype(np.float32))
        looked += x.size
        if sys.stderr.isatty():
            print(f"\r{name}: {looked * every * 100 // ALL} %", end="\r", file=sys.stderr)
    return looked, apart, wrong


def main() -> int:
    """Look, and say what was found, a line for each function."""
    parser = argparse.ArgumentParser(description="each argument of functions of one float32")
    parser.add_argument("functions", nargs="+", choices=REFERENCE)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth argument")
    options = parser.parse_args()
    if options.every < 1:
        parser.error(f"--every: found {options.every}, expected at least 1")
    worst = 0
    for name in options.functions:
        began = time.monotonic()
        looked, apart, wrong = look(name, options.every)
        worst = max(worst, apart)
        fused = ", compiled with fused operations" if name == "exp" and elementary.FUSES else ""
        print(
            f"{name}: {looked} arguments{fused}; {apart} unlike the plain form, "
            f"{wrong} unlike the library's float64 rounded ({time.monotonic() - began:.0f} s)"
        )
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
