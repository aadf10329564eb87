"""Every rule of CONTRACT §3 on one block, against the slow reference, over random histories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corec import layout as L
from corec.entities.processor import Processor
from corec.testing import Block, Rows
from tests.kernels.reference import Reading, Reference, Tick
from tests.kernels.subjects import listener, worker

EVERY = 3
VALUES = st.sampled_from([0.0, 0.5, 0.75, 2.0, -3.5, 2000.0, -2000.0, 2000.0, 0.25])


def hold_against(block: Block, model: Reference, done: Tick) -> None:
    """The committed state of ``block`` is that of ``model`` after the tick ``done``."""
    view, n = block.view, block.n
    assert view.tick == model.tick
    names = ["valor", *(f.name for f in block.processor.state)]
    for name in names:
        expected = [e.state[name] for e in model.entities]
        np.testing.assert_array_equal(view.column(name), np.array(expected), err_msg=name)
    for ring in block.processor.history:
        values, held = view.history(ring.name)
        for i in range(n):
            kept = [float(v) for v in model.entities[i].state[ring.name]]
            assert values[i][ring.length - int(held[i]) :].tolist() == kept
    assert view.activo.tolist() == [e.activo for e in model.entities]
    assert view.fallos.tolist() == [e.fallos for e in model.entities]
    assert view.racha.tolist() == [e.racha for e in model.entities]
    for word, number in (
        (L.D_UMBRAL, model.umbral),
        (L.D_FITNESS, model.fitness),
        (L.D_MEDIA, model.media),
        (L.D_DESVIACION, model.desviacion),
        *((L.D_MEAN0 + k, model.means[name]) for k, name in enumerate(block.processor.means)),
    ):
        assert view.number(word) == number, word
    assert int(view.dyn[L.D_ERRORES]) == done.errores
    assert int(view.dyn[L.D_ACTIVAS]) == sum(e.activo for e in model.entities)


def hold_frames(block: Block, model: Reference, done: Tick, with_row: bool) -> None:
    """The frames of the tick: messages byte for byte, repairs, and the row with its log."""
    sent = b"".join(frame.messages.tobytes() for frame in block.messages())
    assert sent == b"".join(done.messages)
    frames = block.row_frames()
    repairs = [tuple(r)[:3] for frame in frames for r in frame.repairs.tolist()]
    base = block.first_id
    assert repairs == [(base + i, base + j, how) for i, j, how in done.repairs]
    rows = [frame for frame in frames if frame.row is not None]
    assert len(rows) == with_row
    if with_row:
        hold_row(rows[0], block, model)
        model.begin_row()


def hold_row(frame: Rows, block: Block, model: Reference) -> None:
    """The row says what the model counted since the last one."""
    assert frame.row is not None
    row = {name: frame.row[name][0] for name in L.ROW.names or ()}
    assert row["unix_ns"] == model.tick * 1_000_000_000
    assert row["desde"] == model.row_tick + 1
    assert (row["block"], row["canal"]) == (0, model.canal)
    assert row["num_entidades"] == model.n
    assert row["activas"] == sum(e.activo for e in model.entities)
    for name, count in model.since.items():
        assert row[name] == count, name
    assert row["omitidos"] == 0
    assert row["carga"] == model.carga
    for name in ("umbral", "fitness", "media", "desviacion"):
        assert row[name] == getattr(model, name), name
    low, high, counts = model.histogram()
    assert (row["hist_min"], row["hist_max"]) == (low, high)
    assert row["histograma"].tolist() == counts
    log = [(int(e["local"]), int(e["tick"]), e["valor"]) for e in frame.log]
    assert log == model.log


def play(
    processor: Processor, n: int, ticks: list[list[Reading]], **options: Any
) -> tuple[Block, Reference]:
    """Run block and model through ``ticks``, holding one against the other after each."""
    block = Block(processor, entities=n, every_ticks=EVERY, **options)
    model = Reference(processor, n, **options)
    first = options.get("first_id", 0)
    for number, readings in enumerate(ticks, 1):
        block.tick([(first + i, value, activo) for i, value, activo in readings])
        done = model.step(readings)
        hold_against(block, model, done)
        hold_frames(block, model, done, number % EVERY == 0)
    return block, model


@st.composite
def histories(draw: st.DrawFn, sizes: st.SearchStrategy[int], per_entity: int) -> Any:
    n = draw(sizes)
    reading = st.tuples(st.integers(0, n - 1), VALUES, st.sampled_from([True, True, True, False]))
    ticks = []
    for _ in range(draw(st.integers(1, 8))):
        found = draw(st.lists(reading, max_size=3 * n))
        count: dict[int, int] = {}
        kept = []
        for i, value, activo in found:
            count[i] = count.get(i, 0) + 1
            if count[i] <= per_entity:
                kept.append((i, value, activo))
        ticks.append(kept)
    return n, ticks


OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.sampled_from([0, 42, 2**64 - 1]),
        "first_id": st.sampled_from([0, 1, 2, 3, 4_294_960_000 + 3]),
        "max_errores": st.sampled_from([0.0, 0.05, 0.3, 1.0]),
        "canal": st.sampled_from([1, -128, 127]),
    }
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(histories(st.integers(1, 33), 3), OPTIONS, st.sampled_from([1.0, 1.0, 0.5, 0.3, 0.01]))
def test_micro_blocks_follow_the_rules(
    history: tuple[int, list[list[Reading]]], options: dict[str, Any], carga: float
) -> None:
    n, ticks = history
    play(worker, n, ticks, carga=carga, **options)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(histories(st.integers(1, 20), 4), OPTIONS)
def test_celu_blocks_follow_the_rules(
    history: tuple[int, list[list[Reading]]], options: dict[str, Any]
) -> None:
    n, ticks = history
    play(listener, n, ticks, **options)


@pytest.mark.parametrize(("n", "first_id"), [(1, 3), (7, 1), (999, 2), (1000, 0)])
def test_odd_counts_and_first_ids(n: int, first_id: int) -> None:
    hot: list[Reading] = [(i, 2000.0, True) for i in range(0, n, 5)]
    quiet: list[Reading] = [(n - 1, 0.5, False)]
    play(worker, n, [[], hot, quiet, []], seed=42, first_id=first_id, carga=0.8)


def test_the_window_rotates_over_all_entities() -> None:
    n, carga = 10, 0.3
    block = Block(worker, entities=n, carga=carga)
    runs = np.zeros(n, np.int64)
    for tick in range(1, 11):
        before = block.view.column("count").astype(np.int64).copy()
        block.tick()
        ran = block.view.column("count") - before
        assert ran.sum() == math.ceil(n * carga)
        runs += ran
        if tick * 3 % 10 == 0:
            assert len(set(runs.tolist())) == 1
    assert runs.tolist() == [3] * n


def test_a_processor_that_raises_fails_its_entity_only() -> None:
    block = Block(worker, entities=50, max_errores=1.0)
    quiet = Block(worker, entities=50, max_errores=1.0)
    block.tick([(7, 2000.0)])
    quiet.tick()
    others = np.arange(50) != 7
    for name in ("valor", "x", "count"):
        ours, theirs = block.view.column(name), quiet.view.column(name)
        np.testing.assert_array_equal(ours[others], theirs[others])
    start = Block(worker, entities=50).view
    assert block.view.column("x")[7] == start.column("x")[7]
    assert block.view.column("count")[7] == 3
    assert block.view.column("valor")[7] == 2000.0  # the reading; the failed call set nothing
    assert block.view.fallos.tolist() == [int(i == 7) for i in range(50)]
    assert all(7 not in frame.messages["id"] for frame in block.messages())
    assert block.view.number(L.D_FITNESS) == pytest.approx(0.9 + 0.1 * 0.98)


def test_repair_inherits_then_resets_and_resets_when_nobody_is_healthy() -> None:
    block = Block(worker, entities=4, max_errores=0.0)
    block.tick([(1, 2000.0), (2, -2000.0)])
    (frame,) = block.row_frames()
    assert [tuple(r)[:3] for r in frame.repairs.tolist()] == [
        (1, 3, L.REPAIR_INHERIT),
        (2, 3, L.REPAIR_INHERIT),
    ]
    assert block.view.column("x")[1] == block.view.column("x")[3]
    block.tick([(1, 2000.0)])
    (frame,) = block.row_frames()
    assert frame.repairs["how"].tolist() == [L.REPAIR_RESET]
    start = Block(worker, entities=4).view
    assert block.view.column("x")[1] == start.column("x")[1]
    assert block.view.column("valor")[1] == 0.25
    block.tick([(i, 2000.0) for i in range(4)])
    (frame,) = block.row_frames()
    assert frame.repairs["how"].tolist() == [L.REPAIR_RESET] * 4
    assert block.view.fallos.tolist() == [3, 3, 2, 1] or block.view.fallos.sum() == 7


def test_the_log_of_messages_is_bounded_and_what_is_left_out_is_counted() -> None:
    from corec.kernels import desc as K

    block = Block(worker, entities=100, every_ticks=4)
    block.tables.blocks[0, K.B_LOG_CAP] = 30
    sent = 0
    for _ in range(4):
        block.tick()
        sent += sum(frame.messages.size for frame in block.messages())
    (frame,) = block.row_frames()
    assert frame.row is not None
    assert sent > 30
    assert frame.log.size == 30
    assert frame.row["mensajes"][0] == sent
    assert frame.row["omitidos"][0] == sent - 30
    block.tick()
    assert (
        int(block.view.dyn[L.D_LOG_OMITTED]) == 0
        or sum(frame.messages.size for frame in block.messages()) > 30
    )


def test_without_a_log_the_messages_are_sent_all_the_same_and_counted() -> None:
    from corec.kernels import desc as K

    blocks = [Block(worker, entities=100, every_ticks=4) for _ in range(2)]
    blocks[1].ticker.targs[K.T_NO_LOG] = 1
    sent = []
    for _ in range(4):
        for block in blocks:
            block.tick()
        sent.append([[frame.messages.tobytes() for frame in b.messages()] for b in blocks])
    assert all(kept == not_kept for kept, not_kept in sent)
    (kept,), (not_kept,) = (block.row_frames() for block in blocks)
    assert kept.row is not None
    assert not_kept.row is not None
    assert kept.log.size == kept.row["mensajes"][0] == not_kept.row["mensajes"][0] > 0
    assert not_kept.log.size == 0
    assert not_kept.row["omitidos"][0] == not_kept.row["mensajes"][0]
    assert kept.row["histograma"].tolist() == not_kept.row["histograma"].tolist()
