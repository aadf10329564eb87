"""Files, overrides and defaults: what a good configuration means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corec.config import Config, ConfigError, load_config, parse_config, with_overrides

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL: dict[str, Any] = {
    "instance_id": "corec1",
    "bloques": [{"id": "a", "canal": 1, "entidades": 10}],
}

# The shape of the first complete file of the original CoreC.
FULLER = {
    "instance_id": "corec1",
    "db_config": {
        "dbname": "corec_db",
        "user": "postgres",
        "password": "change-me",
        "host": "localhost",
        "port": "5432",
    },
    "redis_config": {
        "host": "localhost",
        "port": 6379,
        "username": "corec_user",
        "password": "change-me",
        "max_connections": 200,
    },
    "ia_config": {"enabled": True},
    "bloques": [
        {
            "id": "enjambre_sensor",
            "canal": 1,
            "entidades": 980000,
            "max_size_mb": 1,
            "entidades_por_bloque": 1000,
            "autoreparacion": {"max_errores": 0.05, "min_fitness": 0.2},
        },
        {
            "id": "nodo_seguridad",
            "canal": 2,
            "entidades": 1000,
            "max_size_mb": 1,
            "entidades_por_bloque": 1000,
            "autoreparacion": {"max_errores": 0.02, "min_fitness": 0.5},
            "mutacion": {"enabled": True},
        },
        {
            "id": "ia_analisis",
            "canal": 3,
            "entidades": 20000,
            "max_size_mb": 5,
            "entidades_por_bloque": 2000,
            "plugin": "procesador_inteligente",
        },
    ],
    "plugins": {
        "codex": {
            "enabled": True,
            "path": "plugins/codex/config.json",
            "bloque": {"bloque_id": "codex_block", "canal": 5, "max_size_mb": 0.15},
        }
    },
    "modules": ["registro", "ejecucion", "sincronización", "auditoria"],
    "rol": "generica",
}


def test_the_shipped_default() -> None:
    config = load_config(CONFIGS / "corec_config.json", environ={})
    assert config.instance_id == "corec1"
    assert config.entidades == 1_000_000
    assert config.block_count == 990
    assert sum(b.block_count * b.max_size_mb for b in config.bloques) == 1030
    assert [b.canal for b in config.bloques] == [1, 3]
    assert config.db.embedded
    assert config.redis.embedded
    assert config.state_path == CONFIGS.parent / "var" / "state"
    assert config.ignored == ()


def test_the_detectors() -> None:
    config = load_config(CONFIGS / "nab_detectors.json", environ={})
    (detectors,) = config.bloques
    assert (detectors.procesador, detectors.canal, detectors.entidades) == ("detector", 1, 980_000)


def test_the_original_example_loads_unchanged() -> None:
    config = load_config(CONFIGS / "original_example.json", environ={})
    assert [(b.id, b.canal, b.entidades, b.max_size_mb) for b in config.bloques] == [
        ("sensor_swarm", 1, 980_000, 1),
        ("ia_analysis", 3, 20_000, 5),
    ]
    assert [b.per_block for b in config.bloques] == [1000, 2000]
    assert config.db.shown() == "localhost:5432/corec_db"
    assert config.redis.shown() == "localhost:6379"


def test_the_fuller_original_loads_unchanged() -> None:
    config = parse_config(FULLER)
    assert config.db.port == 5432
    assert [b.repair.max_errores for b in config.bloques] == [0.05, 0.02, 0.05]
    assert config.modules == ("registro", "ejecucion", "sincronizacion", "auditoria")
    assert config.plugins == {}
    assert set(config.ignored) == {
        "rol",
        "ia_config",
        "redis_config.max_connections",
        "bloques[1].mutacion",
        "bloques[2].plugin",
        "plugins.codex",
    }


def test_defaults() -> None:
    config = parse_config(SMALL)
    assert (config.seed, config.tick_hz, config.workers, config.carga) == (42, 10.0, "auto", 1.0)
    assert config.persist.every_ticks == 10
    assert config.persist.retention_seconds is None
    assert config.http.port == 8000
    assert not config.http.port_explicit
    assert config.bloques[0].procesador == "sensor"
    assert config.runtime_path is None
    assert config.log_path is None


def test_common_settings_reach_the_bloques_without_their_own() -> None:
    bloques = [
        {"id": "a", "canal": 1, "entidades": 10},
        {"id": "b", "canal": 1, "entidades": 10, "entidades_por_bloque": 3},
        {"id": "c", "canal": 1, "entidades": 10, "autoreparacion": {"max_errores": 0.5}},
    ]
    common = {"entidades_por_bloque": 5, "autoreparacion": {"max_errores": 0.25}}
    config = parse_config({**SMALL, "bloques": bloques, **common})
    assert [b.per_block for b in config.bloques] == [5, 3, 5]
    assert [b.block_count for b in config.bloques] == [2, 4, 2]
    assert [b.repair.max_errores for b in config.bloques] == [0.25, 0.25, 0.5]
    changed = with_overrides(config, {"autoreparacion.max_errores": 0.75})
    assert [b.repair.max_errores for b in changed.bloques] == [0.75, 0.75, 0.5]


@pytest.mark.parametrize(("size", "count"), [(1, 1000), (2, 1250), (5, 2000), (64, 16_750)])
def test_entities_per_block_by_size(size: int, count: int) -> None:
    bloque = {"id": "a", "canal": 1, "entidades": 1, "max_size_mb": size}
    assert parse_config({**SMALL, "bloques": [bloque]}).bloques[0].per_block == count


def test_overrides_beat_the_file() -> None:
    overrides = {"tick_hz": 0, "workers": "3", "seed": 7, "http.port": 0, "carga": None}
    config = parse_config({**SMALL, "tick_hz": 5, "http": {"host": "::1"}}, overrides=overrides)
    assert (config.tick_hz, config.workers, config.seed, config.carga) == (0.0, 3, 7, 1.0)
    assert (config.http.host, config.http.port, config.http.port_explicit) == ("::1", 0, True)
    assert "http" not in SMALL


def test_overrides_are_checked_like_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(SMALL, overrides={"workers": "some", "tick_hz": -1.0, "sede": 3})
    assert {fault.path for fault in caught.value.faults} == {"workers", "tick_hz", "sede"}


@pytest.mark.parametrize(("scale", "count"), [(0.001, 1), (1, 10), (0.25, 2), (2.5, 25)])
def test_scale(scale: float, count: int) -> None:
    assert parse_config(SMALL, overrides={"scale": scale}).entidades == count


def test_a_scale_is_decided_by_its_decimals() -> None:
    hundred = {**SMALL, "bloques": [{"id": "a", "canal": 1, "entidades": 100}]}
    assert 100 * 0.575 < 57.5
    assert parse_config(hundred, overrides={"scale": 0.575}).entidades == 58
    assert parse_config(hundred, overrides={"scale": 0.565}).entidades == 56


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "2", True])
def test_scales_that_are_none(scale: object) -> None:
    with pytest.raises(ConfigError, match=r"^scale: found .*, allowed a number greater than 0"):
        parse_config(SMALL, overrides={"scale": scale})


def test_scaled_beyond_the_ids() -> None:
    with pytest.raises(ConfigError, match=r"bloques\[0\].entidades: found 10000000000, allowed"):
        parse_config(SMALL, overrides={"scale": 1e9})


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "checkout" / "configs").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    beside = tmp_path / "checkout" / "configs" / "c.json"
    for file in (beside, tmp_path / "c.json"):
        file.write_text(json.dumps({**SMALL, "log": {"file": "x.log"}}))
    assert load_config(beside, environ={}).state_path == tmp_path / "checkout" / "var" / "state"
    config = load_config(tmp_path / "c.json", environ={})
    assert config.log_path == tmp_path / "x.log"
    config = load_config(beside, environ={"COREC_HOME": str(tmp_path / "home")})
    assert config.state_path == tmp_path / "home" / "var" / "state"
    config = load_config(beside, overrides={"state_dir": "/var/lib/corec"}, environ={})
    assert config.state_path == Path("/var/lib/corec")


@pytest.mark.parametrize("key", ["state_dir", "runtime_dir", "log.file"])
def test_a_home_that_nobody_has(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(SMALL, overrides={key: "~nobody-has-this/x"})
    told = str(refused.value)
    assert told.startswith(f'{key}: found "~nobody-has-this/x", and no home for ~nobody-has-this')


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(SMALL), encoding="utf-8-sig")
    assert load_config(file, environ={}).entidades == 10


def test_a_config_does_not_change() -> None:
    config = parse_config(SMALL)
    with pytest.raises(ValidationError):
        config.seed = 1  # type: ignore[misc]  # that it is refused is the point


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9)
finite = st.floats(allow_nan=False, allow_infinity=False)
bloques = st.lists(
    st.fixed_dictionaries(
        {
            "id": names,
            "canal": st.integers(-128, 127),
            "entidades": st.integers(1, 10**8),
        },
        optional={
            "max_size_mb": st.integers(1, 64),
            "entidades_por_bloque": st.none() | st.integers(1, 10**6),
            "autoreparacion": st.fixed_dictionaries({"max_errores": st.floats(0, 1)}),
            "procesador": st.sampled_from(["sensor", "a.b:C", "detector"]),
            "parametros": st.dictionaries(st.text(max_size=5), scalars | finite, max_size=3),
        },
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda bloque: str(bloque["id"]),
)
files = st.fixed_dictionaries(
    {"instance_id": names, "bloques": bloques},
    optional={
        "seed": st.integers(0, 2**64 - 1),
        "tick_hz": st.floats(1e-6, 1e6) | st.integers(0, 10**6),
        "workers": st.just("auto") | st.integers(1, 1024),
        "carga": st.floats(0, 1, exclude_min=True),
        "http": st.fixed_dictionaries({}, optional={"port": st.integers(0, 65_535)}),
        "plugins": st.lists(names, unique=True, max_size=2),
        "persist": st.fixed_dictionaries({"retention": st.none() | st.just("30d")}),
        "db_config": st.fixed_dictionaries(
            {"dbname": names, "user": names, "host": names, "password": st.text(max_size=9)}
        ),
    },
)


@given(raw=files)
def test_round_trip(raw: dict[str, Any]) -> None:
    config = parse_config(json.loads(json.dumps(raw)))
    again = with_overrides(config, {})
    assert again == config
    assert again.http.port_explicit == ("port" in raw.get("http", {}))
    assert again.public_dict() == config.public_dict()
    json.dumps(config.public_dict(), allow_nan=False)
    assert isinstance(again, Config)


LATER_KEYS = {
    "quantization_step_default": 0.05, "max_enlaces_por_entidad": 100,
    "redis_stream_key": "corec:entrelazador", "alert_threshold": 0.9, "max_fallos_criticos": 0.5,
    "cpu_autoadjust_threshold": 0.9, "ram_autoadjust_threshold": 0.9, "concurrent_tasks_min": 10,
    "concurrent_tasks_max": 1000, "concurrent_tasks_reduction_factor": 0.5,
    "concurrent_tasks_increment_factor_default": 1.1, "cpu_stable_cycles": 3, "cpu_readings": 5,
    "cpu_reading_interval": 0.1, "performance_history_size": 10, "performance_threshold": 0.5,
    "increment_factor_min": 1.0, "increment_factor_max": 2.0, "autosanacion_config": {},
    "ml_config": {}, "analisis_datos_config": {}, "cognitivo_config": {}, "ia_config": {},
}  # fmt: skip


def test_later_versions_of_the_original_load_unchanged() -> None:
    config = parse_config({**SMALL, **LATER_KEYS})
    assert set(config.ignored) == set(LATER_KEYS)


def test_older_spellings_have_the_name_of_today() -> None:
    server = {"database": "corec_db", "user": "postgres", "host": "localhost", "port": "5432"}
    config = parse_config(
        {**SMALL, "db_config": server, "modulos": ["auditoría", "ModuloRegistro"]}
    )
    assert (config.db.dbname, config.db.port) == ("corec_db", 5432)
    assert config.modules == ("auditoria", "registro")
    with pytest.raises(ConfigError, match=r"db_config\.database"):
        parse_config({**SMALL, "db_config": {**server, "dbname": "other"}})


def test_every_form_of_plugins() -> None:
    old = {"enabled": True, "config_path": "plugins/a/config.json"}
    config = parse_config({**SMALL, "plugins": [{"name": "a", **old}, {"name": "b"}, "c"]})
    assert config.ignored == ("plugins.a",)
    assert set(config.plugins) == {"b", "c"}
    for wrong in ([{"enabled": True}], [{"name": "a"}, "a"], [{"name": 3}]):
        with pytest.raises(ConfigError, match="plugins: found"):
            parse_config({**SMALL, "plugins": wrong})
    with pytest.raises(ConfigError, match=r"plugins\.b\.what"):
        parse_config({**SMALL, "plugins": [{"name": "b", "what": 1}]})


def test_a_block_above_its_limit_is_refused_in_one_line_that_says_why() -> None:
    bloque = {"id": "ia", "canal": 1, "entidades": 10, "max_size_mb": 300}
    with pytest.raises(ConfigError) as refused:
        parse_config({**SMALL, "bloques": [bloque]})
    (line,) = str(refused.value).splitlines()
    assert "bloques[0].max_size_mb: found 300" in line
    assert "more blocks, not larger ones" in line
    parse_config({**SMALL, "bloques": [{**bloque, "max_size_mb": 64}]})


@pytest.mark.parametrize(
    "name", ["sincronizacion", "Sincronización", "ModuloSincronizacion", "modulo_sincronización"]
)
def test_a_module_under_each_of_its_names(name: str) -> None:
    assert parse_config({**SMALL, "modules": [name]}).modules == ("sincronizacion",)


def test_a_plane_of_two_sizes_is_dumped_without_a_warning() -> None:
    """Warnings are errors here; a user saw this one at each start."""
    space = {"kind": "plane", "position": ["x", "y"], "size": [10, 20.5], "radius": 1}
    bloque = {**SMALL["bloques"][0], "procesador": "boids", "space": space}
    found = parse_config({**SMALL, "bloques": [bloque]}).bloques[0]
    assert found.model_dump(mode="json")["space"]["size"] == [10, 20.5]
    assert found.model_dump()["space"]["size"] == (10, 20.5)
