"""Where the nanoseconds of a tick go in which entities meet: flock, contacts, Schelling and others.

Each world is ticked part by part (what is sorted before, the phases, each bloque's blocks), beside
the same world with processors that do less: nothing but move, or count their neighbours. What one
takes more than the other is what the rest costs. Worlds in turns, medians in nanoseconds an entity,
at a size that stays in the cache and at one that does not.

    python -m corec.lab.measure.met [--rounds 9] [--only NAME …] [--sizes 10000 1000000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from corec.config import parse_config
from corec.entities.processor import micro
from corec.kernels import desc as K
from corec.lab.bench.linked import flock_bloque, graph_bloque
from corec.lab.bench.machine import describe, line
from corec.lab.bench.meet_cores import oscillators
from corec.lab.bench.meeting import meadow_bloques, town_bloques
from corec.lab.bench.processors import some_ill
from corec.lab.bench.sizes import cell_bloques
from corec.lab.bench.world import BenchWorld
from corec.processors.boids import start as begin_flock
from corec.processors.kuramoto import start as begin_phases
from corec.world.ticker import Ticker

SIZES: Final = (10_000, 1_000_000)
TICK_ENTITIES: Final = 2_000_000
"""Entities' ticks of one sample, at least two ticks."""
BIRD: Final = {"x": "f4", "y": "f4", "vx": "f4", "vy": "f4"}
HERE: Final = __name__ if __name__ != "__main__" else "corec.lab.measure.met"


@micro(state=BIRD, params={"speed": 0.1, "box": 100.0}, public=tuple(BIRD), init=begin_flock)
def alone(me: Any) -> Any:
    """A bird that looks at nobody."""
    me.x, me.y = me.x + me.vx, me.y + me.vy
    return 0.0


@micro(state=BIRD, params={"speed": 0.1, "box": 100.0}, public=tuple(BIRD), init=begin_flock)
def counting(me: Any) -> Any:
    """One that finds its neighbours, and counts them."""
    n = me.neighbours.count()
    me.x, me.y = me.x + me.vx, me.y + me.vy
    return n


@micro(state={"ill": "u1"}, params={"beta": 0.01, "gamma": 0.05}, public=("ill",), init=some_ill)
def careless(me: Any) -> Any:
    """One who knows of no contact: with five ill ones in every tick."""
    chance = me.gamma if me.ill == 1 else np.float32(0.05)
    if me.random() < chance:
        me.ill = 1 - me.ill
    return 1.0


@micro(
    state={"theta": "f4", "omega": "f4", "c": "f4", "s": "f4"}, means=("c", "s"),
    params={"K": 2.0, "omega0": 1.0, "spread": 0.5, "dt": 0.05}, init=begin_phases,
)  # fmt: skip
def unswung(me: Any) -> Any:
    """An oscillator without its sine and cosine."""
    pull = me.K * (me.mean_s * me.c - me.mean_c * me.s)
    theta = me.theta + me.dt * (me.omega + pull)
    theta = theta - 6.2831853 * np.floor(theta * 0.15915494)
    me.theta = theta
    me.c, me.s = 0.5 - 0.125 * theta, 0.125 * theta - 0.5
    return 0.5 + 0.5 * me.c


def _with(bloques: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    own = {"speed", "box", "beta", "gamma"}
    given = {k: v for k, v in bloques[0].get("parametros", {}).items() if k in own}
    return [{**bloques[0], "procesador": f"{HERE}:{name}", "parametros": given}]


Bloques = Callable[[int], list[dict[str, Any]]]
WORLDS: Final[dict[str, Bloques]] = {
    "life": cell_bloques,
    "flock, nobody looks": lambda n: _with([flock_bloque(n)], "alone"),
    "flock, all count": lambda n: _with([flock_bloque(n)], "counting"),
    "flock": lambda n: [flock_bloque(n)],
    "contacts, nobody looks": lambda n: _with([graph_bloque(n)], "careless"),
    "contacts": lambda n: [graph_bloque(n)],
    "Kuramoto, no sine and cosine": lambda n: _with(oscillators(n), "unswung"),
    "Kuramoto": oscillators,
    "Schelling": town_bloques,
    "wolves, sheep, grass": meadow_bloques,
}


class Parts:
    """A world, and its ticks part by part."""

    def __init__(self, bloques: list[dict[str, Any]]) -> None:
        config = {"instance_id": "bench", "http": {"port": 0}, "bloques": bloques}
        self.world = world = BenchWorld(config)
        self.swarms = [
            (s.id, Ticker.of(parse_config(dict(config)), world.plan, world.tables, s.first_block,
                             s.first_block + s.blocks))
            for s in world.plan.swarms
        ]  # fmt: skip
        self.seconds: dict[str, list[float]] = {}
        world.run_to(3)

    def sample(self) -> None:
        """Some ticks; ``seconds`` has a mean more of each part."""
        ticks = max(2, TICK_ENTITIES // self.world.n)
        total: dict[str, float] = {}
        for _ in range(ticks):
            before = time.perf_counter()
            for part in self._tick():
                now = time.perf_counter()
                total[part] = total.get(part, 0.0) + now - before
                before = now
        for part, seconds in total.items():
            self.seconds.setdefault(part, []).append(seconds / ticks)

    def _tick(self) -> Iterator[str]:
        """One tick; the name of each part that is over."""
        world = self.world
        world.tick_number += 1
        main = world.ticker.targs
        main[K.T_TICK], main[K.T_UNIX_NS] = world.tick_number, time.time_ns()
        world.ticker.do_phases(world.rows, lambda: world.rows.release(world.rows.head))
        yield "phases"
        if world.tables.planes is not None:
            world.tables.planes.ready(main)
            yield "sorted"
        for name, ticker in self.swarms:
            ticker.targs[:] = main
            at = ticker.lo
            while at < ticker.hi:
                at = ticker.run(at, world.out, world.rows)
                world.out.release(world.out.head)
                world.rows.release(world.rows.head)
            yield name

    def told(self) -> str:
        """The parts that take anything, in nanoseconds an entity of the world."""
        found = {k: statistics.median(v) / self.world.n * 1e9 for k, v in self.seconds.items()}
        shown = {k: ns for k, ns in found.items() if ns >= 0.05}
        parts = ", ".join(f"{part} {ns:.1f}" for part, ns in shown.items())
        return f"{sum(found.values()):8.1f}   {parts}"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=" ".join((__doc__ or "").split("\n\n")[0].split()))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    options = parser.parse_args(arguments)
    print(line(describe()))
    for n in options.sizes:
        worlds = {name: Parts(WORLDS[name](n)) for name in options.only}
        for _ in range(options.rounds):
            for one in worlds.values():
                one.sample()
        for name, one in worlds.items():
            print(f"{name + f', {one.world.n:,}':42} {one.told()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
