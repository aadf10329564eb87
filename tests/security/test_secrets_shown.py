"""No password reaches a terminal, a log, a traceback or a process title, whatever is wrong."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from corec import log
from corec.config import parse_config
from corec.config.servers import secrets_in
from tests.support import forked
from tests.support.processes import command_of, wait_until

ROOT = Path(__file__).parents[2]
PARTS = ("hunter2", "swordfish")
BLOQUES = [{"id": "a", "canal": 1, "entidades": 10}]


@pytest.fixture(autouse=True)
def _nothing_hidden() -> Iterator[None]:
    before = list(log._secrets)
    log._secrets.clear()
    yield
    log._secrets[:] = before


def corec(folder: Path, *arguments: str, **environ: str) -> forked.Done:
    """``corec`` with ``arguments`` and a configuration in ``folder``."""
    config = folder / "c.json"
    raw = {"instance_id": "shown", "bloques": BLOQUES, "state_dir": str(folder / "state"),
           "runtime_dir": str(folder / "run"), "http": {"port": 0},
           "db_config": {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u"},
           "redis_config": {"host": "127.0.0.1", "port": 1}}  # fmt: skip
    config.write_text(json.dumps(raw))
    return forked.run(
        "corec", [*arguments, "--config", str(config)], cwd=ROOT,
        environment=forked.plain_environment() | environ, seconds=100.0,
    )  # fmt: skip


def assert_hidden(text: str) -> None:
    for part in PARTS:
        assert part not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("COREC_DB_URL", "postgresql://corec:hunter2%swordfish@127.0.0.1:1/c"),
        ("COREC_DB_URL", "postgresql://corec:hunter2%00swordfish@127.0.0.1:1/c"),
        ("COREC_DB_URL", "postgresql://corec:hunter2@swordfish@127.0.0.1:1/c"),
        ("COREC_DB_URL", "postgresql://corec:hunter2%@127.0.0.1:1/c"),
        ("COREC_DB_URL", "postgresql://corec@127.0.0.1:1/c?password=hunter2%2"),
        ("COREC_DB_URL", "postgresql://corec:hunter2@[::1/c"),
        ("COREC_DB_URL", "postgresql://corec:hunter2@h:swordfish/c"),
        ("COREC_DB_URL", "postgresql://corec:hunter2/swordfish@h/c"),
        ("COREC_REDIS_URL", "redis://:hunter2@h:swordfish/0"),
        ("COREC_REDIS_URL", "redis://:hunter2#swordfish@h/0"),
        ("COREC_REDIS_URL", "hunter2"),
    ],
)
def test_a_url_that_is_none_is_one_line_without_it(tmp_path: Path, name: str, url: str) -> None:
    done = corec(tmp_path, "run", **{name: url})
    assert done.code == 2, done.err
    assert done.err.startswith(f"corec: {name}: found ")
    assert done.err.count("\n") == 1
    assert_hidden(done.out + done.err)


@pytest.mark.slow
@pytest.mark.parametrize(
    "environ",
    [
        {"COREC_DB_URL": "postgresql://u:hunter2%25swordfish@127.0.0.1:1/c?sslpassword=hunter2"},
        {"COREC_DB_URL": "postgresql://u:hunter2@127.0.0.1:1/c?sslmode=hunter2"},
        {"COREC_DB_URL": "postgresql://u:hunter2@127.0.0.1:1/c?hunter2=1"},
        {"POSTGRES_PASSWORD": "hunter2 'swordfish\\", "REDIS_PASSWORD": "hunter2"},
        {"COREC_REDIS_URL": "redis://:hunter2%40swordfish@127.0.0.1:1/0"},
    ],
)
def test_a_server_out_of_reach_is_told_without_it(tmp_path: Path, environ: dict[str, str]) -> None:
    done = corec(tmp_path, "run", "--ticks", "1", **environ)
    assert done.code == 1, done.err
    assert "can't be reached" in done.err
    assert_hidden(done.out + done.err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.mkdir(), "a file that cannot be read (Is a directory)"),
        (lambda path: path.symlink_to("nowhere"), "a file that cannot be read (No such file"),
        (lambda path: path.write_bytes(b""), "an empty value"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf\r\n"), "an empty value"),
        (lambda path: path.write_bytes(b"hunter2\nswordfish\n"), "more than one line"),
        (lambda path: path.write_bytes("hunter2\n".encode("utf-16")), "a file that is not text"),
    ],
    ids=["folder", "dangling", "empty", "only a BOM", "two lines", "UTF-16"],
)
@pytest.mark.parametrize("by", ["POSTGRES_PASSWORD_FILE", "CREDENTIALS_DIRECTORY"])
def test_a_secret_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, make: object, found: str, by: str
) -> None:
    assert callable(make)
    make(tmp_path / "postgres_password")
    place = tmp_path / "postgres_password" if by.endswith("_FILE") else tmp_path
    if by == "CREDENTIALS_DIRECTORY" and not (tmp_path / "postgres_password").exists():
        return  # a credential that is not there is not asked for
    done = corec(tmp_path, "run", **{by: str(place)})
    assert done.code == 2, done.err
    assert done.err.startswith(f"corec: {by}")
    assert found in done.err
    assert done.err.count("\n") == 1
    assert_hidden(done.out + done.err)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfhunter2\r\n", b"hunter2", b"hunter2\n", b"hunter2\r\n"]
)
def test_what_editors_add_to_a_secret_file_is_not_the_secret(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "REDIS_PASSWORD").write_bytes(content)
    raw = {"instance_id": "shown", "bloques": BLOQUES, "redis_config": {"host": "h"}}
    config = parse_config(raw, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert config.redis.connection_url() == "redis://:hunter2@h:6379"


def test_a_configuration_that_was_read_hides_its_secrets_in_every_form() -> None:
    secret = "hunter2/ \"ñ'%"
    raw = {
        "instance_id": "shown", "bloques": BLOQUES,
        "db_config": {"url": f"postgresql://u:{quote(secret, safe='')}@h/d?sslpassword=swordfish"},
        "redis_config": {"host": "h", "password": secret},
    }  # fmt: skip
    parse_config(raw)
    for form in (secret, quote(secret, safe=""), json.dumps(secret), repr(secret), "swordfish"):
        assert_hidden(log.mask(f"libpq says: {form}!"))


def test_secrets_of_a_url() -> None:
    assert set(secrets_in("redis://:a%40b@h/0")) == {"a%40b", "a@b"}
    assert secrets_in("postgresql://h/d?sslmode=require") == []
    assert set(secrets_in("postgresql://u@h/d?PASSWORD=x%20y&a=b")) == {"x%20y", "x y"}
    assert secrets_in("") == []


def test_a_traceback_on_a_terminal_shows_no_variables(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """structlog prints every local variable of every frame where Rich is installed."""
    before = list(logging.getLogger().handlers), sys.excepthook
    log.configure("console", "info", None, "test")
    try:
        conninfo = f"host=h key={PARTS[0]}"
        try:
            raise ValueError(f"length {len(conninfo)}")
        except ValueError:
            log.get_logger("corec.test").exception("it failed")
    finally:
        for handler in set(logging.getLogger().handlers) - set(before[0]):
            logging.getLogger().removeHandler(handler)
        monkeypatch.setattr(sys, "excepthook", before[1])
    shown = capfd.readouterr().err
    assert "ValueError: length" in shown
    assert "conninfo" not in shown.replace("len(conninfo)", "")
    assert_hidden(shown)


def test_a_traceback_that_ends_a_process_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    log.hide("hunter2")
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    error = ConnectionError("cannot reach redis://u:swordfish@h as hunter2")
    log.show_masked(type(error), error, None)
    assert "cannot reach redis://u:***@h as ***" in written.getvalue()


@pytest.mark.slow
def test_ps_does_not_show_the_url_of_a_replay(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "series.csv")  # it waits for the file's first line
    replay = subprocess.Popen(
        [sys.executable, "-m", "corec", "replay", str(tmp_path / "series.csv"), "--canal", "1",
         "--url", "redis://:hunter2@127.0.0.1:1/0", "--instance", "x", "--map", "0-9"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: "redis://:***@" in command_of(replay.pid), "the title is masked", 60.0)
        assert_hidden(command_of(replay.pid))
    finally:
        replay.kill()
        assert_hidden(replay.communicate()[0])
