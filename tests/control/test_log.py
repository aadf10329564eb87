"""Logging: one JSON line per event, nothing secret, a file that can be rotated."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corec import log
from tests.support.processes import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A log file's path; logging is as it was afterwards."""
    root = logging.getLogger()
    level = root.level
    before = list(root.handlers)
    yield tmp_path / "folder" / "corec.jsonl"
    for handler in [h for h in root.handlers if h not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    log._secrets.clear()


def lines(path: Path) -> list[dict[str, object]]:
    """The file's JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_lines_say_who_when_what(path: Path) -> None:
    log.configure("json", "info", path, "worker 3")
    log.get_logger("corec.test").info("a thing\nhappened", count=3, where=path)
    logging.getLogger("somebody.else").warning("also %s", "this")
    log.get_logger("corec.test").debug("not shown")
    first, second = lines(path)
    assert first["event"] == "a thing\nhappened"
    assert (first["level"], first["role"], first["pid"]) == ("info", "worker 3", os.getpid())
    assert str(first["timestamp"]).endswith("Z")
    assert (first["count"], first["logger"]) == (3, "corec.test")
    assert (second["event"], second["level"]) == ("also this", "warning")


def test_secrets_never_appear(path: Path) -> None:
    log.configure("json", "info", path, "test")
    log.hide("Geheim-1")
    logger = log.get_logger("corec.test")
    logger.info("x", url="redis://user:Geheim-2@host:1/", conninfo="Geheim-3", password="Geheim-4")
    logger.info("host=h password='Geheim-5' dbname=d", some="Geheim-1")
    logger.info("postgresql://u:Geheim-6@h/d?password=Geheim-7&x=1")
    try:
        raise ConnectionError("cannot reach redis://:Geheim-8@h")
    except ConnectionError:
        logger.exception("failed")
    text = path.read_text(encoding="utf-8")
    assert "Geheim" not in text
    assert "redis://user:***@host:1/" in text
    assert "x=1" in text
    assert len(lines(path)) == 4


def test_reopen_follows_the_name(path: Path) -> None:
    log.configure("json", "info", path, "test")
    logger = log.get_logger("corec.test")
    logger.info("one")
    path.rename(path.with_suffix(".1"))
    logger.info("two")
    log.reopen()
    logger.info("three")
    assert [line["event"] for line in lines(path.with_suffix(".1"))] == ["one", "two"]
    assert [line["event"] for line in lines(path)] == ["three"]


def test_a_rotation_is_noticed_without_being_told(path: Path) -> None:
    log.configure("json", "info", path, "test")
    path.rename(path.with_suffix(".1"))

    def follows() -> bool:
        log.get_logger("corec.test").info("here")
        return path.exists()

    wait_until(follows, "lines go to the new file")
    assert lines(path)[-1]["event"] == "here"


def test_console_form_is_readable(path: Path) -> None:
    log.configure("console", "debug", path, "nucleus")
    log.get_logger("corec.test").warning("ticks are late", late=3)
    text = path.read_text(encoding="utf-8")
    assert "ticks are late" in text
    assert "late=3" in text
    assert "\x1b" not in text


def test_a_terminal_obeys_nothing_that_is_told(path: Path) -> None:
    log.configure("console", "info", path, "nucleus")
    log.get_logger("corec.test").info("an event\x1b[2J", who="me\x1b]0;x\x07", count=3)
    text = path.read_text(encoding="utf-8")
    assert r"an event\x1b[2J" in text
    assert "count=3" in text
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud")])
def test_bad_settings_are_errors(form: str, level: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        log.configure(form, level)


def test_nothing_of_rich_comes_with_it() -> None:
    """It takes 5 MiB of each instance, and shows every local variable in tracebacks."""
    code = "import sys, corec.log, structlog; assert 'rich' not in sys.modules; import rich.console"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
