"""A world that follows its journal: what its leader waits for, and what it gives back meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corec import layout as L
from corec.journal.file import Record, State, Stretch
from corec.journal.past import Past
from corec.worker.leader import AHEAD_TICKS_FIRST, AHEAD_TICKS_MAX, Leader
from tests.broker.support import Instance

pytestmark = pytest.mark.usefixtures("no_leaks")


def record(tick: int) -> Record:
    """Of a tick that took something in."""
    return {"tick": tick, "in": {"1": [tick, 0, 0, 1]}, "readings": 1}


@pytest.fixture
def following(shm_dir: Path) -> Iterator[Instance]:
    """A world whose ticks 1 to 4 run again; two of them have, and the lane holds what 2 took in."""
    one = Instance(shm_dir, "", lanes=1)
    one.rt.past = Past(Stretch(State(), [record(tick) for tick in range(1, 5)], 0))
    one.rt.set(L.C_FOLLOW, 4)
    one.rt.set(L.C_LIMIT_TICK, 100)
    fed(one, 2)
    one.commit(2)
    one.rt.set(L.C_CUT + 2, one.rt.inbox.head)
    yield one
    one.close()


def fed(one: Instance, tick: int) -> None:
    """As the broker does when all is there."""
    assert one.rt.inbox.push(L.KIND_FED_FRAME, b"", tick=tick)


def test_while_it_waits_the_broker_has_room(following: Instance) -> None:
    """What the last tick took in is given back: the broker may wait for it, to say the next one."""
    leader, inbox = Leader(following.rt, 1), following.rt.inbox
    assert inbox.used > 0
    assert leader.wait_seconds(3) is None
    assert inbox.used == 0
    fed(following, 3)
    assert leader.wait_seconds(3) == 0.0


def test_only_its_own_tick_is_waited_for(following: Instance) -> None:
    leader = Leader(following.rt, 1)
    fed(following, 2)  # once more, by a broker whose predecessor was killed
    assert leader.wait_seconds(3) is None
    fed(following, 3)
    assert leader.wait_seconds(3) == 0.0


def test_no_lease_is_longer_than_is_said(following: Instance) -> None:
    """Not that of a step, and not that of a pace that has fallen from a longer one."""
    leader, rt = Leader(following.rt, 1), following.rt
    rt.set(L.C_PAUSED, 1)
    rt.set(L.C_STEP_LIMIT, 10**9)
    assert leader.ahead(5) == AHEAD_TICKS_MAX
    rt.set(L.C_STEP_LIMIT, 12)
    assert leader.ahead(5) == 7
    rt.set(L.C_PAUSED, 0)
    assert leader.ahead(5) == AHEAD_TICKS_FIRST
    leader.until = 10**9
    assert leader.ahead(5) == AHEAD_TICKS_MAX
