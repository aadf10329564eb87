"""At a stop nobody tells into a lane that nobody reads; the last who tell are waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from corec import layout as L
from corec.nucleus.events import EventWriter
from corec.persister.stopping import BROKER_PATIENCE_S, Stop
from tests.persister.small_world import small_world


@pytest.mark.parametrize("stop", [L.STOP_NO, L.STOP_TICKS, L.STOP_SINKS, L.STOP_NUCLEUS])
def test_an_event_of_the_stop_itself_is_in_the_log_alone(shm_dir: Path, stop: int) -> None:
    with small_world(shm_dir, "") as world:
        world.rt.set(L.C_STOP, stop)
        told = EventWriter(world.rt).emit("processor_error", {"rate": 1.0})
        assert told == (stop < L.STOP_SINKS)
        assert (world.rt.events["nucleus"].used > 0) == told


def test_the_broker_is_waited_for_but_not_for_long(shm_dir: Path) -> None:
    with small_world(shm_dir, "") as world:
        slot = world.rt.slot(L.SLOT_BROKER)
        now = 100.0
        stop = Stop(world.rt, lambda: now)
        slot.set(L.S_STATE, L.PROC_WAITING_SINK)
        stop.look()
        now += 1000.0
        assert not stop.broker_left(), "nobody stops"
        world.rt.set(L.C_STOP, L.STOP_SINKS)
        stop.look()
        now += BROKER_PATIENCE_S - 0.1
        stop.look()
        assert not stop.broker_left()
        now += 0.2
        assert stop.broker_left()
        now -= 0.2
        slot.set(L.S_STATE, L.PROC_DRAINED)
        assert stop.broker_left()
