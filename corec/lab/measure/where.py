"""Where the nanoseconds of one tick of the sensor go, and what the vectoriser made of it.

Each part of the tick is timed alone on one block that stays in the cache, then the whole tick of a
world that fits the cache, of one that does not, and of one with messages and rows; all in turns,
the medians in nanoseconds an entity. Beside it: which vector registers each part's machine code
uses (x86: zmm 512 bits, ymm 256, xmm 128), the triad, and what of it the large world moves.

    python -m corec.lab.measure.where [--rounds 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

from corec.entities.compile import compile_processor
from corec.kernels import desc as K
from corec.kernels.address import call_kernel
from corec.kernels.calls import Update
from corec.kernels.frames import select_over
from corec.kernels.philox import fill_random
from corec.kernels.stats import moments
from corec.lab.bench.machine import describe, line, triad_gb_per_second
from corec.lab.bench.rounds import nanoseconds_each
from corec.lab.bench.server import NEVER
from corec.lab.bench.server_tick import SILENT
from corec.lab.bench.world import BenchWorld, sensors

N: Final = 1000
SMALL: Final = 100_000
LARGE: Final = 6_400_000
REPEATS: Final = 4000
COLUMN_BYTES: Final = 12
"""An update reads 4 bytes and writes 4, and the line that is written is read first."""
_call: Any = call_kernel
_fill: Any = fill_random

# The parts in loops of their own, not cached, so that their machine code can be read.


@njit
def _philox(out, times):  # type: ignore[no-untyped-def]  # compiled
    for k in range(times):
        _fill(out, np.uint64(k), np.uint64(7), np.uint64(0), np.uint64(42))


@njit
def _sums(valor, good, over, times):  # type: ignore[no-untyped-def]  # compiled
    total = 0.0
    for _ in range(times):
        total += moments(valor, good, N, np.float32(0.53), over)[0]
    return total


@njit
def _select(over, valor, local, picked, times):  # type: ignore[no-untyped-def]  # compiled
    total = 0
    for _ in range(times):
        total += select_over(over, valor, local, picked)
    return total


@njit
def _update(address, arguments, times):  # type: ignore[no-untyped-def]  # compiled
    total = 0
    for _ in range(times):
        total += _call(address, arguments)
    return total


def parts() -> dict[str, Callable[[], float]]:
    """Name → ns an entity of one sample, for each part that can be timed alone."""
    world = BenchWorld(_silent(N))
    world.run_to(3)
    tables = world.tables
    swarm, block = tables.swarms[0], tables.blocks[0]
    kernels = compile_processor(world.plan.swarms[0].processor, world.plan.swarms[0].cap)
    rnd = np.zeros(2 * N, np.uint32)
    run, ok = (np.ones(N + 24, np.uint8)[:N] for _ in range(2))  # whole groups of 16
    over = np.zeros((N + 63) // 64, np.uint64)
    means = np.zeros(64, np.float32)
    valor = np.full(N + 24, 0.3, np.float32)[:N]
    marked = np.zeros((N + 63) // 64, np.uint64)
    for i in range(0, N, 100):
        marked[i // 64] |= np.uint64(1 << i % 64)
    local, picked = np.zeros(N, np.uint32), np.zeros(N, np.float32)
    hot, size = int(block[K.B_HOT]), int(swarm[K.W_COPY_BYTES])
    told = tables.scratch_address + int(tables.scratch_offsets[K.X_TOLD])
    given = Update(
        cur=hot, new=hot + size, hist=int(block[K.B_HIST]), n=N, first_id=0, tick=7, seed=42,
        params=int(swarm[K.W_PARAMS]), means=means.ctypes.data, rnd=rnd.ctypes.data,
        run=run.ctypes.data, ok=ok.ctypes.data, ahead=hot, told=told, pub=0, origin=0, near=0,
        genes=0, own=0, everyone=0,
    )  # fmt: skip
    keep = (world, rnd, run, ok, means)

    def timed(function: Any, *arguments: Any) -> Callable[[], float]:
        sample = nanoseconds_each(function, arguments, REPEATS, N, keep)
        sample()
        return sample

    return {
        "Philox": timed(_philox, rnd[:N]),
        "Philox, AR(1), check, both copies": timed(_update, kernels.update, given),
        "σ, marks above umbral": timed(_sums, valor, ok, over),
        "listing 10 of 1,000": timed(_select, marked, valor, local, picked),
    }


def _silent(n: int) -> dict[str, Any]:
    return sensors(n, bloque={"parametros": SILENT}, persist={"every_ticks": NEVER})


def _ticks(world: BenchWorld, times: int) -> None:
    for _ in range(times):
        world.tick()


def ticks() -> dict[str, Callable[[], float]]:
    """The same of whole ticks."""
    worlds = {
        f"tick, {SMALL:,} entities": BenchWorld(_silent(SMALL)),
        f"tick, {LARGE:,} entities": BenchWorld(_silent(LARGE)),
        f"tick, {SMALL:,} entities, messages and rows": BenchWorld(sensors(SMALL)),
    }

    def timed(world: BenchWorld) -> Callable[[], float]:
        world.run_to(10)
        return nanoseconds_each(_ticks, (world,), max(10, 10_000_000 // world.n), world.n)

    return {name: timed(world) for name, world in worlds.items()}


def registers() -> dict[str, dict[str, int]]:
    """Part → how many instructions of its machine code name a register of each width."""
    found = {}
    for name, function in (
        ("Philox", _philox),
        ("σ, marks above umbral", _sums),
        ("listing 10 of 1,000", _select),
    ):
        text = "\n".join(function.inspect_asm().values())
        lines = [part.split("#")[0] for part in text.splitlines()]
        found[name] = {
            width: sum(bool(re.search(rf"%{width}\d", part)) for part in lines)
            for width in ("zmm", "ymm", "xmm")
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    contenders = parts() | ticks()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, sample in contenders.items():
            samples[name].append(sample())
    median = {name: statistics.median(values) for name, values in samples.items()}
    triad = triad_gb_per_second(1)
    moved = COLUMN_BYTES / median[f"tick, {LARGE:,} entities"]
    if options.json:
        found = {
            "ns": {n: {"median": median[n], "all": v} for n, v in samples.items()},
            "registers": registers(), "triad_gb_s": triad, "moved_gb_s": moved,
            "machine": describe(),
        }  # fmt: skip
        json.dump(found, sys.stdout, indent=2)
        print()
        return 0
    print(line(describe()))
    width = max(map(len, samples))
    for name, values in samples.items():
        print(f"{name:{width}}  {median[name]:6.3f} ns  ({min(values):.3f} … {max(values):.3f})")
    for name, counted in registers().items():
        print(f"{name:{width}}  " + ", ".join(f"{k} {v}" for k, v in counted.items()))
    print(f"the large world moves {moved:.1f} GB/s; this core's triad {triad:.1f} GB/s, of which a")
    print("third more goes unseen: STREAM does not count the lines that stores read first")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
