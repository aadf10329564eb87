"""Every interleaving of kills and restarts of a small world is harmless; every mutant is caught."""

from __future__ import annotations

import pytest

from tests.model.explore import explore
from tests.model.state import Size
from tests.model.world import MUTANTS, World

INPUTS = Size(ticks=4, owners=(0, 1), entries=3, kinds=())
ONE_WORKER = Size(ticks=2, owners=(0, 0), entries=1, kinds=("by_lane",))
ONE_WORKER_BROKER = Size(ticks=3, owners=(0, 0), entries=0, kinds=("by_tick",))
TWO_LANES = Size(ticks=2, owners=(0, 1), entries=0, kinds=("by_lane",))
TWO_LANES_BROKER = Size(ticks=2, owners=(0, 1), entries=0, kinds=("by_tick",), lane_frames_max=1)
MEETING = Size(ticks=4, owners=(0, 1, 1), entries=0, kinds=(), public=True)
BOTH_SINKS = Size(ticks=2, owners=(0,), entries=0, kinds=("by_tick", "by_lane"))
SIZES = {
    "inputs": INPUTS,
    "one worker": ONE_WORKER,
    "one worker, broker": ONE_WORKER_BROKER,
    "two lanes": TWO_LANES,
    "two lanes, broker": TWO_LANES_BROKER,
    "both sinks": BOTH_SINKS,
    "meeting": MEETING,
}

LOST = "without the one before"
CAUGHT = {
    "commit_before_publish": (ONE_WORKER, LOST),
    "in_place": (ONE_WORKER, "has lived through 1 ticks, not 0"),
    "done_before_commit": (TWO_LANES, "the world stands still"),
    "no_barrier": (INPUTS, "that were given back"),
    "position_before_commit": (ONE_WORKER, LOST),
    "release_before_durable": (ONE_WORKER, LOST),
    "no_release": (ONE_WORKER, "the world stands still"),
    "no_dedupe": (ONE_WORKER, "twice"),
    "dedupe_by_tick": (ONE_WORKER, "the world stands still"),
    "lanes_before_done": (ONE_WORKER_BROKER, LOST),
    "cut_after_go": (INPUTS, "a checkpoint says"),
    "early_inbox_release": (INPUTS, "that were given back"),
    "table_after_go": (INPUTS, "a checkpoint says"),
    "table_by_flip": (INPUTS, "a checkpoint says that 1 entries are applied, the blocks have []"),
    "table_before_inbox": (INPUTS, "has applied the readings"),
    "public_after_commit": (MEETING, "sees in tick 2 what tick 0 left"),
    "public_one_copy": (MEETING, "sees in tick 1 what tick 1 left"),
    "public_this_tick": (MEETING, "sees in tick 1 what tick"),
    "public_no_barrier": (MEETING, "sees in tick"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_no_kill_does_harm(name: str) -> None:
    found = explore(World(SIZES[name]))
    assert found.fault is None, found.told()
    assert found.states > 1000
    assert found.finished


def test_every_mutant_has_its_world() -> None:
    assert CAUGHT.keys() == MUTANTS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_caught(mutant: str) -> None:
    size, complaint = CAUGHT[mutant]
    found = explore(World(size, mutant))
    assert found.fault is not None
    assert complaint in found.fault, found.told()


NEED_A_KILL = [
    "commit_before_publish",
    "no_dedupe",
    "release_before_durable",
    "public_after_commit",
]


@pytest.mark.parametrize("mutant", NEED_A_KILL)
def test_these_mutants_need_a_kill(mutant: str) -> None:
    """They pass every run without a kill: no other test can find them."""
    size, _ = CAUGHT[mutant]
    assert any("KILL" in step for step in explore(World(size, mutant)).path)
