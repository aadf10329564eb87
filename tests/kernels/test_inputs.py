"""Readings: many for one entity in a tick, more than one step takes, what each canal kind does."""

from __future__ import annotations

import numpy as np
import pytest

from corec import layout as L
from corec.kernels import desc as K
from corec.testing import Block
from tests.kernels.subjects import listener, pusher, worker


def test_a_reading_sets_valor_and_activo_before_a_micro_tick() -> None:
    block = Block(worker, entities=5, max_errores=1.0)
    block.tick([(1, 0.5), (1, 2000.0), (2, 0.75, False), (3, 0.5, False), (3, 0.25, True)])
    view = block.view
    assert view.fallos.tolist() == [0, 1, 0, 0, 0]  # the last reading of a tick counts
    assert view.activo.tolist() == [1, 1, 0, 1, 1]
    assert view.column("valor")[2] == 0.75  # taken up, though it does not run
    assert view.column("count").tolist() == [4, 3, 3, 4, 4]
    assert int(view.dyn[L.D_INPUTS]) == 5
    block.tick()
    assert block.view.column("count").tolist() == [5, 3, 3, 5, 5]
    block.tick([(2, 0.5, True)])
    assert block.view.column("count")[2] == 4


def test_a_celu_block_without_readings_runs_nothing() -> None:
    block = Block(listener, entities=5, every_ticks=1)
    block.tick()
    assert block.view.tick == 1
    assert block.view.column("count").tolist() == [0] * 5
    assert block.messages() == []
    (frame,) = block.row_frames()
    assert frame.row is not None
    assert frame.row["errores"][0] == 0


def test_each_reading_of_a_celu_calls_its_processor_in_order() -> None:
    block = Block(listener, entities=3, seed=1)
    values = [0.5, 0.25, 8.0, 4.0, 2.0, 1.0]
    block.tick([(1, v) for v in values])
    ring, held = block.view.history("last")
    assert ring[1].tolist() == values[1:]
    assert held.tolist() == [0, 5, 0]
    total = np.float32(0.0)
    for value in values:
        total = np.float32(0.5) * total + np.float32(value)
    assert block.view.column("total")[1] == total
    assert block.view.column("count").tolist() == [0, 6, 0]


def test_more_readings_than_the_ring_has_spare_room_take_several_steps() -> None:
    count = 5 * L.HISTORY_SPARE + 3
    block = Block(listener, entities=2)
    block.tick([(0, float(k)) for k in range(count)])
    ring, _ = block.view.history("last")
    assert ring[0].tolist() == [float(k) for k in range(count - 5, count)]
    assert block.view.column("count")[0] == count
    frames = block.messages()
    assert len(frames) > 1
    steps = [frame.step for frame in frames]
    assert steps == sorted(set(steps))
    sent = np.concatenate([frame.messages["valor"] for frame in frames])
    assert (np.diff(sent[5:]) > 0).all()


def test_four_pushes_a_call_never_overwrite_what_the_committed_tick_shows() -> None:
    block = Block(pusher, entities=2)
    expected: list[float] = []
    for tick in range(20):
        values = [10.0 * tick + 100.0 * k for k in range(tick % 6)]
        block.tick([(1, v) for v in values])
        expected += [v + k for v in values for k in range(4)]
        ring, held = block.view.history("last")
        assert ring[1][5 - int(held[1]) :].tolist() == expected[-5:]


@pytest.mark.parametrize("count", [K.STEP_INPUTS_MAX, K.STEP_INPUTS_MAX + 1, 10_000])
def test_more_readings_than_a_step_takes(count: int) -> None:
    n = 900
    block = Block(listener, entities=n, max_errores=1.0)
    readings = [(k % n, float(k % 7)) for k in range(count)]
    readings[5] = (5, 2000.0)
    readings[count - 1] = ((count - 1) % n, -2000.0)
    block.tick(readings)
    view = block.view
    assert view.column("count").sum() == count - 2
    assert view.fallos.sum() == 2
    assert int(view.dyn[L.D_ERRORES]) == 2
    assert int(view.dyn[L.D_UPDATES]) == count
    good = [v for k, (_, v) in enumerate(readings) if k not in (5, count - 1)]
    emitted = np.concatenate([f.messages["id"] for f in block.messages()])
    assert 0 < emitted.size <= len(good)
    block.tick()
    assert int(block.view.dyn[L.D_ERRORES]) == 0


def test_activo_0_switches_a_celu_entity_off_and_1_on_again() -> None:
    block = Block(listener, entities=2)
    block.tick([(0, 1.0), (0, 2.0, False), (1, 3.0, False)])
    assert block.view.activo.tolist() == [0, 0]
    assert block.view.column("count").tolist() == [1, 0]
    block.tick([(1, 4.0, True)])
    assert block.view.activo.tolist() == [0, 1]
    assert block.view.column("count").tolist() == [1, 1]
    assert int(block.view.dyn[L.D_ACTIVAS]) == 1
