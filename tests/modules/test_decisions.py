"""What the modules decide, without an instance."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corec import layout as L
from corec.modules.anomalies import ERRORES, MEDIA, ROWS_MIN, Audit, figures
from corec.modules.ejecucion import (
    CALM_SECONDS,
    CALM_SECONDS_MAX,
    LEAST_SHARE,
    OVERLOADED_SECONDS,
    RELAPSE_SECONDS,
    Balance,
    Look,
)
from corec.modules.evolucion import PATIENCE_GENERATIONS, Best, standstill
from corec.modules.registro import Book, Known, News, news
from corec.modules.sincronizacion import left_alone

HZ = 20.0


class World:
    """One that needs ``work`` seconds of computing a tick at carga 1; a look a second."""

    def __init__(self, work: float) -> None:
        self.work, self.carga, self.asked, self.seconds = work, 1.0, 1.0, 0
        self.balance = Balance()
        self.told: list[tuple[int, float]] = []

    def look(self, **changes: Any) -> None:
        took = self.work * self.carga
        ticks = max(1, int(min(HZ, 1.0 / took)))
        late = int(HZ) if took * HZ > 1.0 else 0
        look = Look(1.0, HZ, ticks, late, ticks * took, waited=False)._replace(**changes)
        self.seconds += 1
        wanted = self.balance.decide(look, self.carga, self.asked)
        if wanted is not None:
            self.carga = wanted
            self.told.append((self.seconds, wanted))

    def run(self, seconds: int, **changes: Any) -> None:
        for _ in range(seconds):
            self.look(**changes)


def test_an_overload_lowers_carga_until_the_ticks_fit_and_not_before_it_lasts() -> None:
    world = World(work=0.1)
    world.run(int(OVERLOADED_SECONDS) - 1)
    assert world.told == []
    world.run(1)
    assert world.told == [(5, 0.5)]
    world.run(60)
    assert world.work * world.carga * HZ <= 1.0
    settled = world.carga
    world.run(3600)
    assert world.carga == settled, "it swings"


def test_carga_comes_back_step_by_step_and_more_slowly_after_a_relapse() -> None:
    world = World(work=0.1)
    world.run(20)
    world.work = 0.01
    world.told.clear()
    world.run(60)
    assert world.carga == 1.0
    assert {b - a for (a, _), (b, _) in pairwise(world.told)} == {CALM_SECONDS}
    world.carga, world.told = 0.5, []
    world.run(int(CALM_SECONDS))
    assert world.told[-1][1] == 0.625
    world.work = 0.1
    world.run(int(OVERLOADED_SECONDS))  # a relapse
    assert world.carga < 0.625
    world.work, world.told, start = 0.01, [], world.seconds
    world.run(int(2 * CALM_SECONDS))
    assert [t - start for t, _ in world.told] == [2 * CALM_SECONDS]


def test_a_relapse_doubles_the_wait_up_to_a_limit() -> None:
    balance = Balance()
    over = Look(1.0, HZ, 10, 20, 1.0, waited=False)
    for _ in range(20):
        balance._since_raise = 0.0
        balance._lowered(over, 0.5, 1.0)
    assert balance._wait == CALM_SECONDS_MAX
    balance._since_raise = RELAPSE_SECONDS
    balance._lowered(over, 1.0, 1.0)
    assert balance._wait == CALM_SECONDS


@pytest.mark.parametrize(
    "changes",
    [{"waited": True}, {"busy_seconds": 0.1}, {"late": 3}],
    ids=["a sink is full", "others take the time", "a hiccup"],
)
def test_what_is_no_overload(changes: dict[str, Any]) -> None:
    world = World(work=0.1)
    world.run(100, **changes)
    assert world.told == []


def test_a_standstill_is_no_overload_but_a_long_tick_is() -> None:
    stopped = Look(60.0, HZ, 20, 1200, 0.6, waited=False)
    assert stopped.overloaded
    assert Balance().decide(stopped, 1.0, 1.0) is None
    assert Balance().decide(Look(6.0, HZ, 1, 120, 5.9, waited=False), 1.0, 1.0) == 0.5


def test_the_limits_of_carga() -> None:
    world = World(work=1e6)
    world.run(200)
    assert world.carga == LEAST_SHARE
    world.asked, world.carga = 0.004, 0.004
    world.run(200)
    assert world.carga == pytest.approx(LEAST_SHARE * 0.004)
    world.asked = 0.0001
    world.run(1)
    assert world.carga == 0.0001, "an operator wants less than counts"
    assert Balance().decide(Look(1.0, HZ, 20, 0, 0.1, waited=False), 1.0, 1.0) is None


def test_an_overload_that_was_interrupted_begins_anew() -> None:
    world = World(work=0.1)
    world.run(4)
    world.balance.rest()
    world.run(4)
    assert world.told == []


# ---------------------------------------------------------------- registro


def swarm(name: str, entidades: int = 10, activas: int = 10) -> dict[str, Any]:
    return {"id": name, "canal": 1, "entidades": entidades, "bloques": 1, "activas": activas}


def told(known: dict[str, Known], *swarms: dict[str, Any]) -> list[tuple[str | None, str]]:
    found = [*news(known, swarms)]
    known.update({one.swarm: one.known for one in found})
    return [(one.tipo, one.swarm) for one in found]


def test_a_swarm_is_registered_grows_retires_and_returns() -> None:
    known: dict[str, Known] = {}
    assert told(known, swarm("a"), swarm("b")) == [("swarm_registered", n) for n in "ab"]
    assert told(known, swarm("a"), swarm("b")) == []
    assert told(known, swarm("a", 12), swarm("b")) == [("swarm_grown", "a")]
    assert told(known, swarm("a", 12), swarm("b", activas=0)) == [("swarm_retired", "b")]
    assert told(known, swarm("a", 12), swarm("b", activas=0)) == []
    assert told(known, swarm("a", 12), swarm("b")) == [("swarm_registered", "b")]
    assert told(known, swarm("a", 11), swarm("b")) == [(None, "a")]
    assert told(known, swarm("a", 12)) == [("swarm_grown", "a")]
    assert told({}, swarm("c", activas=0)) == [("swarm_registered", "c"), ("swarm_retired", "c")]


def test_the_register_knows_what_a_killed_one_had_told(tmp_path: Path) -> None:
    one = News("swarm_registered", "a", {}, Known(10, 1, retired=False))

    def opened(head: int, epoch: int = 7) -> dict[str, Known]:
        book = Book(tmp_path / "registro.json", epoch)
        book.open(head)
        return book.known

    assert opened(0) == {}
    book = Book(tmp_path / "registro.json", 7)
    book.tells(one, head=100)
    assert opened(100) == {}, "killed before the event was in its lane"
    assert opened(160) == {"a": one.known}, "killed behind it"
    book.told(one)
    assert opened(0) == {"a": one.known}
    assert opened(0, epoch=8) == {}
    (tmp_path / "registro.json").write_text("{")
    assert opened(0) == {}


# ---------------------------------------------------------------- evolucion


def test_a_standstill_is_told_once_until_there_is_a_better_one() -> None:
    known: dict[str, Best] = {}

    def at(generation: int, mejor: float | None, cada: int | None = 1) -> int:
        one = {"id": "s", "generacion": generation, "mejor": mejor, "cada": cada}
        return len(standstill(known, [one]))

    assert at(0, None) == 0
    assert at(1, -5.0) == 0
    assert at(PATIENCE_GENERATIONS, -5.0) == 0
    assert at(PATIENCE_GENERATIONS + 1, -5.0) == 1
    assert at(500, -4.9999) == 0
    assert at(501, -4.0) == 0
    assert at(501 + PATIENCE_GENERATIONS, -4.0) == 1
    assert at(2, -9.0) == 0, "a world that was restored begins anew"
    assert at(900, -9.0, cada=None) == 0


# ---------------------------------------------------------------- sincronizacion


def test_who_is_weak_and_has_nobody() -> None:
    def alone(fitness: list[float], kind: list[int]) -> set[int]:
        n = len(fitness)
        return left_alone(np.array(fitness), np.full(n, 0.2), np.array(kind))

    assert alone([0.1, 0.9], [0, 0]) == set()
    assert alone([0.1, 0.9], [0, 1]) == {0}
    assert alone([0.1, 0.3, 0.15], [0, 0, 0]) == {0, 2}, "nobody is above a half"
    assert alone([0.1, 0.1], [-1, -1]) == set()
    assert alone([0.2, 0.2], [0, 0]) == set()


# ---------------------------------------------------------------- auditoria


def audited(entities: int = 1000, blocks: int = 5, rows: int = 32, seed: int = 3) -> Any:
    """An audit that has seen a full history of calm rows, and a maker of more of them."""
    draw = np.random.default_rng(seed)

    def calm() -> Any:
        found = np.empty((blocks, 4))
        found[:, 0] = 0.5 + draw.normal(0.0, 0.2 / np.sqrt(entities), blocks)
        found[:, 1] = 0.2 + draw.normal(0.0, 0.2 / np.sqrt(2 * entities), blocks)
        found[:, 2] = 0.0
        found[:, 3] = draw.poisson(0.01 * entities, blocks) / entities
        return found

    audit = Audit(np.full(blocks, entities), rows, 8.0)
    which = np.arange(blocks)
    for _ in range(rows):
        assert audit.take(which, calm()) == []
    return audit, calm, which


def test_calm_blocks_are_never_unlike_themselves() -> None:
    audit, calm, which = audited(blocks=50)
    assert [audit.take(which, calm()) for _ in range(300)] == [[]] * 300


def test_a_block_that_fails_is_told_of_once_and_again_after_it_was_itself() -> None:
    audit, calm, which = audited()
    bad = calm()
    bad[3, ERRORES] = 0.05
    assert audit.take(which, bad) == [], "one wild row"
    (found,) = audit.take(which, bad)
    assert (found.block, found.column, found.value, found.median) == (3, "errores", 0.05, 0.0)
    assert found.score == pytest.approx(50.0)
    assert audit.take(which, bad) == []
    assert audit.take(which, calm()) == []
    assert audit.take(which, bad) == []
    assert len(audit.take(which, bad)) == 1


def test_the_worst_comes_first_and_a_new_normal_is_one() -> None:
    audit, calm, which = audited(rows=16)
    found = []
    for _ in range(40):
        row = calm()
        row[[1, 2], MEDIA] += [0.3, 0.6]
        found.append([one.block for one in audit.take(which, row)])
    assert [one for one in found if one] == [[2, 1]]
    back = [audit.take(which, calm()) for _ in range(2)]
    assert [one.block for one in back[1]] == [2, 1], "what was normal once is not any more"


def test_a_short_history_and_a_mean_that_is_no_number_say_nothing() -> None:
    audit = Audit(np.full(2, 10), 32, 3.0)
    which = np.arange(2)
    for k in range(ROWS_MIN):
        assert audit.take(which, np.full((2, 4), 1e9 * (k % 2))) == []
    audit, calm, which = audited()
    for value in (np.nan, np.inf):
        for _ in range(3):
            row = calm()
            row[0] = value
            assert audit.take(which, row) == []
    assert audit.take(which, calm()) == []


def test_figures_of_two_rows() -> None:
    before = np.zeros((1, L.DYN_WORDS), np.uint64)
    now = before.copy()
    now[0, [L.D_TICK, L.D_FAILURES, L.D_MESSAGES]] = 20, 50, 400
    now.view(np.float64)[0, [L.D_MEDIA, L.D_DESVIACION]] = 0.5, 0.25
    assert figures(before, now, np.array([10.0])).tolist() == [[0.5, 0.25, 0.25, 2.0]]
    assert np.isnan(figures(now, now, np.array([10.0]))[0, 2:]).all()
