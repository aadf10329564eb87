"""The modules in running instances: what they do, that it is told, and that a replay follows."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

import corec
from corec.config import ConfigError, parse_config
from corec.control.client import Unreachable
from corec.modules.anomalies import COLUMNS
from corec.modules.forest import ISOLATED, Forest, available
from corec.nucleus.loadable import check_loadable
from tests.crash.worlds import armed, killed
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SUBJECTS = Path(__file__).with_name("subjects.py")


def made(make: Make, *bloques: dict[str, Any], **changes: Any) -> Instance:
    """An instance that finds the subjects."""
    whole = [{"canal": k + 1, "entidades": 100, "entidades_por_bloque": 50, **one}
             for k, one in enumerate(bloques)]  # fmt: skip
    one = make({"instance_id": "corec1", "http": {"port": 0}, "bloques": whole, **changes})
    for folder in (one.home / "plugins", one.config_path.parent):
        folder.mkdir(exist_ok=True)
        shutil.copy(SUBJECTS, folder / "module_subjects.py")
        shutil.copy(SUBJECTS.with_name("clumsy.py"), folder / "clumsy.py")
    return one


def told(dsn: str, tipo: str) -> list[dict[str, Any]]:
    """The events of a kind, in the order of their ticks."""
    found = [one for one in events_of(dsn, "corec1") if one["tipo"] == tipo]
    return sorted(found, key=lambda one: int(one["tick"]))


def carga_of(run: Running) -> tuple[float, float]:
    """What counts and what was asked for; (1, 0) while the nucleus is being replaced."""
    try:
        status = run.status()
    except (Unreachable, AssertionError):
        return 1.0, 0.0
    return status["carga"], status["carga_asked"]


@pytest.mark.usefixtures("no_leaks")
def test_an_overload_lowers_carga_and_a_replay_follows(make: Make, pg_dsn: str) -> None:
    """Its nucleus dies when the new carga counts and nobody has been told."""
    heavy = {"id": "s", "procesador": "module_subjects:heavy", "parametros": {"work": 1_000_000.0}}
    one = armed(made(make, heavy, {"id": "quiet"}), ("nucleus@carga.counts:1",))
    run = one.start("--tick-hz", "10", "--workers", "1").ready(180.0)
    wait_until(lambda: carga_of(run)[0] < 1.0, "carga is lowered", 120.0)
    assert carga_of(run)[1] == 1.0
    run.ask("set", path="bloques.s.parametros.work", value=1.0)
    low = carga_of(run)[0]
    wait_until(lambda: carga_of(run)[0] > low, "carga rises", 120.0)
    one.configure({**one.config, "modules": ["sincronizacion"]})
    run.signal(signal.SIGHUP)
    wait_until(lambda: carga_of(run) == (1.0, 1.0), "it is given back", 60.0)
    ended = run.stop()
    assert killed(ended) == ["nucleus"]
    changes = told(pg_dsn, "setting_changed")
    by = [c["detalle"].get("by") for c in changes if c["detalle"]["path"] == "carga"]
    assert by == ["ejecucion"] * len(by)
    assert len(by) >= 3, "each change once"
    (registered,) = [e for e in told(pg_dsn, "swarm_registered") if e["detalle"]["swarm"] == "s"]
    assert registered["detalle"] == {"swarm": "s", "canal": 1, "entidades": 100, "bloques": 2}
    with corec.World(one.config_path) as world:
        for change in changes:
            what = change["detalle"]
            world.run(what["after_tick"] - world.ticks)
            world.set(what["path"], what["value"])
        world.run(ended.summary["digest_tick"] - world.ticks)
        assert world.digest() == ended.summary["digest"]


@pytest.mark.usefixtures("no_leaks")
def test_what_is_unusual_is_told(make: Make, pg_dsn: str, valkey_url: str) -> None:
    evolves = {"id": "e", "procesador": "module_subjects:alike", "evolucion": {"cada": 1}}
    lone = {"id": "lone", "entidades": 50, "procesador": "module_subjects:patient",
            "parametros": {"sick": 2.0}, "autoreparacion": {"min_fitness": 0.0}}  # fmt: skip
    fussy = {"at": 3, "set": {"bloques.lone.autoreparacion.min_fitness": 0.9}}
    one = made(
        make, {"id": "s", "procesador": "module_subjects:patient"}, evolves, lone,
        persist={"every_ticks": 1}, auditoria={"filas": 8}, schedule=[fussy],
        modules=["sincronizacion", "auditoria", "evolucion", "clumsy:Clumsy"],
    )  # fmt: skip
    run = one.start("--tick-hz", "25", "--workers", "1").ready(180.0)
    run.until_tick(160)
    assert told(pg_dsn, "anomaly") == []
    wait_until(lambda: bool(told(pg_dsn, "clumsy")), "a module that failed lives again", 20.0)
    run.ask("set", path="bloques.s.parametros.sick", value=1.0)
    wait_until(lambda: bool(told(pg_dsn, "anomaly")), "the sick block is told of", 20.0)
    with redis.Redis.from_url(valkey_url) as client:

        def alarms() -> list[dict[str, Any]]:
            entries = client.xrange("corec:{corec1}:alertas")
            found = [orjson.loads(fields[b"alerta"]) for _, fields in entries]
            return [one["anomaly"] for one in found if "anomaly" in one]

        wait_until(lambda: bool(alarms()), "an alarm", 30.0)
        assert {alarm["bloque"] for alarm in alarms()} == {"s:00000"}
        assert len({alarm["id"] for alarm in alarms()}) == len(alarms())
    wait_until(lambda: bool(told(pg_dsn, "evolution_stalled")), "a standstill", 20.0)
    ended = run.stop()
    errors = [e for e in told(pg_dsn, "anomaly") if e["detalle"]["column"] == "errores"]
    assert [e["bloque"] for e in errors] == ["s:00000"]
    assert errors[0]["detalle"]["median"] == 0.0
    failed = [e["detalle"]["error"] for e in told(pg_dsn, "module_failed")]
    assert sorted(failed) == ["RuntimeError('not prepared')", "SystemError('half way')"]
    assert [e["detalle"] for e in told(pg_dsn, "clumsy")] == [{"lives": 3}]
    assert told(pg_dsn, "swarm_registered") == [], "registro is switched off"
    (weak,) = told(pg_dsn, "weak_block")
    assert (weak["bloque"], weak["detalle"]["min_fitness"]) == ("lone:00000", 0.9)
    assert weak["detalle"]["fitness"] < 0.9
    (stalled,) = told(pg_dsn, "evolution_stalled")
    assert stalled["detalle"]["swarm"] == "e"
    with corec.World(one.config_path) as world:
        (change,) = [e for e in told(pg_dsn, "setting_changed") if "by" not in e["detalle"]]
        world.run(change["detalle"]["after_tick"])
        world.set("s", sick=1.0)
        world.run(ended.summary["digest_tick"] - world.ticks)
        assert world.digest() == ended.summary["digest"]


def test_a_forest_that_is_not_there_is_a_fault_of_the_configuration() -> None:
    config = parse_config({
        "instance_id": "corec1", "bloques": [{"id": "s", "canal": 1, "entidades": 1}],
        "auditoria": {"bosque": True},
    })  # fmt: skip
    if available():
        check_loadable(config)
        return
    with pytest.raises(ConfigError, match=r"auditoria\.bosque: found true, and scikit-learn is"):
        check_loadable(config)


async def _score(forest: Forest, learn: Any, new: Any) -> Any:
    try:
        return await forest.scores(learn, new)
    finally:
        await forest.close()


def test_a_forest_isolates_what_is_unlike_everything() -> None:
    if not available():
        pytest.skip("scikit-learn is not installed")
    import asyncio

    import numpy as np

    draw = np.random.default_rng(1)
    learn = draw.normal(size=(2000, len(COLUMNS))).astype(np.float32)
    new = np.array([[0.0] * 4, [0.0, 0.0, 30.0, 0.0], [9.0] * 4], np.float32)
    found = asyncio.run(_score(Forest(), learn, new))
    assert (found > ISOLATED).tolist() == [False, False, True]
