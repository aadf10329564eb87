"""The rules of docs/rules.md at their limits and one beyond: window, umbral, shares, repair."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from corec import layout as L
from corec.config.umbral import Umbral
from corec.entities.processor import celu, micro
from corec.kernels import block_words
from corec.kernels import desc as K
from corec.kernels.running import window
from corec.testing import Block, Rows
from corec.world.commits import commit_word, copy_in, tick_in
from corec.world.tables import settle
from tests.kernels.subjects import listener, worker

BAD = 2000.0
Readings = list[tuple[int, float] | tuple[int, float, bool]]


@micro(state={"runs": "u4"})
def counter(me: Any) -> Any:
    """Counts its runs; fails while its valor is above 1000."""
    if me.valor > 1000.0:
        raise ValueError("too hot")
    me.runs = me.runs + 1
    return me.valor


@celu(state={"x": "f4"}, history={"last": ("f4", 4)})
def taker(me: Any, value: Any) -> Any:
    """Keeps what arrives, four times over; fails above 1000."""
    if value > 1000.0:
        raise ValueError("too hot")
    for _ in range(4):
        me.last.push(value)
    me.x = value
    return value


def repairs(block: Block) -> list[tuple[int, int, int]]:
    """(entity, donor, how) of the tick's repairs, which lie in one frame."""
    found = [frame for frame in block.row_frames() if len(frame.repairs)]
    assert len(found) <= 1
    return [(int(r["id"]), int(r["donor"]), int(r["how"])) for f in found for r in f.repairs]


def row_of(block: Block) -> Rows:
    (frame,) = [frame for frame in block.row_frames() if frame.row is not None]
    return frame


def figures(frame: Rows) -> dict[str, Any]:
    assert frame.row is not None
    return {name: frame.row[name][0] for name in L.ROW.names or ()}


# ------------------------------------------------------------------------------ the window


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 99, 100, 1000, 65_534, 65_535])
def test_the_window_is_as_wide_as_the_decimals_say(n: int) -> None:
    written = {f"0.{k:02d}" for k in range(1, 100)} | {f"0.{k:03d}" for k in range(1, 1000, 7)}
    written |= {"1", "1.0", "0.5", "1e-5", "0.00001", "5e-324", "0.999999", "0.0000152590", "1e-9"}
    for text in sorted(written):
        expected = math.ceil(Decimal(text) * n)
        assert window(n, float(text)) == expected, (n, text)


def test_a_share_that_float64_rounds_is_the_share_it_stands_for() -> None:
    for n in (3, 6, 7, 49, 65_535):
        for k in {1, 2, n // 2 + 1, n - 1, n}:
            assert window(n, k / n) == k
            if k > 1:
                assert window(n, math.nextafter(k / n, 2.0)) == min(k + 1, n)
                assert window(n, math.nextafter(k / n, 0.0)) == k


def test_places_count_whether_or_not_their_entities_are_active() -> None:
    n = 100
    block = Block(counter, entities=n, carga=0.07)
    block.tick([(i, 0.25, False) for i in range(0, 7, 2)])
    assert np.flatnonzero(block.view.column("runs")).tolist() == [1, 3, 5]
    for _ in range(20):
        block.tick()
    runs = block.view.column("runs")
    expected = [2 if i < 21 * 7 - n else 1 for i in range(n)]
    assert runs.tolist() == [0 if i in (0, 2, 4, 6) else runs_ for i, runs_ in enumerate(expected)]
    assert int(block.view.dyn[L.D_UPDATES]) == runs.sum()


def test_the_commit_word_in_plain_python_is_the_one_the_kernels_write() -> None:
    block = Block(counter, entities=4)
    copies = set()
    for tick in range(1, 4):
        block.tick([(0, 0.5)] * (tick % 2))
        word = block.view.word
        assert word == commit_word(tick, 0, copy_in(word))
        copies.add(copy_in(word))
    assert copies == {0, 1}


@pytest.mark.parametrize("tick", [0, 1, 2**47 - 1])
@pytest.mark.parametrize("step", [0, L.STEP_IN_WORD, L.STEP_IN_WORD + 1])
@pytest.mark.parametrize("copy", [0, 1])
def test_no_part_of_a_commit_word_reaches_into_another(tick: int, step: int, copy: int) -> None:
    word = commit_word(tick, step, copy)
    assert (tick_in(word), copy_in(word)) == (tick, copy)
    assert (word >> 1) & L.STEP_IN_WORD == step % (L.STEP_IN_WORD + 1)
    assert tick_in(np.array([word], np.uint64)).tolist() == [tick]
    compiled = np.uint64(word)
    assert int(block_words.word_of(tick, step, copy)) == word
    assert block_words.tick_of(compiled) == tick
    assert block_words.copy_of(compiled) == copy


# ------------------------------------------------------------------------------ umbral


def umbral_after(carga: float, umbral: Umbral | None = None, **options: Any) -> float:
    block = Block(counter, entities=8, carga=carga, umbral=umbral, **options)
    block.tick()
    return float(block.view.number(L.D_UMBRAL))


@pytest.mark.parametrize("carga", [1.0, 0.9, 0.5, 0.2, 0.1, 1e-9])
def test_less_carga_raises_the_umbral(carga: float) -> None:
    assert umbral_after(carga) == float(np.float32(min(0.5 * (2.0 - carga), 0.9)))


def sent(block: Block) -> list[int]:
    return [int(i) for frame in block.messages() for i in frame.messages["id"]]


def test_umbral_fixed_always_and_never() -> None:
    readings: Readings = [(0, -3.0e38), (1, 0.0), (2, 0.7), (3, 0.71), (4, BAD), (5, 900.0)]
    expected = {0.7: [3, 5], -math.inf: [0, 1, 2, 3, 5], math.inf: [], -1.0: [1, 2, 3, 5]}
    for limit, ids in expected.items():
        for processor in (counter, taker):
            umbral = Umbral.fixed(limit)
            block = Block(processor, entities=6, umbral=umbral, max_errores=1.0, every_ticks=1)
            for _ in range(3):
                block.tick(readings)
                assert sent(block) == ids, limit
            row = block.row_frames()[-1]
            assert row.row is not None
            assert row.row["umbral"][0] == np.float32(limit)


def test_umbral_starts_where_it_is_told_and_stays_within_its_limits() -> None:
    block = Block(counter, entities=4, umbral=Umbral(min=10.0, max=500.0, inicial=20.0))
    block.tick([(0, 20.0), (1, 20.5), (2, 900.0), (3, 15.0)])
    assert sent(block) == [1, 2]
    sigma = float(np.std([20.0, 20.5, 900.0, 15.0], ddof=1))
    assert block.view.number(L.D_UMBRAL) == float(np.float32(0.5 + 0.3 * sigma))
    block.tick([(i, 1.0) for i in range(4)])
    assert block.view.number(L.D_UMBRAL) == 10.0


def change(block: Block, umbral: Umbral) -> None:
    """New limits between two ticks, as a reload brings them."""
    settled = replace(block.plan.swarms[0], umbral=umbral.limits)
    settle(block.tables.swarms, block.tables.params, replace(block.plan, swarms=(settled,)))


def test_changed_limits_hold_from_the_next_tick_on() -> None:
    block = Block(counter, entities=3)
    readings: Readings = [(0, 0.3), (1, 0.6), (2, 7.0)]
    block.tick(readings)
    assert sent(block) == [1, 2]
    change(block, Umbral.fixed(5.0))
    block.tick(readings)
    assert sent(block) == [2]
    change(block, Umbral.fixed(-math.inf))
    block.tick(readings)
    assert sent(block) == [0, 1, 2]
    change(block, Umbral())
    block.tick(readings)
    assert sent(block) == [0, 1, 2]  # −∞ moved to 0.1


# ------------------------------------------------------------------------------ errores


@pytest.mark.parametrize("n", [1, 3, 7, 50, 100, 1000])
@pytest.mark.parametrize("share", ["0", "0.05", "0.07", "0.29", "0.3", "0.57", "0.58", "1"])
def test_max_errores_is_decided_by_the_decimals(n: int, share: str) -> None:
    most = math.floor(Fraction(share) * n)
    for failing in {most, most + 1} & set(range(n + 1)):
        block = Block(counter, entities=n, max_errores=float(share))
        block.tick()
        block.tick([(i, BAD) for i in range(failing)])
        found = repairs(block)
        assert len(found) == (failing if failing > most else 0), failing
        assert int(block.view.dyn[L.D_ERRORES]) == failing


def test_an_entity_counts_once_in_a_tick_however_often_it_fails() -> None:
    n = 3
    block = Block(taker, entities=n, max_errores=1.0, every_ticks=2)
    for _ in range(2):
        block.tick([(k % 2, BAD) for k in range(10_000)])
        assert int(block.view.dyn[L.D_ERRORES]) == 2
    row = figures(row_of(block))
    assert row["errores"] == 4
    assert block.view.fallos.tolist() == [10_000, 10_000, 0]
    assert int(block.view.dyn[L.D_FAILURES]) == 20_000
    assert block.view.number(L.D_FITNESS) == 0.9 * (0.9 + 0.1 * (1 - 2 / 3)) + 0.1 * (1 - 2 / 3)
    assert block.view.number(L.D_UMBRAL) == float(np.float32(0.5 + 0.2 * 2 / 3))


def test_counts_of_failures_stay_at_their_last_number() -> None:
    block = Block(taker, entities=2, max_errores=1.0)
    block.view.fallos[0] = 2**32 - 2
    block.tick([(0, BAD)] * 300)
    assert block.view.fallos[0] == 2**32 - 1
    assert block.view.racha.tolist() == [L.RACHA_MAX, L.NO_RUN]
    block.tick([(0, 1.0)])
    assert block.view.racha.tolist() == [0, L.NO_RUN]


# ------------------------------------------------------------------------------ repair


@pytest.mark.parametrize("between", [0, 5, 4096, 10_000])
def test_who_is_repaired_does_not_depend_on_hidden_steps(between: int) -> None:
    """Readings between the failures cut the tick into steps; the repair is the same."""
    block = Block(taker, entities=6, max_errores=0.1)
    block.tick([(i, 10.0 * i) for i in range(5)])
    assert repairs(block) == []
    readings: Readings = [(1, BAD), (2, BAD), (3, BAD), (2, BAD)]
    readings += [(4, 1.0 + k % 3) for k in range(between)]
    readings += [(3, 7.0), (1, BAD, False), (5, BAD)]
    block.tick(readings)
    donor_of_5 = 0
    assert repairs(block) == [
        (1, 3, L.REPAIR_INHERIT),
        (2, 2, L.REPAIR_RESET),
        (5, donor_of_5, L.REPAIR_INHERIT),
    ]
    view = block.view
    last = 1.0 + (between - 1) % 3 if between else 40.0
    assert view.column("x").tolist() == [0.0, 7.0, 0.0, 7.0, last, 0.0]
    assert view.activo.tolist() == [1, 0, 1, 1, 1, 1]
    values, held = view.history("last")
    assert held.tolist() == [4, 4, 0, 4, 4, 0]  # a donor hands on no history
    assert values[1].tolist() == [10.0] * 4
    assert int(view.dyn[L.D_ERRORES]) == 4


def test_twice_running_means_the_last_two_runs() -> None:
    block = Block(taker, entities=4, max_errores=0.0)
    block.tick([(3, 5.0), (0, BAD), (0, 1.0)])
    assert repairs(block) == []
    block.tick([(0, BAD)])
    assert repairs(block) == [(0, 3, L.REPAIR_INHERIT)]
    block.tick([(0, 2.0), (0, BAD)])
    assert repairs(block) == [(0, 3, L.REPAIR_INHERIT)]
    for _ in range(3):
        block.tick()
    block.tick([(0, BAD)])
    assert repairs(block) == [(0, 0, L.REPAIR_RESET)]
    block.tick([(0, BAD)])
    assert repairs(block) == [(0, 3, L.REPAIR_INHERIT)]  # since its reset it failed once


def test_healthy_is_who_is_active_and_ran_well_the_last_time() -> None:
    block = Block(counter, entities=10, carga=0.2, max_errores=0.0)
    block.tick([(1, BAD)])  # 0 and 1 run
    assert repairs(block) == [(1, 0, L.REPAIR_INHERIT)]
    block.tick([(2, BAD), (3, BAD)])  # 2 and 3 run; 0 lies outside the window
    assert repairs(block) == [(2, 0, L.REPAIR_INHERIT), (3, 0, L.REPAIR_INHERIT)]
    block.tick([(4, BAD), (5, BAD), (0, 0.5, False)])  # nobody active has run well
    assert repairs(block) == [(4, 4, L.REPAIR_RESET), (5, 5, L.REPAIR_RESET)]
    block.tick([(7, BAD)])  # 6 and 7 run
    assert repairs(block) == [(7, 6, L.REPAIR_INHERIT)]


def test_a_celu_entity_that_never_ran_is_no_donor() -> None:
    block = Block(taker, entities=4, max_errores=0.0)
    block.tick([(1, BAD)])
    assert repairs(block) == [(1, 1, L.REPAIR_RESET)]
    block.tick([(3, 8.0)])
    block.tick([(1, BAD)])
    assert repairs(block) == [(1, 3, L.REPAIR_INHERIT)]
    assert block.view.column("x")[1] == 8.0
    block.tick([(3, 8.0, False), (0, BAD)])
    assert repairs(block) == [(0, 0, L.REPAIR_RESET)]


@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("processor", [worker, listener], ids=["micro", "celu"])
def test_all_failing_go_back_to_their_start(processor: Any, n: int) -> None:
    block = Block(processor, entities=n, max_errores=0.5)
    start = Block(processor, entities=n).view
    for _ in range(3):
        block.tick([(i, BAD) for i in range(n)])
        assert [how for _, _, how in repairs(block)] == [L.REPAIR_RESET] * n
        for name in ("valor", *(f.name for f in processor.state)):
            expected = start.column(name)
            np.testing.assert_array_equal(block.view.column(name), expected, err_msg=name)
    assert block.view.number(L.D_MEDIA) == 0.0
    assert block.view.number(L.D_UMBRAL) == float(np.float32(0.7))
    assert block.messages() == []


def test_media_stays_while_there_is_no_good_value_and_sigma_of_umbral_is_0() -> None:
    block = Block(taker, entities=4, every_ticks=1)
    block.tick([(0, 1.0), (1, 3.0)])
    block.row_frames()
    block.tick()
    row = figures(row_of(block))
    assert (row["media"], row["desviacion"]) == (2.0, math.sqrt(2.0))
    assert row["umbral"] == 0.5
    assert row["histograma"].sum() == 0


def test_the_histogram_counts_what_ran_well_in_the_tick_of_the_row() -> None:
    block = Block(taker, entities=6, every_ticks=2, max_errores=0.1)
    block.tick([(0, 900.0), (1, 1.0)])
    block.tick([(1, 2.0), (1, 4.0), (2, 4.0), (2, BAD), (3, 6.0), (4, BAD), (4, 8.0)])
    row = figures(row_of(block))
    assert (row["hist_min"], row["hist_max"]) == (4.0, 8.0)
    assert np.flatnonzero(row["histograma"]).tolist() == [0, 8, 15]
    assert row["histograma"].sum() == 3
    micro_block = Block(counter, entities=6, every_ticks=1, carga=0.5)
    micro_block.tick([(0, BAD), (1, 0.5), (2, 1.5), (4, 7.0)])
    row = figures(row_of(micro_block))
    assert (row["hist_min"], row["hist_max"], row["histograma"].sum()) == (0.5, 1.5, 2)


def test_a_full_step_of_failures_has_room() -> None:
    block = Block(taker, entities=1000, max_errores=0.0, lane_bytes=1 << 21)
    count = 3 * K.STEP_INPUTS_MAX + 1
    block.tick([(k % 1000, BAD) for k in range(count)])
    assert len(repairs(block)) == 1000
    assert int(block.view.dyn[L.D_FAILURES]) == count
