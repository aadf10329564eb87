"""The decisions of bootstrap.py that need no installation."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import corec
from corec import bootstrap

_ROOT = Path(__file__).parents[2]


def test_the_build_reads_the_version() -> None:
    """As every fresh installation has it done; an environment that exists has it already."""
    assert ProjectMetadata(str(_ROOT), PluginManager()).version == corec.__version__


def test_the_stamp_knows_every_file_that_decides_what_is_installed() -> None:
    run = bootstrap.wanted_stamp(_ROOT, dev=False, python="3.11")
    dev = bootstrap.wanted_stamp(_ROOT, dev=True, python="3.11")
    assert run.items() < dev.items(), "a development environment also runs CoreC"
    assert set(dev) == {
        "root",
        "python",
        "pyproject.toml",
        "requirements.lock",
        "requirements-dev.lock",
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_torn_stamp_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "corec-stamp.json").write_text(text)
    assert bootstrap.read_stamp(tmp_path) == {}


def test_a_stamp_of_a_moved_checkout_is_not_ready(tmp_path: Path) -> None:
    stamp = bootstrap.wanted_stamp(_ROOT, dev=False, python="3.11") | {"root": "elsewhere"}
    (tmp_path / "corec-stamp.json").write_text(json.dumps(stamp))
    assert not bootstrap.is_ready(tmp_path, _ROOT, dev=False)


def test_where_nothing_can_be_run_an_environment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a limit on processes it looks broken, and is not."""
    stamp = bootstrap.wanted_stamp(_ROOT, dev=False, python="3.11")
    (tmp_path / "corec-stamp.json").write_text(json.dumps(stamp))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SystemExit):
        bootstrap.install(tmp_path, _ROOT, dev=False)
    told = capsys.readouterr().err
    assert told.startswith("CoreC: no program can be run now: No such file or directory; see")
    assert bootstrap.read_stamp(tmp_path) == stamp


def test_an_environment_that_does_not_answer_in_time_keeps_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it, the next run would make the environment from nothing."""
    stamp = bootstrap.wanted_stamp(_ROOT, dev=False, python="3.11") | {"requirements.lock": "old"}
    (tmp_path / "corec-stamp.json").write_text(json.dumps(stamp))
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(bootstrap, "_ANSWER_SECONDS", 0.2)
    with pytest.raises(SystemExit):
        bootstrap.install(tmp_path, _ROOT, dev=False)
    assert "does not answer within 0.2 s; nothing was changed" in capsys.readouterr().err
    assert bootstrap.read_stamp(tmp_path) == stamp


def test_a_private_directory_is_ours_and_closed(tmp_path: Path) -> None:
    made = bootstrap.private_dir(tmp_path / "a" / "b")
    assert made is not None
    assert made.stat().st_mode & 0o777 == 0o700
    link = tmp_path / "link"
    link.symlink_to(made)
    assert bootstrap.private_dir(link) is None
    assert bootstrap.private_dir(Path("/proc/nowhere")) is None


def test_without_a_home_the_cache_is_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent" if os.geteuid() else "/proc/nowhere")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert bootstrap.cache_dir() == tmp_path / f"corec-cache-{os.geteuid()}"


def test_locks_hold_no_index_and_pin_every_package() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (_ROOT / name).read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pins = [line for line in lines if line and line[0].isalpha()]
        assert pins
        assert all("==" in line and line.endswith("\\") for line in pins)
        assert any(line.startswith("hatchling==") for line in pins)
