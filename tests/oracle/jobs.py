"""One chunk of drawn worlds, one instance: what the processes of ``python -m tests.oracle`` do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from corec.embedded import EmbeddedPostgres, EmbeddedValkey
from corec.lab.oracle.compare import Disagreement
from tests.oracle import kernels, live, whole
from tests.oracle.drawn import Drawn
from tests.oracle.kills import Kills, armed
from tests.oracle.meeting import large_worlds, live_worlds, whole_worlds
from tests.oracle.strategies import worlds

CHUNK: Final = 50
LARGE_CHUNK: Final = 4
"""Of those whose blocks are large."""


def in_one_process(
    chunk: int, world_seed: int, shrink: bool, only: tuple[str, ...], is_whole: bool, large: bool,
    many: int = 0,
) -> tuple[int, str, str]:  # fmt: skip
    """One chunk of worlds, block by block in the kernels, or as ``corec.World``: how many ran, and
    for a disagreement its text and its world. ``large``: with blocks as large as can be. ``many``
    are drawn, or as many as a chunk has."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    count, failed, said = 0, "", ""

    @seed(world_seed * 1_000_003 + chunk)
    @settings(
        max_examples=many or (LARGE_CHUNK if large else CHUNK), deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=phases,
        report_multiple_bugs=False,
    )  # fmt: skip
    @given(_drawn(large, only, is_whole))
    def agree(drawn: Drawn) -> None:
        nonlocal count, failed, said
        count += 1
        try:
            (whole if is_whole else kernels).check(drawn)
        except Exception as error:
            failed, said = drawn.to_json(), f"{type(error).__name__}: {error}"
            raise

    try:
        agree()
    except Exception:  # noqa: BLE001  # told by its smallest world
        return count, said, failed
    return count, "", ""


def _drawn(large: bool, only: tuple[str, ...], is_whole: bool) -> SearchStrategy[Drawn]:
    if is_whole:
        return large_worlds() if large else whole_worlds(only=only)
    return worlds(large=large, only=only)


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
def servers(folder: Path, names: Collection[str]) -> Iterator[live.Servers]:
    """A PostgreSQL and a Valkey for all instances, whose processors, ``names``, are compiled."""
    live.compile_all(folder, names)
    postgres = EmbeddedPostgres(folder / "postgres", folder / "run")
    valkey = EmbeddedValkey(folder / "valkey", folder / "run")
    postgres.start()
    try:
        valkey.start()
        yield live.Servers(postgres.dsn, valkey.url)
    finally:
        valkey.stop()
        postgres.stop()


def drawn_many(number: int, world_seed: int, only: tuple[str, ...] = ()) -> list[Drawn]:
    """So many worlds for instances, of these processors or of all."""
    found: list[Drawn] = []

    @seed(world_seed)
    @settings(
        max_examples=number, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(live_worlds(only=only))
    def keep(drawn: Drawn) -> None:
        found.append(drawn)

    keep()
    return found[:number]
