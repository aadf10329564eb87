"""A worker killed behind any single store of a phase: who redoes it comes to the same world."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from corec.lab.bench.world import BenchWorld
from shm.killpoint import arm
from tests.shm.helpers import fork, reap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # it compiles a processor

TICKS = 5
EVOLVES = (2, 3, 5)
"""Ticks before which islands (each tick), the whole swarm (every other) or both evolve."""
POINTS = (
    "evolution.genes_written", "lane.publish.before", "lane.publish.after", "block.between_public",
    "block.before_commit", "block.after_commit",
)  # fmt: skip
BLOCKS = 3


def config() -> dict[str, Any]:
    """Islands that exchange migrants and hand on state, and a swarm that is one island."""
    swarm = {"canal": 1, "entidades": 8 * BLOCKS, "entidades_por_bloque": 8,
             "procesador": "tests.evolution.subjects:seen"}  # fmt: skip
    moves = {"cada": 1, "cuantos": 2, "topologia": "anillo"}
    islands = {"cada": 1, "estado": "heredado", "linaje": 0.5, "migracion": moves}
    whole = {"cada": 2, "alcance": "enjambre", "metodo": "truncamiento", "elite": 0.25}
    return {
        "instance_id": "redone", "http": {"port": 0},
        "bloques": [{**swarm, "id": "islands", "evolucion": islands},
                    {**swarm, "id": "whole", "evolucion": whole}],
    }  # fmt: skip


def test_killed_behind_each_store_of_a_phase() -> None:
    calm = BenchWorld(config())
    calm.run_to(TICKS)
    wanted = calm.expected()
    for point in POINTS:
        world, deaths = BenchWorld(config()), 0
        for tick in range(1, TICKS + 1):
            passes = 1
            while tick in EVOLVES and dies(world, point, passes):
                deaths += 1
                passes = 2  # who redoes a block gets through it, and dies in the next one
            world.tick()
        assert deaths >= len(EVOLVES) * BLOCKS - 1, point
        assert world.expected() == wanted, point


def dies(world: BenchWorld, point: str, passes: int) -> bool:
    """Whether a process that carries out the phase dies in it; the world is in shared memory."""

    def phase() -> None:
        arm(point, passes)
        world.phases()

    return reap(fork(phase)) == -signal.SIGKILL
