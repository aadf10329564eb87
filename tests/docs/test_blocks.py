"""The code blocks of the documents, run as a newcomer would type them, beside a living instance.

All blocks of one document run in one shell, one after the other, in the checkout's folder. What the
text says of the shipped instance ``corec1`` holds of this one, which is a twentieth of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, blocks
from tests.e2e.conftest import _making, compiled
from tests.support.instance import Instance
from tests.support.processes import patient, wait_until

__all__ = ["compiled"]  # a fixture, used by its name
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # it may have to compile first

PROGRAMS = ("redis-cli", "psql", "zstd", "xxd", "python3")
RUNTIME_BASE = {
    "sh": "/dev/shm/corec-$(id -u)", "python": "/dev/shm/corec-{os.getuid()}",
}  # fmt: skip


@pytest.fixture(scope="module")
def corec1(tmp_path_factory: pytest.TempPathFactory, compiled: None) -> Iterator[Instance]:
    """The shipped configuration at a twentieth, with servers of its own."""
    config = json.loads((ROOT / "configs" / "corec_config.json").read_text(encoding="utf-8"))
    config["http"] = {"port": 0}
    with (
        tempfile.TemporaryDirectory(prefix="corec-test-", dir="/dev/shm") as shm,
        _making(tmp_path_factory.mktemp("blocks"), Path(shm)) as make,
    ):
        one = make(config)
        running = one.start("--scale", "0.05", "--workers", "1")
        running.ready(120.0)
        wait_until(lambda: running.status()["rows_persisted"] >= 150, "rows of three ticks", 120.0)
        yield one
        assert running.stop().code == 0


def _run(one: Instance, words: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**one.environment, "PATH": os.pathsep.join([str(one.home), os.environ["PATH"]])}
    environment.pop("COREC_HOME")
    return subprocess.run(
        words, input=text, cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=patient(110),
        check=False,
    )  # fmt: skip


def _script(one: Instance, document: Path, language: str) -> str:
    """Every block of one language, with this instance's base folder and this environment's ctl."""
    found = [block.text for block in blocks(document, language)]
    # files of columns: tests/checkpoint/test_collected.py makes some, and reads them so
    text = "\n".join(text for text in found if "pyarrow.dataset" not in text)
    text = text.replace(RUNTIME_BASE[language], str(one.runtime_base))
    ctl = f"{sys.executable} -m corec.control.ctl"
    if language == "sh":
        text = text.replace("bash run.sh ctl", ctl)
        bound = f"{sys.executable} -m corec checkpoint trim-bound --config '{one.config_path}'"
        return text.replace("bash run.sh checkpoint trim-bound", bound)
    text = text.replace("checkpoint=path)", 'checkpoint=path, changes={"scale": 0.05})')
    return text.replace('"bash", "run.sh", "ctl"', ", ".join(map(repr, ctl.split())))


@pytest.mark.parametrize("name", ["sql.md", "streams.md"])
def test_shell_blocks(corec1: Instance, name: str) -> None:
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        pytest.skip(f"not installed here: {', '.join(absent)}")
    text = _script(corec1, ROOT / "docs" / name, "sh")
    text = "\n".join(line for line in text.splitlines() if "-p 6379" not in line)  # another config
    done = _run(corec1, ["bash", "-euo", "pipefail"], text)
    assert done.returncode == 0, done.stderr
    assert "ERR" not in done.stdout
    assert done.stdout.strip()


@pytest.mark.parametrize("name", ["sql.md", "streams.md", "python.md", "experiments.md"])
def test_python_blocks(corec1: Instance, name: str) -> None:
    done = _run(corec1, [sys.executable, "-"], _script(corec1, ROOT / "docs" / name, "python"))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_readme_looks_from_python(corec1: Instance) -> None:
    (block,) = [b for b in blocks(ROOT / "README.md", "python") if "corec.attach" in b.text]
    done = _run(corec1, [sys.executable, "-"], block.text)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "'canal': 1" in done.stdout


def test_statements(corec1: Instance) -> None:
    """Each statement is understood, and those about blocks and messages find some."""
    test_python_blocks(corec1, "sql.md")  # makes the table of messages
    for block in blocks(ROOT / "docs" / "sql.md", "sql"):
        done = corec1.ctl("sql", block.text)
        assert done.code == 0, f"{block.text}\n{done.err}"


def test_the_readme_asks_what_an_instance_answers(corec1: Instance) -> None:
    lines = [
        line for block in blocks(ROOT / "README.md", "sh") for line in block.text.splitlines()
        if line.startswith("bash run.sh ctl") and "my_first" not in line and "nab" not in line
        and " stop" not in line and not line.endswith("\\")
    ]  # fmt: skip
    assert len(lines) >= 4
    ctl = f"{sys.executable} -m corec.control.ctl"
    text = "\n".join(line.replace("bash run.sh ctl", ctl) for line in lines)
    done = _run(corec1, ["bash", "-eu"], text)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(400)  # it compiles three processors
def test_the_tests_of_an_entity_run_where_the_text_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins")
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    stepping, *_, testing = [
        block
        for block in blocks(ROOT / "docs" / "entities.md", "python")
        if "testing" in block.text
    ]
    (tmp_path / "plugins" / "test_mine.py").write_text(testing.text, encoding="utf-8")
    for words in (["-m", "pytest", "-q", "-p", "no:cacheprovider", "plugins/test_mine.py"],
                  ["-c", f"import sys; sys.path.append('plugins')\n{stepping.text}"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=patient(190),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
