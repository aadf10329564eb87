"""The long form: many drawn worlds against the oracle, in the kernels and in real instances.

    python -m tests.oracle --worlds 2000 --seed 7     in the kernels, on all cores
    python -m tests.oracle --live 50 --killed 200     in instances, undisturbed and under kills
    python -m tests.oracle --again FILE [--killed 1]  one world again that was written down

A world that disagrees is written to a file, in the kernels the smallest that Hypothesis finds.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from corec.embedded import EmbeddedPostgres, EmbeddedValkey
from corec.oracle.compare import Disagreement
from tests.oracle import kernels, live
from tests.oracle.drawn import Drawn, live_worlds, worlds
from tests.oracle.kills import Kills, armed

CHUNK: Final = 50
LARGE_EVERY: Final = 20
"""One chunk in so many draws large blocks, a few of them."""
LARGE_CHUNK: Final = 4


def in_kernels(chunk: int, world_seed: int) -> tuple[int, str, str]:
    """One chunk of worlds: how many ran, and for a disagreement its text and its world."""
    large = chunk % LARGE_EVERY == LARGE_EVERY - 1
    count, failed, said = 0, "", ""

    @seed(world_seed * 1_000_003 + chunk)
    @settings(
        max_examples=LARGE_CHUNK if large else CHUNK, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )  # fmt: skip
    @given(worlds(large=large))
    def agree(drawn: Drawn) -> None:
        nonlocal count, failed, said
        count += 1
        try:
            kernels.check(drawn)
        except Exception as error:
            failed, said = drawn.to_json(), f"{type(error).__name__}: {error}"
            raise

    try:
        agree()
    except Exception:  # noqa: BLE001  # told by its smallest world
        return count, said, failed
    return count, "", ""


def in_instances(
    world: Drawn, name: str, folder: Path, servers: live.Servers, killed: bool
) -> tuple[str, Counter[str]]:
    """One world in one instance: what disagreed, and who died."""
    dice = random.Random(name)
    disturbance = Kills(dice) if killed else None
    points = armed(dice) if killed and dice.random() < 0.5 else []
    try:
        live.check(world, name, folder, servers, disturbance, points)
    except (Disagreement, AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}", Counter()
    deaths: Counter[str] = Counter()
    if disturbance is not None:
        deaths = disturbance.killed + Counter({f"end {k}": v for k, v in disturbance.ends.items()})
        deaths["named points"] = len(points)
    return "", deaths


@contextmanager
def servers(folder: Path) -> Iterator[live.Servers]:
    """A PostgreSQL and a Valkey for all instances."""
    postgres = EmbeddedPostgres(folder / "postgres", folder / "run")
    valkey = EmbeddedValkey(folder / "valkey", folder / "run")
    postgres.start()
    try:
        valkey.start()
        yield live.Servers(postgres.dsn, valkey.url)
    finally:
        valkey.stop()
        postgres.stop()


def drawn_many(number: int, world_seed: int) -> list[Drawn]:
    """So many worlds for instances."""
    found: list[Drawn] = []

    @seed(world_seed)
    @settings(
        max_examples=number, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(live_worlds())
    def keep(drawn: Drawn) -> None:
        found.append(drawn)

    keep()
    return found[:number]


class Tally:
    """Progress on stderr, and the end."""

    def __init__(self, what: str, total: int, folder: Path) -> None:
        self.what, self.total, self.folder = what, total, folder
        self.done = self.failed = 0
        self.began = time.monotonic()

    def add(self, count: int, said: str, world: str, again: str) -> None:
        """``count`` worlds more, and what one of them said."""
        self.done += count
        if said:
            self.failed += 1
            path = self.folder / f"{self.what}-{self.failed}.json"
            if world:
                path.write_text(world, "utf-8")
            print(f"\n{self.what}: {said}\n  again: {again or path}", flush=True)
        seconds = time.monotonic() - self.began
        print(
            f"\r{self.what}: {self.done} of {self.total} worlds, {self.failed} disagree, "
            f"{seconds:.0f} s", end="", file=sys.stderr, flush=True,
        )  # fmt: skip

    def end(self) -> int:
        """The last line; how many disagreed."""
        seconds = time.monotonic() - self.began
        print(file=sys.stderr)
        print(f"{self.what}: {self.done} worlds in {seconds:.0f} s, {self.failed} disagree")
        return self.failed


def _kernel_worlds(number: int, world_seed: int, jobs: int, folder: Path) -> int:
    tally = Tally("kernels", number, folder)
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        chunks = range(-(-number // CHUNK) + number // CHUNK // LARGE_EVERY)
        waiting = [pool.submit(in_kernels, chunk, world_seed) for chunk in chunks]
        for future in as_completed(waiting):
            count, said, world = future.result()
            tally.add(count, said, world, "")
    return tally.end()


def _instance_worlds(number: int, world_seed: int, jobs: int, folder: Path, killed: bool) -> int:
    what = "killed" if killed else "live"
    tally = Tally(what, number, folder)
    deaths: Counter[str] = Counter()
    with servers(folder) as where, ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        names = {}
        for k, world in enumerate(drawn_many(number, world_seed)):
            name = f"{what}{world_seed}-{k}"
            names[pool.submit(in_instances, world, name, folder, where, killed)] = name
        for future in as_completed(names):
            said, died = future.result()
            deaths += died
            tally.add(1, said, "", str(folder / f"{names[future]}.json"))
    if killed:
        print(", ".join(f"{name} {count}" for name, count in sorted(deaths.items())))
    return tally.end()


def _again(path: Path, killed: bool, folder: Path) -> int:
    """A world that was written down: of an instance, what happened in it."""
    world = Drawn.from_text(path.read_text("utf-8"))
    runs: list[Callable[[], Any]] = [lambda: kernels.check(world)]
    with servers(folder) as where:
        if killed or not world.fits_kernels:
            kills = Kills(random.Random("again")) if killed else None
            runs = [lambda: live.check(world, "again", folder, where, kills)]
        for run in runs:
            run()
    print("it agrees")
    return 0


def main() -> int:
    """Exit code 1 when a world disagrees."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracle", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--worlds", type=int, default=0, metavar="N", help="in the kernels")
    parser.add_argument("--live", type=int, default=0, metavar="N", help="in undisturbed instances")
    parser.add_argument("--killed", type=int, default=0, metavar="N",
                        help="in instances under kills, restarts and worker changes")  # fmt: skip
    parser.add_argument("--seed", type=int, default=None, help="drawn and shown if left out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", type=Path, metavar="FILE")
    given_ = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="corec-oracle-"))
    if given_.again:
        return _again(given_.again, bool(given_.killed), folder)
    number = random.SystemRandom().randrange(2**31) if given_.seed is None else given_.seed
    print(f"seed {number}; files of this run are in {folder}", flush=True)
    failed = 0
    if given_.worlds:
        failed += _kernel_worlds(given_.worlds, number, given_.jobs, folder)
    for count, killed in ((given_.live, False), (given_.killed, True)):
        if count:
            failed += _instance_worlds(count, number, given_.jobs, folder, killed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
