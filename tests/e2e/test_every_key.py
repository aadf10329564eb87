"""Each key of the schema changed once in the file, and reloaded: it does what ``effect`` says.

What takes effect by reload is seen to; what does not is refused with the sentence that says when it
does, and changes nothing. At the end the instance grows at an upgrade.
"""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corec.config.effect import Effect, effect_of, effects
from corec.control.outcome import last_change
from corec.control.protocol import ControlError
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import rows_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(600)]

READ = '''"""Entities whose value is what was set."""

import corec


@corec.micro(state={"x": "f4"}, params={"pace": 0.25}, genes={"g": (0.0, 1.0, 0.1)}, fitness="x")
def read(me):
    """One of them fails, always."""
    if me.id == 3:
        raise ValueError("always")
    me.x = me.pace + me.globals.beta
    return me.x


@corec.micro(state={"x": "f4"}, params={"pace": 0.25}, genes={"h": (0.0, 1.0, 0.1)}, fitness="x")
def other(me):
    """Another one."""
    return me.pace


@corec.micro(state={"n": "u4"})
def count(me):
    """What comes at the end."""
    me.n = me.n + 1
    return 0.0
'''
SWARM = {"id": "a", "canal": 1, "entidades": 80, "entidades_por_bloque": 40,
         "procesador": "read:read", "parametros": {"pace": 0.25}}  # fmt: skip


def config() -> dict[str, Any]:
    return {
        "instance_id": "corec1", "http": {"port": 0}, "tick_hz": 50, "workers": 1,
        "persist": {"every_ticks": 5}, "streams": {"batch_ms": 2}, "globals": {"beta": 0.0},
        "checkpoint": {"every_seconds": 0}, "bloques": [dict(SWARM)],
    }  # fmt: skip


class One:
    """An instance, and its file as it was last accepted."""

    def __init__(self, one: Instance, run: Running) -> None:
        self.one, self.run, self.file = one, run, config()
        self.folder = Path(one.folder)

    def reload(self, path: str, value: Any, number: int = signal.SIGHUP) -> dict[str, Any]:
        """Change one key of the file and reload; what became of it."""
        file = copy.deepcopy(self.file)
        *way, name = path.split(".")
        place: Any = file
        for key in way:
            place = place[int(key)] if key.isdigit() else place.setdefault(key, {})
        place[name] = value
        self.one.configure(file)
        before = int(last_change(self.folder)["number"])
        os.kill(self.run.pid, number)
        wait_until(lambda: self._number() > before, f"an answer to {path}", 120)
        found: dict[str, Any] = dict(last_change(self.folder))
        if found["accepted"]:
            self.file = file
            self.run.ready()
        return found

    def _number(self) -> int:
        return int(last_change(self.folder)["number"])

    def status(self, key: str) -> Any:
        """Who grows at its start has its nucleus replaced once more."""
        return self.run.answered("status")[key]

    def block(self, key: str) -> Any:
        return self.run.answered("blocks")["blocks"][0][key]

    def rows_every(self, dsn: str) -> int:
        ticks = sorted({int(row["tick"]) for row in rows_of(dsn)})
        return ticks[-1] - ticks[-2] if len(ticks) > 1 else 0


def statistics(dsn: str) -> set[tuple[str, float]]:
    """What the view shows of the swarm."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT medida, valor FROM estadisticas_enjambre WHERE enjambre = 'a'"
        ).fetchall()
    return {(medida, round(valor, 6)) for medida, valor in found if valor is not None}


REFUSED: tuple[tuple[str, Any], ...] = (
    ("instance_id", "other"),
    ("seed", 7),
    ("entidades_por_bloque", 500),
    ("bloques.0.canal", 2),
    ("bloques.0.procesador", "read:other"),
    ("bloques.0.id", "b"),
    ("bloques.0.umbral.inicial", 0.3),
    ("state_dir", "elsewhere"),
    ("runtime_dir", "/dev/shm"),
    ("http.port", 9),
    ("alertas", {"clear_after_ticks": 7}),
    ("tasks", [{"on": "alertas", "canal": 1, "run": "webhook", "url": "http://127.0.0.1:9/"}]),
)


def test_each_key_does_what_the_schema_says(make: Make, pg_dsn: str) -> None:
    made = make(config())
    (made.home / "plugins").mkdir()
    (made.home / "plugins" / "read.py").write_text(READ, encoding="utf-8")
    one = One(made, made.start().ready(120.0))
    tried: set[str] = set()
    wrong: list[str] = []

    def refused(path: str, value: Any) -> None:
        found = one.reload(path, value)
        said = str(effect_of(path.replace(".0.", "[].")))
        if found["accepted"] or said not in found["reason"]:
            wrong.append(f"{path}: expected {said!r}, found {found['reason']!r}")
        tried.add(path)

    def taken(path: str, value: Any, shows: Callable[[], bool]) -> None:
        found = one.reload(path, value)
        assert found["accepted"], (path, found["reason"])
        wait_until(shows, f"{path} = {value!r} to show", 30)
        tried.add(path)

    digits = one.block("media")
    assert digits == pytest.approx(0.25)
    taken("$schema", "corec_config.schema.json", lambda: True)
    taken("tick_hz", 60, lambda: one.status("tick_hz") == 60)
    taken("carga", 0.5, lambda: one.status("carga") == 0.5)
    taken("carga", 1.0, lambda: one.status("carga") == 1.0)
    with pytest.raises(ControlError, match="by itself"):
        one.run.ask("set", changes={"carga": 0.5, "persist.every_ticks": 50})
    assert one.run.ask("set", changes={"carga": 0.5})["value"] == 0.5
    assert one.status("carga") == 0.5
    one.run.ask("set", changes={"carga": 1.0})
    taken("globals.beta", 0.5, lambda: one.block("media") == pytest.approx(0.75))
    taken("bloques.0.parametros.pace", 0.125, lambda: one.block("media") == pytest.approx(0.625))
    taken("bloques.0.umbral", "nunca", lambda: one.block("umbral") is None)
    taken("bloques.0.umbral", {"min": 0.1, "max": 0.9}, lambda: one.block("umbral") is not None)
    repaired = one.block("repairs")
    taken("bloques.0.autoreparacion", {"max_errores": 0.0},
          lambda: one.block("repairs") > repaired)  # fmt: skip
    at = one.status("tick") + 60
    taken("schedule", [{"at": at, "set": {"globals.beta": 0.25}}],
          lambda: one.block("media") == pytest.approx(0.375))  # fmt: skip
    taken("bloques.0.evolucion", {"cada": 10},
          lambda: one.run.ask("evolution")["swarms"][0]["generacion"] > 0)  # fmt: skip
    taken("bloques.0.collect", [{"every": 10, "stats": ["max(x)", "quantile(x, 0.5)"]}],
          lambda: ("max(x)", 0.375) in statistics(pg_dsn))  # fmt: skip
    taken("collect", {"swarm": "a", "every": 5, "stats": ["min(x)"]},
          lambda: ("min(x)", 0.375) in statistics(pg_dsn))  # fmt: skip
    taken("collect", [], lambda: True)
    taken("persist.every_ticks", 7, lambda: one.rows_every(pg_dsn) == 7)
    taken("streams.batch_ms", 5, lambda: True)
    taken("checkpoint.every_seconds", 1, lambda: one.status("checkpoint")["made"] > 0)
    taken("log.level", "error", lambda: True)
    told = one.run.texts()[1].count("configuration changed")
    taken("modules", ["registro"], lambda: True)
    assert one.run.texts()[1].count("configuration changed") == told, "that is no error"
    taken("auditoria", {"filas": 20}, lambda: True)
    taken("workers", 2, lambda: sum(p["role"] == "worker" for p in one.status("processes")) == 2)
    for path, value in REFUSED:
        refused(path, value)
    assert not wrong, "\n".join(wrong)
    assert one.block("media") == pytest.approx(0.375), "what was refused has changed nothing"
    assert {key.partition(".")[0].partition("[")[0] for key in effects()} - {
        path.partition(".")[0] for path in tried
    } == {"db_config", "redis_config", "plugins", "autoreparacion"}
    assert effect_of("db_config") is effect_of("redis_config") is Effect.RESTART
    one.one.configure(one.file)
    tick = one.status("tick")
    more = {"id": "c", "canal": 2, "entidades": 30, "procesador": "read:count"}
    found = one.reload("bloques", [*one.file["bloques"], more], signal.SIGUSR2)
    assert found["accepted"], found["reason"]
    wait_until(lambda: one.status("entidades") == 110, "it has grown at the upgrade", 60)
    wait_until(lambda: one.run.ask("entity", id=109)["estado"]["n"] > 20, "it goes on", 60)
    assert one.run.ask("entity", id=109)["estado"]["n"] < one.status("tick") - tick
    assert one.block("media") == pytest.approx(0.375), "who was there goes on"
    assert one.run.stop().code == 0
