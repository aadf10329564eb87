"""One living instance for all tests of ``corec.attach``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corec.control.folders import BASE_VARIABLE
from corec.embedded.postgres import EmbeddedPostgres
from corec.embedded.valkey import EmbeddedValkey
from tests.e2e.conftest import _making, compiled
from tests.support.instance import Running, small_config
from tests.support.processes import wait_until

__all__ = ["compiled"]  # a fixture, used by its name

BRITTLE = '''"""An entity that fails once."""

import corec


@corec.micro(state={"runs": "u4"})
def brittle(me):
    """Three of them raise in tick 5."""
    if me.tick == 5 and me.id % 10 == 3:
        raise ValueError("once")
    me.runs = me.runs + 1
    return 0.0
'''


def config() -> dict[str, Any]:
    """Sensors, detectors, and a swarm that is repaired in tick 5 and goes on well."""
    found = small_config(autoreparacion={"max_errores": 0.0}, tick_hz=200)
    brittle = {"id": "brittle", "canal": 5, "entidades": 30, "entidades_por_bloque": 30}
    found["bloques"].append({**brittle, "procesador": "brittle:brittle"})
    return found


@pytest.fixture(scope="module")
def living(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, valkey: EmbeddedValkey,
    compiled: None,
) -> Iterator[Running]:  # fmt: skip
    """A running instance; this process finds it as its only one."""
    with (
        psycopg.connect(postgres.dsn, autocommit=True) as connection,
        tempfile.TemporaryDirectory(prefix="corec-test-", dir="/dev/shm") as shm,
        pytest.MonkeyPatch.context() as patch,
    ):
        connection.execute("CREATE DATABASE attached")
        urls = {
            "db_url": postgres.dsn.replace("@/corec?", "@/attached?"), "redis_url": valkey.url
        }  # fmt: skip
        home = tmp_path_factory.mktemp("living")
        with _making(home, Path(shm), **urls) as make:
            one = make(config())
            plugins = one.home / "plugins"
            plugins.mkdir()
            (plugins / "brittle.py").write_text(BRITTLE, encoding="utf-8")
            patch.setenv(BASE_VARIABLE, str(one.runtime_base))
            for name in ("COREC_DB_URL", "COREC_REDIS_URL"):
                patch.setenv(name, one.environment[name])
            patch.setenv("COREC_HOME", str(one.home))
            running = one.start("--fresh", "--workers", "2")
            running.ready(seconds=120.0)
            wait_until(lambda: running.status()["rows_persisted"] > 0, "rows", 60.0)
            yield running
            last = one.runs[-1]
            if last.process.poll() is None:
                assert last.stop().code == 0, last.texts()[1][-4000:]
            assert not os.listdir(one.runtime_base) if one.runtime_base.exists() else True
        connection.execute("DROP DATABASE attached WITH (FORCE)")
