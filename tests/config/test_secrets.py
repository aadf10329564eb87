"""Servers and passwords: where they come from, and that they are never shown."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from redis import connection

from corec.config import Config, ConfigError, load_config, parse_config

SECRET = "hunter2:/?#%'\\ @ñ"
PLAIN = "hunter2"
BLOQUES = [{"id": "a", "canal": 1, "entidades": 10}]


def raw(**changes: Any) -> dict[str, Any]:
    """A file with servers of its own."""
    return {
        "instance_id": "corec1",
        "bloques": BLOQUES,
        "db_config": {"dbname": "d", "user": "u", "password": SECRET, "host": "h"},
        "redis_config": {"host": "r", "username": "ru", "password": SECRET},
        **changes,
    }


def parsed_url(url: str) -> dict[str, Any]:
    """What redis-py makes of ``url``."""
    return dict(connection.parse_url(url))  # type: ignore[no-untyped-call]  # redis-py's own


def shown(config: Config) -> str:
    """Everything a config tells without being asked for a secret."""
    servers = f"{config.db!r} {config.redis!r} {config.db.shown()} {config.redis.shown()}"
    return f"{config!r} {config} {config.public_dict()} {servers} {config.model_dump()}"


def test_conninfo_and_url_carry_any_password() -> None:
    config = parse_config(raw())
    assert conninfo_to_dict(config.db.conninfo()) == {
        "host": "h",
        "port": "5432",
        "dbname": "d",
        "user": "u",
        "password": SECRET,
    }
    parsed = parsed_url(config.redis.connection_url())
    assert (parsed["host"], parsed["port"]) == ("r", 6379)
    assert (parsed["username"], parsed["password"]) == ("ru", SECRET)


def test_hosts_of_every_kind() -> None:
    def url(**redis: Any) -> str:
        return parse_config(raw(redis_config=redis)).redis.connection_url()

    assert url(host="r") == "redis://r:6379"
    assert url(host="::1", port=1) == "redis://[::1]:1"
    assert url(host="/run/v.sock", password="p") == "unix://:p@/run/v.sock"
    assert url(host="r", password="p") == "redis://:p@r:6379"


def test_nothing_shows_a_secret() -> None:
    for environ in ({}, {"COREC_DB_URL": f"postgresql://u:{PLAIN}@h/d?sslpassword={PLAIN}"}):
        assert "hunter2" not in shown(parse_config(raw(), environ=environ))
    config = parse_config(raw(), environ={"COREC_REDIS_URL": f"redis://:{PLAIN}@h:1/0"})
    assert "hunter2" not in shown(config)
    assert config.redis.shown() == "redis://h:1/0"
    assert config.public_dict()["redis_config"]["url"] == "redis://h:1/0"


@pytest.mark.parametrize(
    "changes",
    [
        {"db_config": PLAIN},
        {"db_config": [PLAIN]},
        {"db_config": {"pasword": PLAIN}},
        {"db_config": {"password": [PLAIN]}},
        {"db_config": {"password": {PLAIN: PLAIN}}},
        {"db_config": {"host": f"postgresql://u:{PLAIN}@h", "port": PLAIN}},
        {"db_config": {"url": f"mysql://u:{PLAIN}@h"}},
        {"db_config": {"url": f"postgresql://u:{PLAIN}/x@h/d"}},
        {"db_config": {"url": f"postgresql://u:{PLAIN}@h:99999/d"}},
        {"db_config": {"embedded": PLAIN}},
        {"redis_config": {"host": f"u:{PLAIN}@h"}},
        {"redis_config": {"host": "r", "username": 7, "password": 5}},
        {"redis_config": {"url": f"redis://:{PLAIN}#x@h"}},
        {"redis_config": {"url": f"redis://:{PLAIN}@"}},
        {"log": {"file": 3}, "instance_id": f"redis://:{PLAIN}@h"},
        {"password": PLAIN},
    ],
)
def test_no_fault_repeats_a_secret(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw(**changes))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PLAIN not in told


@pytest.mark.parametrize(
    "name", ["COREC_DB_URL", "COREC_REDIS_URL", "POSTGRES_PASSWORD_FILE", "REDIS_PASSWORD_FILE"]
)
def test_a_password_in_the_wrong_variable_stays_secret(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw(), environ={name: PLAIN})
    (fault,) = caught.value.faults
    assert fault.path == name
    assert PLAIN not in str(caught.value)


def test_a_url_turns_embedded_off() -> None:
    file = raw(db_config={"embedded": True}, redis_config={"embedded": True})
    environ = {"COREC_DB_URL": "postgresql://h/d", "COREC_REDIS_URL": "rediss://h:1"}
    for data in (file, {"instance_id": "corec1", "bloques": BLOQUES}, raw(db_config={})):
        config = parse_config(data, environ=environ)
        assert not config.db.embedded
        assert config.db.conninfo() == "postgresql://h/d"
        assert config.redis.connection_url() == "rediss://h:1"


def test_an_unknown_key_is_a_fault_under_a_url_too() -> None:
    with pytest.raises(
        ConfigError, match=r"^db_config.usr: found an unknown key, allowed \"user\""
    ):
        parse_config(raw(db_config={"usr": 1}), environ={"COREC_DB_URL": "postgresql://h/d"})


def test_a_cluster() -> None:
    config = parse_config(raw(), environ={"COREC_REDIS_URL": "redis+cluster://u@h:7000"})
    assert config.redis.cluster
    assert config.redis.connection_url() == "redis://u@h:7000"
    assert not parse_config(raw()).redis.cluster


def test_a_password_joins_a_url_without_one() -> None:
    environ = {"POSTGRES_PASSWORD": SECRET, "REDIS_PASSWORD": SECRET}
    config = parse_config(
        raw(),
        environ={
            **environ,
            "COREC_DB_URL": "postgresql://u@h1:1,h2:2/d?sslmode=require",
            "COREC_REDIS_URL": "rediss://u@h:1/2",
        },
    )
    assert conninfo_to_dict(config.db.conninfo())["password"] == SECRET
    parsed = parsed_url(config.redis.connection_url())
    assert (parsed["username"], parsed["password"], parsed["db"]) == ("u", SECRET, 2)
    config = parse_config(
        raw(),
        environ={
            **environ,
            "COREC_DB_URL": "postgresql://u:own@h/d",
            "COREC_REDIS_URL": "redis://:own@h",
        },
    )
    assert conninfo_to_dict(config.db.conninfo())["password"] == "own"
    assert parsed_url(config.redis.connection_url())["password"] == "own"
    environ["COREC_REDIS_URL"] = "redis://h?password=own"
    config = parse_config(raw(), environ=environ)
    assert parsed_url(config.redis.connection_url())["password"] == "own"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("redis://h/1", True), ("redis://h/0/", True), ("redis://h/", True), ("redis://h/x", False),
        ("redis://h/0/1", False), ("redis://h?db=2", True), ("redis://h?db=x", False),
        ("redis://h?socket_timeout=5", True), ("redis://h?socket_timeout=abc", False),
        ("redis://h?colour=red", False), ("redis://h?protocol=2", False),
        ("redis://h?decode_responses=true", False), ("redis://h?ssl_cert_reqs=none", False),
        ("rediss://h?ssl_cert_reqs=none", True), ("rediss://h?ssl_cert_reqs=odd", False),
        ("rediss+cluster://h?ssl_ca_certs=/ca.pem", True), ("unix:///run/v.sock?db=2", True),
        ("unix:///run/v.sock?socket_keepalive=1", False),
    ],
)  # fmt: skip
def test_what_redis_is_asked_for_is_known_before_it_is_asked(url: str, good: bool) -> None:
    """The broker would raise a TypeError in its first connection, or take database 0 for x."""
    if good:
        parse_config(raw(), environ={"COREC_REDIS_URL": url})
        return
    with pytest.raises(ConfigError, match=r"^COREC_REDIS_URL: found a value that is no such URL"):
        parse_config(raw(), environ={"COREC_REDIS_URL": url})


@pytest.mark.parametrize(
    "name", ["COREC_DB_URL", "COREC_REDIS_URL", "POSTGRES_PASSWORD", "REDIS_PASSWORD"]
)
def test_bytes_that_are_no_text_are_no_secret(name: str) -> None:
    scheme = {"COREC_DB_URL": "postgresql://:", "COREC_REDIS_URL": "redis://:"}.get(name, "")
    value = f"{scheme}{PLAIN}\udcff@h"
    with pytest.raises(ConfigError) as refused:
        parse_config(raw(), environ={name: value})
    assert str(refused.value) == (
        f"{name}: found bytes that are not text, allowed one line of UTF-8 text"
    )


def test_where_a_secret_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "pg"
    file.write_text("from file\n")
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "postgres_password").write_text("from systemd")
    environ = {
        "POSTGRES_PASSWORD": "from variable",
        "POSTGRES_PASSWORD_FILE": str(file),
        "CREDENTIALS_DIRECTORY": str(folder),
    }
    expected = ["from variable", "from file", "from systemd", SECRET]
    for value in expected:
        config = parse_config(raw(), environ=environ)
        assert conninfo_to_dict(config.db.conninfo())["password"] == value
        environ.pop(next(iter(environ), ""), None)
    (folder / "COREC_REDIS_URL").write_text("redis://h\n")
    config = parse_config(raw(), environ={"CREDENTIALS_DIRECTORY": str(folder)})
    assert config.redis.connection_url() == "redis://h"


def test_empty_variables_are_not_set() -> None:
    config = parse_config(raw(), environ={"COREC_DB_URL": "", "POSTGRES_PASSWORD": ""})
    assert conninfo_to_dict(config.db.conninfo())["password"] == SECRET


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff", b"a\0", b"a" * 70_000])
def test_secret_files_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^REDIS_PASSWORD_FILE: found "):
        parse_config(raw(), environ={"REDIS_PASSWORD_FILE": str(file)})


def test_embedded_servers_have_no_address_yet() -> None:
    config = parse_config({"instance_id": "corec1", "bloques": BLOQUES})
    assert config.db.embedded
    with pytest.raises(ValueError, match="embedded"):
        config.db.conninfo()
    with pytest.raises(ValueError, match="embedded"):
        config.redis.connection_url()
    environ = {"POSTGRES_PASSWORD": "x", "REDIS_PASSWORD": "y"}
    file = {"instance_id": "corec1", "bloques": BLOQUES, "db_config": {"embedded": True}}
    assert parse_config(file, environ=environ).db.password is None


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"db_config": {"embedded": True, "host": "h"}}, "db_config.host"),
        ({"db_config": {"url": "postgresql://h", "user": "u"}}, "db_config.user"),
        ({"db_config": {"dbname": "d", "user": "u"}}, "db_config.host"),
        ({"redis_config": {}}, "redis_config.host"),
        ({"redis_config": {"host": "h", "port": "x1"}}, "redis_config.port"),
        ({"redis_config": {"host": "h", "port": 0}}, "redis_config.port"),
        ({"redis_config": {"url": "http://h"}}, "redis_config.url"),
    ],
)
def test_servers_that_do_not_add_up(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw(**changes))
    assert [fault.path for fault in caught.value.faults] == [path]


def test_the_real_environment_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREC_DB_URL", "postgresql://from-environment/d")
    file = tmp_path / "c.json"
    file.write_text('{"instance_id": "i", "bloques": [{"id": "a", "canal": 1, "entidades": 1}]}')
    assert load_config(file).db.conninfo() == "postgresql://from-environment/d"
