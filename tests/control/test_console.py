"""``corec-ctl sql`` and ``redis`` on real servers: answers, refusals, and no password anywhere."""

from __future__ import annotations

import io
import json
from pathlib import Path

import psycopg
import pytest
import typer
from rich.console import Console, RenderableType

from corec.config import ConfigError
from corec.control import console, show
from corec.control.asking import explained, fail, output, waiting
from corec.control.discover import Instance
from corec.control.protocol import encode_request
from corec.exits import EXIT_USAGE


@pytest.fixture
def instance(tmp_path: Path, pg_dsn: str, valkey_url: str) -> Instance:
    """An instance without a configuration file, so its addresses count."""
    return Instance(
        instance_id="asked", pid=1, folder=str(tmp_path), socket="", http_url=None,
        redis_url=valkey_url, db=pg_dsn, started_unix_ns=0, config_path=None, version="0",
    )  # fmt: skip


def shown(picture: RenderableType, width: int = 80) -> str:
    """What a terminal of so many columns would show."""
    text = io.StringIO()
    Console(width=width, file=text).print(picture)
    return text.getvalue()


def test_sql_answers_with_plain_data(instance: Instance) -> None:
    query = (
        "SELECT 1 AS one, 0.5::float8 AS half, NULL AS none, '\\x28b5'::bytea AS raw, now() AS t"
    )
    (data,) = console.sql(instance, query)
    assert data["columns"] == ["one", "half", "none", "raw", "t"]
    assert data["rows"][0][:4] == [1, 0.5, None, r"\x28\xb5"]
    assert "half" in shown(console.sql_tables([data]))
    json.dumps(data)


def test_sql_commits_and_says_what_it_did(instance: Instance) -> None:
    console.sql(instance, "CREATE TABLE asked (n int)")
    (done,) = console.sql(instance, "INSERT INTO asked VALUES (1), (2)")
    assert done["status"] == "INSERT 0 2"
    assert shown(console.sql_tables([done])).strip() == "INSERT 0 2"
    assert console.sql(instance, "SELECT count(*) FROM asked")[0]["rows"] == [[2]]


def test_a_refused_query_is_told_in_the_servers_words(instance: Instance) -> None:
    with pytest.raises(console.AskFailed, match="nonsense"):
        console.sql(instance, "SELECT nonsense")


def test_redis_takes_bytes_and_gives_them_back(instance: Instance) -> None:
    key = "corec:{asked}:in:7"
    console.ask_redis(instance, ["DEL", key])
    console.ask_redis(instance, ["XADD", key, "1-1", "m", r"\x00\x00\x12\x67a"])
    assert console.ask_redis(instance, ["XLEN", key]) == 1
    answer = console.ask_redis(instance, ["XRANGE", key, "-", "+"])
    assert "1-1" in shown(console.redis_text(answer))
    assert r"\x00\x00\x12\x67\x61" in json.dumps(answer).replace("\\\\", "\\")
    console.ask_redis(instance, ["DEL", key])


def test_redis_errors_are_told(instance: Instance) -> None:
    with pytest.raises(console.AskFailed, match=r"(?i)wrong number of arguments"):
        console.ask_redis(instance, ["GET"])
    with pytest.raises(console.AskFailed, match="hexadecimal"):
        console.ask_redis(instance, ["SET", "a", r"\xzz"])


def test_the_password_of_the_configuration_is_used_and_not_shown(
    instance: Instance, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    secret = "hush-hush-hush"
    nowhere = {"host": "127.0.0.1", "port": 1, "password": secret}
    raw = {
        "instance_id": "asked",
        "db_config": {**nowhere, "dbname": "d", "user": "u"},
        "redis_config": nowhere,
        "bloques": [{"id": "a", "canal": 1, "entidades": 1}],
    }
    path.write_text(json.dumps(raw), encoding="utf-8")
    named = Instance(**{**vars(instance), "config_path": str(path)})
    with pytest.raises(console.AskFailed, match="port 1") as refused:
        console.sql(named, "SELECT 1")
    assert secret not in str(refused.value)
    with pytest.raises(console.AskFailed) as refused:
        console.ask_redis(named, ["PING"])
    assert secret not in str(refused.value)


def test_an_embedded_server_is_asked_while_the_configuration_is_being_written(
    instance: Instance, tmp_path: Path
) -> None:
    path = tmp_path / "half.json"
    path.write_text('{"instance_id": "as', encoding="utf-8")
    named = Instance(**{**vars(instance), "config_path": str(path)})
    with pytest.raises(ConfigError, match="no valid JSON"):
        console.sql(named, "SELECT 1")  # the password may be in there
    own = Instance(**{**vars(named), "folder": pg_folder(named.db)})
    assert console.sql(own, "SELECT 1")[0]["rows"] == [[1]]


def pg_folder(dsn: str) -> str:
    """Where the socket of the test's server is."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["host"])


def test_what_json_has_no_word_for_is_text_and_a_copy_is_refused(instance: Instance) -> None:
    (data,) = console.sql(instance, "SELECT 'nan'::float8, '-inf'::float4")
    assert data["rows"] == [["NaN", "-Infinity"]]
    assert shown(console.sql_tables(console.sql(instance, ""))).strip() == ""
    with pytest.raises(console.AskFailed, match="found a COPY from or to the client"):
        console.sql(instance, "COPY (SELECT 1) TO STDOUT")


def test_several_statements_answer_one_by_one(instance: Instance) -> None:
    one, two = console.sql(instance, "SELECT 1 AS a; SELECT 2 AS b, 3 AS c")
    assert (one["columns"], one["rows"]) == (["a"], [[1]])
    assert (two["columns"], two["rows"]) == (["b", "c"], [[2, 3]])
    with pytest.raises(console.AskFailed, match="nowhere"):
        console.sql(instance, "CREATE TABLE left_alone (n int); SELECT * FROM nowhere")
    found = console.sql(instance, "SELECT to_regclass('left_alone')")[0]["rows"]
    assert found == [[None]], "statements in one query are one transaction"


def test_a_long_value_is_cut_for_eyes_only() -> None:
    data = {"columns": ["x"], "rows": [["y" * 300]], "status": "SELECT 1"}
    assert "…" in shown(console.sql_tables([data]))
    assert "y" * 300 in shown(console.sql_tables([data], 1000), width=10_000)


def test_an_argument_that_can_not_be_sent_is_one_line(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes of another encoding, as the shell hands them on, and a number that no word holds."""
    for what, expected in (
        (lambda: encode_request("block", {"id": "a\udcff"}), "can't be sent"),
        (lambda: encode_request("set", {"value": 10**30}), "can't be sent"),
        (lambda: console.sql(instance, "SELECT '\udcff'"), "no UTF-8: \"SELECT '\\udcff'\""),
        (lambda: console.ask_redis(instance, ["GET", "\udcff"]), "no UTF-8: '\\udcff'"),
    ):
        with pytest.raises(typer.Exit) as left, explained():
            what()
        assert left.value.exit_code == EXIT_USAGE
        told = capsys.readouterr().err
        assert expected in told
        assert told.count("\n") == 1


def test_what_looks_like_markup_is_shown_as_it_is(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich takes [/b] for the end of a tag, and :100: for a picture; a row may hold both."""
    odd = "[/b] :100: [red]x"
    results = console.sql(instance, f"SELECT '{odd}' AS \"[i]\"")
    output({}, False, lambda _: console.sql_tables(results))
    told = capsys.readouterr().out
    assert (odd in told, "[i]" in told) == (True, True)
    for data, picture in (({"what": odd}, show.pairs), ([{"what": odd}], show.rows)):
        output(data, False, picture)
        assert odd in capsys.readouterr().out
    with waiting(f"set {odd}", quiet=False):
        pass


def test_what_others_wrote_tells_the_terminal_nothing(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the reason of an HTTP answer in ``corec-ctl tasks``: it could write over the screen."""
    odd, shown = "a\x1b]0;b\x07\r\x9b2Jc", r"a\x1b]0;b\x07\x0d\x9b2Jc"
    results = console.sql(instance, r"SELECT E'a\x1b]0;b\x07\r' || chr(155) || '2Jc' AS x")
    failed = {"timestamp": "t", "tarea": odd, "aviso": {"key": odd}, "intentos": 1, "error": odd}
    for data, picture in (
        ({"what": odd}, show.pairs), ([{"what": odd, odd: 1}], show.rows),
        ({"tasks": [], "failed": [failed]}, show.tasks), ([odd], console.redis_text),
        (results, console.sql_tables),
    ):  # fmt: skip
        output(data, False, picture)
        told = capsys.readouterr().out
        assert shown in told
        assert told.replace("\n", "").isprintable()
    with pytest.raises(typer.Exit):
        fail(odd, 1)
    assert capsys.readouterr().err == f"corec-ctl: {shown}\n"
