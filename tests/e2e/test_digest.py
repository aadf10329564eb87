"""Same seed, same inputs, same world: whatever the workers, the pace, the restarts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Make
from tests.support.instance import small_config

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]


ON_A_GRID = ("life", "forest_fire")
PROCESSORS = ("sensor", "kuramoto", "sir", *ON_A_GRID)


def every_processor(**changes: Any) -> dict[str, Any]:
    """Two blocks and a half of each built-in processor that computes from its own state."""
    bloques = [
        {"id": n, "canal": k + 1, "entidades": 100, "entidades_por_bloque": 40, "procesador": n,
         "space": {"kind": "grid", "width": 10, "height": 10} if n in ON_A_GRID else None}
        for k, n in enumerate(PROCESSORS)
    ]  # fmt: skip
    return small_config(bloques=bloques, **changes)


def test_workers_pace_and_a_stop_half_way_do_not_show(make: Make) -> None:
    one = make()

    def digest(*options: str, fresh: bool = True, other_hashes: bool = False) -> str:
        one.fresh_interpreter = other_hashes  # a hash seed of its own; those forked have the same
        wanted = ("--fresh", *options) if fresh else options
        summary = one.run(*wanted).summary
        assert summary["digest_tick"] == summary["tick"]
        return f"{summary['tick']} {summary['digest']}"

    flat = ("--tick-hz", "0")
    first = digest("--ticks", "60", *flat, "--workers", "1", other_hashes=True)
    assert first.startswith("60 ")
    assert digest("--ticks", "60", *flat, "--workers", "2") == first
    assert digest("--ticks", "60", *flat, "--workers", "3", other_hashes=True) == first
    assert digest("--ticks", "60", "--tick-hz", "300", "--workers", "2") == first
    half = digest("--ticks", "30", *flat, "--workers", "2")
    assert half.startswith("30 ")
    assert digest("--ticks", "30", *flat, "--workers", "3", fresh=False) == first
    other = digest("--ticks", "60", *flat, "--seed", "43")
    assert other.startswith("60 ")
    assert other != first
    one.assert_clean()


@pytest.mark.parametrize("carga", [1.0, 0.3])
def test_every_built_in_processor(make: Make, carga: float) -> None:
    one = make(every_processor(carga=carga))
    flat = ("--tick-hz", "0")
    found = set()
    for workers in ("1", "3", "5"):
        summary = one.run("--fresh", "--ticks", "40", *flat, "--workers", workers).summary
        assert summary["workers"] == int(workers)
        # of 100 entities in blocks of 40, 40 and 20, ceil(n · carga) run
        each = 100 if carga == 1.0 else 12 + 12 + 6
        assert summary["entity_updates"] == 40 * len(PROCESSORS) * each
        found.add(summary["digest"])
    one.run("--fresh", "--ticks", "17", *flat, "--workers", "2")
    found.add(one.run("--ticks", "23", *flat, "--workers", "1").summary["digest"])
    assert len(found) == 1


MEADOW = {"kind": "plane", "position": ["x", "y"], "size": 50.0, "radius": 1.5}
MET: list[dict[str, Any]] = [
    {"id": "people", "canal": 1, "entidades": 400, "procesador": "sir_graph",
     "parametros": {"beta": 0.2, "seeded": 0.1},
     "space": {"kind": "graph", "edges": {"generator": "watts_strogatz", "k": 6, "p": 0.2}}},
    {"id": "grass", "canal": 1, "entidades": 2500, "procesador": "grass", "space": MEADOW},
    {"id": "sheep", "canal": 2, "entidades": 600, "capacidad": 4000, "procesador": "sheep",
     "space": MEADOW},
    {"id": "wolf", "canal": 3, "entidades": 80, "capacidad": 1000, "procesador": "wolf",
     "space": MEADOW},
    {"id": "town", "canal": 1, "entidades": 340, "capacidad": 400, "procesador": "schelling",
     "parametros": {"wanted": 0.6}, "entidades_por_bloque": 90, "umbral": "nunca",
     "space": {"kind": "grid", "width": 20, "height": 20}},
]  # fmt: skip
"""As in ``tests/processors/test_meeting_models.py``, whose machine code they share."""


def test_entities_that_meet(make: Make) -> None:
    """A graph, a plane with births and deaths, moves between blocks: any number of workers, flat
    out and paced, a start that goes on, workers that are killed; and what is told of them."""
    one = make(small_config(bloques=MET))
    flat, found = ("--tick-hz", "0"), set()
    for workers, hz in (("1", "0"), ("3", "200"), ("5", "0")):
        begun = one.start("--fresh", "--ticks", "60", "--tick-hz", hz, "--workers", workers)
        found.add(begun.wait(200).summary["digest"])  # the first one compiles
    one.run("--fresh", "--ticks", "23", *flat, "--workers", "2")
    found.add(one.run("--ticks", "37", *flat, "--workers", "1").summary["digest"])
    one.environment["COREC_CRASH"] = (
        "worker 1@phase.before_done:5,worker 0@phase.all_done:9,worker 1@settlement.written:20"
    )
    ended = one.start("--fresh", "--ticks", "60", *flat, "--workers", "2").wait(200)
    assert ended.summary["restarts"] == 3
    found.add(ended.summary["digest"])
    assert len(found) == 1
