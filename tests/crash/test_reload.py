"""Keys that a reload takes over, with deaths in the middle of it, and what ``set`` half did.

Behind each change the instance is held to a ``corec.World`` that begins at its checkpoint with the
new configuration: digest, rows, messages and statistics. At last a machine is lost right behind a
reload of ``carga``.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import corec
from corec import layout as L
from corec.control.client import Unreachable
from corec.control.outcome import doing, last_change
from tests.crash.test_set import Play
from tests.crash.worlds import armed
from tests.e2e.conftest import Make
from tests.e2e.test_no_room import settings_told
from tests.e2e.test_operator_faults import limited
from tests.support.instance import (
    Instance,
    Running,
    control_word,
    machine_is_lost,
    small_config,
)
from tests.support.ledger import events_of, messages_of, rows_of
from tests.support.processes import is_running, promised, wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

SUBJECTS = Path(__file__).parents[1] / "evolution" / "subjects.py"
MIGRATION = {"cada": 2, "cuantos": 3, "topologia": "azar"}
EVOLUCION = {"cada": 2, "estado": "heredado", "linaje": 0.5, "migracion": MIGRATION}
ROW = ("umbral", "fitness", "media", "desviacion")
STAGE = 5
"""Ticks of each."""


def config(**changes: Any) -> dict[str, Any]:
    """Islands of which one is shorter than the others."""
    islands = {"id": "islands", "canal": 1, "entidades": 50, "entidades_por_bloque": 7,
               "procesador": "evolving_subjects:subject", "evolucion": EVOLUCION}  # fmt: skip
    return {
        "instance_id": "corec1", "http": {"port": 0}, "persist": {"every_ticks": 4},
        "streams": {"batch_ms": 2}, "checkpoint": {"every_seconds": 0, "keep": 9},
        "bloques": [islands | changes.pop("bloque", {})], **changes,
    }  # fmt: skip


STAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("supervisor", {"bloque": {"evolucion": {"cada": 3, "elite": 2, "metodo": "torneo"},
                               "parametros": {"mode": 1.0}}}),
    ("worker 1, nucleus", {
        "bloque": {"collect": {"every": 2, "stats": ["mean(score)", "count(age > 2)"]}},
        "persist": {"every_ticks": 3}}),
    ("worker 0, persister", {"persist": {"every_ticks": 2, "payload": "histogram"}}),
)  # fmt: skip
"""Who dies in the middle, and what is changed."""


class Reloads(Play):
    """An instance whose configuration changes now and then, and the worlds that it should be."""

    def __init__(self, one: Instance) -> None:
        super().__init__(one)
        self.worlds: list[tuple[int, Path, str]] = []
        """The last tick, the configuration and the checkpoint of each stage."""

    def change(self, who: str, changed: dict[str, Any]) -> None:
        """Reload ``changed`` with the deaths of ``who``, and live on with it."""
        made = self.run.answered("snapshot")
        self.one.configure(changed)
        kept = shutil.copy(self.one.config_path, self.one.home / f"stage-{made['tick']}.json")
        self.worlds.append((made["tick"] + STAGE, Path(kept), made["path"]))
        self.run.ready(120.0)
        pids = {name: self.run.pid_of(*_role(name)) for name in ("worker 0", "worker 1", "nucleus",
                                                                 "persister")}  # fmt: skip
        assert all(pids.values())
        before, folder = last_change(self.one.folder)["number"], self.one.folder
        self.run.signal(signal.SIGHUP)

        def begun() -> bool:
            return doing(folder) == "reload" or last_change(folder)["number"] > before

        wait_until(begun, "it is begun", promised(30.0))
        if who == "supervisor":
            wait_until(lambda: not is_running(pids["worker 1"]), "the workers rest", 60.0)
            self.again(kill=True)
        else:
            for name in who.split(", "):
                with suppress(ProcessLookupError):  # it was replaced already
                    os.kill(pids[name], signal.SIGKILL)
            wait_until(lambda: last_change(folder)["number"] > before, "its outcome", 60.0)
            assert last_change(folder)["accepted"], last_change(folder)
        self.until(made["tick"] + STAGE)


def _role(name: str) -> tuple[str, int]:
    role, _, index = name.partition(" ")
    return role, int(index or 0)


def compared(play: Reloads, dsn: str, url: str) -> None:
    """What is in the sinks, against the world of each stage."""
    rows = {(row["id"], row["tick"]): row for row in rows_of(dsn)}
    assert len(rows) == len(rows_of(dsn))
    sent = messages_of(url, 1)
    told = {(e["tick"], e["bloque"]): e["detalle"] for e in events_of(dsn)
            if e["tipo"] == "statistics"}  # fmt: skip
    expected = 0
    for end, path, checkpoint in play.worlds:
        with corec.World(path, checkpoint=checkpoint) as world:
            every = world.config.persist.every_ticks
            for tick in range(world.ticks + 1, end + 1):
                world.run(1)
                emitted = sorted((int(m["id"]), float(m["valor"])) for m in world.messages())
                found = sorted((m.id, m.valor) for m in sent if m.tick == tick)
                assert found == emitted, f"messages of tick {tick}"
                for block in world.blocks() if tick % every == 0 else ():
                    expected += 1
                    row = rows[block["id"], tick]
                    assert {k: row[k] for k in ROW} == {k: block[k] for k in ROW}, (tick, block)
            counted = [e for e in world.events("statistics") if e["tick"] < end]
            assert all(told[e["tick"], e["bloque"]] == e["detalle"] for e in counted)
    first = play.worlds[0][0] - STAGE
    assert sum(tick > first for _, tick in rows) == expected
    assert len(told) > 10


def test_a_reload_with_deaths_in_it(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make(config())
    monkeypatch.setenv("COREC_HOME", str(one.home))
    (one.home / "plugins").mkdir()
    shutil.copy(SUBJECTS, one.home / "plugins" / "evolving_subjects.py")
    play = Reloads(one)
    play.until(4)
    play.run.answered("set", path="bloques.islands.parametros.mode", value=4.0)
    changed: dict[str, Any] = {}
    for who, more in STAGES:
        changed = {**changed, **more, "bloque": changed.get("bloque", {}) | more.get("bloque", {})}
        play.change(who, config(**changed))
    # what was set before it waits in the journal as of the same revision
    end = play.tick()
    play.run.answered("set", path="carga", value=0.9)
    one.configure(config(**changed, carga=0.5))
    assert one.ctl("reload").code == 0
    path = play.run.answered("snapshot")["path"]
    kept = Path(shutil.copy(one.config_path, one.home / "last.json"))
    play.worlds.append((end + STAGE, kept, path))
    machine_is_lost(one, play.run)
    play._begin(one)
    assert play.run.status()["carga"] == 0.5
    play.until(end + STAGE)
    digest = play.run.stop().summary["digest"]
    with corec.World(kept, checkpoint=path) as world:
        world.run(end + STAGE - world.ticks)
        assert world.digest() == digest
    compared(play, pg_dsn, valkey_url)


def test_who_is_replaced_while_a_reload_is_made_runs_what_still_counts(
    make: Make, pg_dsn: str
) -> None:
    """A worker dies within a tick that ends before the change counts: blocks of one tick write
    rows by one rule."""
    config = small_config(tick_hz=50, persist={"every_ticks": 1000})
    one = make(config)
    run = one.start("--workers", "2").ready(120.0).until_tick(5)
    leader, other = (L.slot_base(L.SLOT_WORKER0 + k) for k in range(2))
    persister = L.slot_base(L.SLOT_PERSISTER) + L.S_PID
    before = control_word(one.folder, persister)
    victim = control_word(one.folder, other + L.S_PID)
    os.kill(victim, signal.SIGSTOP)

    def ahead() -> bool:
        return control_word(one.folder, leader + L.S_TICK) > control_word(
            one.folder, other + L.S_TICK
        )

    wait_until(ahead, "the other has done what it has not", promised(5.0))
    within = control_word(one.folder, leader + L.S_TICK)
    one.configure(config | {"persist": {"every_ticks": 1}})
    run.signal(signal.SIGHUP)
    wait_until(lambda: control_word(one.folder, persister) != before, "sinks have it", 60.0)
    with suppress(ProcessLookupError):  # a supervisor that is slow had it killed
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: last_change(one.folder)["number"] > 0, "its outcome", 60.0)
    assert last_change(one.folder)["accepted"], last_change(one.folder)
    run.ready(120.0).until_tick(within + 20)
    blocks, last = len(run.answered("blocks")["blocks"]), run.stop().summary["tick"]
    written = Counter(row["tick"] for row in rows_of(pg_dsn))
    assert written == dict.fromkeys(range(within + 1, last + 1), blocks)


def test_what_the_supervisor_takes_over_is_finished_or_taken_back(make: Make, pg_dsn: str) -> None:
    """The nucleus is killed once it is entered, before it is written down and the supervisor hears
    of it: nobody is answered, and nothing stays half done."""
    one = armed(make(small_config(tick_hz=50)), ["nucleus@settings.counts"] * 2)
    run = one.start("--workers", "2").ready(120.0)

    def outcome(path: str, value: int) -> bool:
        before = last_change(one.folder)["number"]
        with pytest.raises(Unreachable):
            run.ask("set", path=path, value=value)
        wait_until(lambda: last_change(one.folder)["number"] > before, "its outcome", 60.0)
        return bool(last_change(one.folder)["accepted"])

    assert outcome("persist.every_ticks", 2)
    since = run.ready().status()["tick"]
    with limited(run.pid, resource.RLIMIT_FSIZE, 1 << 20):
        assert not outcome("bloques.sensores.entidades", 400)
        wait_until(lambda: settings_told(one) == [None, None, "refused"], "it is taken back", 60.0)
    assert run.answered("grow", bloque="sensores", more=10)["entidades"] == 300
    wait_until(lambda: run.answered("status")["entidades"] == 340, "it has grown", 60.0)
    run.until_tick(since + 20)
    assert run.stop().code == 0
    ticks = {row["tick"] for row in rows_of(pg_dsn) if row["tick"] > since + 2}
    assert {tick % 4 for tick in ticks} == {0, 2}


@pytest.mark.parametrize("point", ["settings.written", "settings.counts"])
def test_what_is_refused_is_taken_back_though_who_does_it_is_killed(make: Make, point: str) -> None:
    """Before what is left counts, its successor asks again, is refused and takes it back; once it
    counts, nothing is left to do."""
    one = armed(make(small_config(tick_hz=50)), [f"nucleus@{point}:2"])
    run = one.start("--workers", "2").ready(120.0)
    before = last_change(one.folder)["number"]
    outcomes = 2 if point == "settings.written" else 1
    with limited(run.pid, resource.RLIMIT_FSIZE, 1 << 20):
        run.answered("set", path="bloques.sensores.entidades", value=400)
        wait_until(lambda: restarted(run) == 1, "who takes it back is killed", 60.0)
        wait_until(
            lambda: last_change(one.folder)["number"] == before + outcomes, "each outcome", 60.0
        )
        assert not last_change(one.folder)["accepted"]
        if outcomes == 2:
            wait_until(lambda: settings_told(one)[-1:] == ["refused"], "it is taken back", 60.0)
    since = run.ready().status()["tick"]
    assert run.answered("grow", bloque="sensores", more=10)["entidades"] == 300
    wait_until(lambda: run.answered("status")["entidades"] == 340, "it has grown", 60.0)
    run.until_tick(since + 20)
    assert run.stop().code == 0


def restarted(run: Running) -> int:
    """How often the nucleus was replaced."""
    rows = run.answered("status")["processes"]
    return int(next(row["restarts"] for row in rows if row["role"] == "nucleus"))


def test_what_is_refused_is_taken_back_however_long_a_worker_is_frozen(make: Make) -> None:
    """The world does not stand still for it within the time that a request has: a worker is frozen
    within a tick, and so is the supervisor, who would replace it."""
    one = make(small_config(tick_hz=50))
    run = one.start("--workers", "2").ready(120.0)
    place = L.slot_base(L.SLOT_WORKER0 + 1) + L.S_PID
    before = last_change(one.folder)["number"]
    with limited(run.pid, resource.RLIMIT_FSIZE, 1 << 20):
        run.answered("set", path="bloques.sensores.entidades", value=400)
        os.kill(control_word(one.folder, place), signal.SIGSTOP)
        wait_until(lambda: last_change(one.folder)["number"] > before, "it is refused", 60.0)
        run.signal(signal.SIGSTOP)
        frozen = control_word(one.folder, place)
        os.kill(frozen, signal.SIGSTOP)  # another one, if that took long
        wait_until(lambda: "between two ticks waits" in run.texts()[1], "it waits", 60.0)
        os.kill(frozen, signal.SIGCONT)
        run.signal(signal.SIGCONT)
        wait_until(lambda: settings_told(one) == [None, "refused"], "it is taken back", 60.0)
    assert not last_change(one.folder)["accepted"]
    assert run.answered("grow", bloque="sensores", more=10)["entidades"] == 300
    wait_until(lambda: run.answered("status")["entidades"] == 340, "it has grown", 60.0)
    assert run.stop().code == 0
