"""What a block says to the outside, at the limits of what its words hold and one beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import corec
from corec import layout as L
from corec.config import parse_config
from corec.kernels import desc as K
from corec.layout import frames
from corec.plan import make_plan
from corec.testing import Block
from corec.world.lanes import ROWS_LANE_BYTES_MIN, rows_lane_bytes
from shm.lane import capacity_for
from shm.ring import max_payload

steps = st.integers(0, frames.STEP_MAX)


@corec.micro(state={"n": "u4"})
def loudspeaker(me):  # type: ignore[no-untyped-def]  # an entity's function has no annotations
    me.n = me.n + 1
    return me.valor


@corec.celu(state={"seen": "u4"}, history={"last": ("f4", 8)})
def fussy(me, value):  # type: ignore[no-untyped-def]  # likewise
    me.last.push(value)
    if value < 0.0:
        raise ValueError("bad reading")
    me.seen = me.seen + 1
    return 1.0


@given(step=steps, canal=st.integers(-128, 127))
def test_a_word_of_messages_gives_back_what_it_was_made_of(step: int, canal: int) -> None:
    word = frames.message_word(canal, step)
    assert 0 <= word < 2**63
    assert frames.message_step(word) == step
    assert frames.message_canal(word) == canal % 256


@given(step=steps, entries=st.integers(0, L.LOG_CAP_MAX))
def test_a_word_of_a_row_gives_back_what_it_was_made_of(step: int, entries: int) -> None:
    word = frames.row_word(step, entries)
    assert 0 <= word < 2**63
    assert (frames.row_step(word), frames.row_entries(word)) == (step, entries)


@pytest.mark.parametrize("readings", [1_300, 170_000])
@pytest.mark.slow
def test_every_step_of_a_long_tick_is_told(readings: int) -> None:
    """Five readings a step of one entity with a history: past 8 bits, and past 15."""
    block = Block(fussy, entities=1, every_ticks=1, max_errores=1.0, lane_bytes=1 << 25)
    block.tick([(0, 1.0)] * readings)
    told = block.messages()
    steps = [frame.step for frame in told]
    assert steps == sorted(set(steps))
    assert len(steps) >= readings // 5
    assert sum(len(frame.messages) for frame in told) == readings
    (row,) = block.row_frames()
    assert row.row is not None
    assert row.step == steps[-1]
    assert int(row.row["mensajes"][0]) == readings
    assert len(row.log) + int(row.row["omitidos"][0]) == readings


@pytest.mark.slow
def test_a_message_of_long_ago_keeps_its_tick() -> None:
    """Of as many ticks before the row as 16 bits count, of one less, one more and some more."""
    last = 65_600
    told = [3, last - 65_537, last - 65_536, last - 65_535, last - 1]
    block = Block(loudspeaker, entities=1, every_ticks=last)
    for tick in range(1, last + 1):
        block.tick([(0, float(tick in told))] if tick in told or tick - 1 in told else ())
    (row,) = block.row_frames()
    assert row.log["tick"].tolist() == told
    assert (row.tick, row.unix_ns) == (last, last * 1_000_000_000)


def test_repairs_without_a_row_have_the_time_of_their_tick() -> None:
    block = Block(fussy, entities=3, every_ticks=1000, max_errores=0.05)
    for tick in range(1, 5):
        block.tick([(0, -1.0), (1, 0.5)])
        (frame,) = block.row_frames()
        assert frame.row is None
        assert frame.unix_ns == tick * 1_000_000_000
        assert [int(r["id"]) for r in frame.repairs] == [0]
        assert len(frame.log) == 0


@pytest.mark.parametrize("before", [2**31 - 3, 2**32 - 2])
def test_what_is_counted_between_two_rows_may_pass_32_bits(before: int) -> None:
    """messages go on; errores and reparadas, an integer column each, stay at its last number."""
    block = Block(fussy, entities=3, every_ticks=2, max_errores=0.05)
    block.ticker.targs[K.T_NO_LOG] = 1
    block.tick()
    start = L.OFF_DYN[block.view.word & 1]
    dyn = block.memory[start : start + 8 * L.DYN_WORDS].view(np.uint64)
    for word in (L.D_ROW_ERRORES, L.D_ROW_REPARADAS, L.D_ROW_MENSAJES, L.D_LOG_OMITTED):
        dyn[word] = before
    block.tick([(0, -1.0), (1, -1.0), (2, 1.0), (2, 1.0), (2, 1.0)])
    (frame,) = block.row_frames()
    assert frame.row is not None
    found = {name: int(frame.row[name][0]) for name in ("mensajes", "omitidos")}
    assert found == {"mensajes": before + 3, "omitidos": before + 3}
    most = min(before + 2, 2**31 - 1)
    assert [int(frame.row[name][0]) for name in ("errores", "reparadas")] == [most, most]


@pytest.mark.parametrize("entities", [1000, 65_535])
def test_the_largest_row_frame_fits_into_its_lane(entities: int) -> None:
    """Everything fails, everything emits, the log is full: a quarter of the lane still holds it."""
    bloque = {"id": "a", "canal": 1, "entidades": entities, "max_size_mb": 8,
              "entidades_por_bloque": entities}  # fmt: skip
    plan = make_plan(parse_config({"instance_id": "frames", "bloques": [bloque]}, environ={}))
    log_cap = int(plan.blocks["log_cap"][0])
    largest = frames.row_payload_bytes(1, entities, log_cap)
    capacity = rows_lane_bytes(plan)
    assert largest <= max_payload(capacity)
    assert capacity >= ROWS_LANE_BYTES_MIN
    assert max_payload(capacity_for(largest)) >= largest > max_payload(capacity_for(largest) // 2)


def test_the_largest_block_can_fail_and_emit_at_once() -> None:
    """65,535 entities, all of which emit at one tick and fail at the next."""
    n = 65_535
    block = Block(fussy, entities=n, cap=n, every_ticks=2, lane_bytes=1 << 24)
    block.tick([(i, 1.0) for i in range(n)])
    block.tick([(i, -1.0) for i in range(n)])
    frame = block.row_frames()[-1]
    assert frame.row is not None
    assert np.unique(frame.log["local"]).size == n
    assert set(frame.log["tick"].tolist()) == {1}


@pytest.mark.parametrize("pushed", [2**31 - 1, 2**32 - 1, 2**32, 2**40])
def test_a_history_goes_on_after_any_number_of_pushes(pushed: int) -> None:
    """A count of 32 bits began at 0 again: the history was empty, and its slots went astray."""
    block = Block(fussy, entities=2)
    for k in range(12):
        block.tick([(0, float(k)), (1, float(k))])
    column = block.view.column("last__n")
    slots = 16
    column += pushed // slots * slots  # as if it had been full so often before
    for k in range(12, 20):
        block.tick([(0, float(k)), (1, float(k))])
        values, held = block.view.history("last")
        assert held.tolist() == [8, 8]
        assert values[0].tolist() == [float(v) for v in range(k - 7, k + 1)]
