"""The long form: many drawn worlds against the oracle, in the kernels and in real instances.

    python -m tests.oracle --worlds 2000 --seed 7     in the kernels, block by block, on all cores
    python -m tests.oracle --whole 2000               as corec.World, where blocks meet
    python -m tests.oracle --large 20                 both, with blocks of up to 65,535
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
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.oracle import kernels, live, whole
from tests.oracle.drawn import EVERYBODY, Drawn
from tests.oracle.jobs import (
    CHUNK,
    LARGE_CHUNK,
    drawn_many,
    in_instances,
    in_one_process,
    servers,
)
from tests.oracle.kills import Kills


class Tally:
    """Progress on stderr, and the end."""

    def __init__(self, what: str, total: int, folder: Path, first: bool) -> None:
        self.what, self.total, self.folder, self.first = what, total, folder, first
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

    @property
    def enough(self) -> bool:
        """Nothing more is to be found."""
        return self.first and self.failed > 0

    def end(self) -> int:
        """The last line; how many disagreed."""
        seconds = time.monotonic() - self.began
        print(file=sys.stderr)
        print(f"{self.what}: {self.done} worlds in {seconds:.0f} s, {self.failed} disagree")
        return self.failed


def _worlds(
    number: int, world_seed: int, jobs: int, folder: Path, first: bool, only: tuple[str, ...],
    is_whole: bool, large: bool = False,
) -> int:  # fmt: skip
    what = ("large-" if large else "") + ("whole" if is_whole else "kernels")
    tally = Tally(what, number, folder, first)
    chunks = [
        (chunk, world_seed, not first, only, is_whole, large)
        for chunk in range(-(-number // (LARGE_CHUNK if large else CHUNK)))
    ]
    for count, said, world in _played(chunks, jobs):
        tally.add(count, said, world, "")
        if tally.enough:
            break
    return tally.end()


def _played(chunks: list[Any], jobs: int) -> Iterator[tuple[int, str, str]]:
    """What is said of chunks, as they end; one job alone is this process."""
    if jobs == 1:
        yield from (in_one_process(*chunk) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(in_one_process, *chunk) for chunk in chunks]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _instance_worlds(
    number: int, world_seed: int, jobs: int, folder: Path, first: bool, killed: bool,
    only: tuple[str, ...],
) -> int:  # fmt: skip
    what = "killed" if killed else "live"
    tally = Tally(what, number, folder, first)
    deaths: Counter[str] = Counter()
    worlds = drawn_many(number, world_seed, only)
    needed = {bloque["procesador"] for world in worlds for bloque in world.config["bloques"]}
    with (
        servers(folder, sorted(needed)) as where,
        ProcessPoolExecutor(jobs, get_context("spawn")) as pool,
    ):
        names = {}
        for k, world in enumerate(worlds):
            name = f"{what}{world_seed}-{k}"
            names[pool.submit(in_instances, world, name, folder, where, killed)] = name
        for future in as_completed(names):
            said, died = future.result()
            deaths += died
            tally.add(1, said, "", str(folder / f"{names[future]}.json"))
            if tally.enough:
                pool.shutdown(cancel_futures=True)
                break
    if killed:
        print(", ".join(f"{name} {count}" for name, count in sorted(deaths.items())))
    return tally.end()


def _again(path: Path, killed: bool, folder: Path) -> int:
    """A world that was written down: of an instance, what happened in it."""
    world = Drawn.from_text(path.read_text("utf-8"))
    alone = kernels.check if world.fits_kernels else whole.check
    runs: list[Callable[[], Any]] = [] if world.migrates else [lambda: alone(world)]
    needed = {bloque["procesador"] for bloque in world.config["bloques"]}
    with servers(folder, sorted(needed)) as where:
        if killed or world.migrates:
            kills = Kills(random.Random("again")) if killed else None
            runs += [lambda: live.check(world, "again", folder, where, kills)]
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
    parser.add_argument("--whole", type=int, default=0, metavar="N", help="as corec.World")
    parser.add_argument("--large", type=int, default=0, metavar="N",
                        help="in the kernels and as corec.World, of blocks as large as can be; "
                             "whatever --only says")  # fmt: skip
    parser.add_argument("--live", type=int, default=0, metavar="N", help="in undisturbed instances")
    parser.add_argument("--killed", type=int, default=0, metavar="N",
                        help="in instances under kills, restarts and worker changes")  # fmt: skip
    parser.add_argument("--draw", type=int, default=0, metavar="N",
                        help="only say which worlds instances would run, a line each")  # fmt: skip
    parser.add_argument("--seed", type=int, default=None, help="drawn and shown if left out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", metavar="NAMES",
                        help="of these processors alone: a,b")  # fmt: skip
    parser.add_argument("--first", action="store_true",
                        help="end with the first that disagrees, as it was drawn")  # fmt: skip
    parser.add_argument("--again", type=Path, metavar="FILE")
    given_ = parser.parse_args()
    if given_.draw:
        for world in drawn_many(given_.draw, given_.seed or 0):
            print(world.to_json())
        return 0
    folder = Path(tempfile.mkdtemp(prefix="corec-oracle-"))
    if given_.again:
        return _again(given_.again, bool(given_.killed), folder)
    number = random.SystemRandom().randrange(2**31) if given_.seed is None else given_.seed
    print(f"seed {number}; files of this run are in {folder}", flush=True)
    failed = 0
    only = tuple(name for name in EVERYBODY if name.rpartition(":")[2] in given_.only.split(","))
    for count, is_whole in ((given_.worlds, False), (given_.whole, True)):
        if count:
            failed += _worlds(count, number, given_.jobs, folder, given_.first, only, is_whole)
    for is_whole in (False, True) if given_.large else ():
        failed += _worlds(
            given_.large, number, given_.jobs, folder, given_.first, (), is_whole, True
        )
    for count, killed in ((given_.live, False), (given_.killed, True)):
        if count:
            failed += _instance_worlds(
                count, number, given_.jobs, folder, given_.first, killed, only
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
