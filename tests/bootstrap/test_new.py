"""``corec new``, a folder without a project, completion, and the one place of the version."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import corec
from corec.config import json_schema, load_config
from corec.plan import make_plan
from tests.docs.documents import ROOT
from tests.support.processes import patient

FILES = {
    "configs/corec_config.json", "configs/corec_config.schema.json", "plugins/first.py",
    "tests/test_first.py", "compose.yaml", "pytest.ini", ".gitignore", "README.md", ".env",
}  # fmt: skip


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("COREC_")}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True,
        timeout=patient(600),
        env={**known, "PYTHONPATH": str(ROOT), **environment}, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_project_is_made_once_and_whole(tmp_path: Path) -> None:
    made = run("corec", "new", "plant", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "plant"
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == FILES
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    config = load_config(folder / "configs" / "corec_config.json", environ={})
    assert (config.instance_id, config.base_dir) == ("plant", folder)
    assert make_plan(config).swarms[0].params == pytest.approx((0.01, 1.0))
    schema = (folder / "configs" / "corec_config.schema.json").read_text(encoding="utf-8")
    assert json.loads(schema) == json_schema()
    tested = run("pytest", "-q", "-k", "worn", "-p", "no:cacheprovider", cwd=folder)
    assert tested.returncode == 0, tested.stdout
    (folder / "README.md").write_text("mine", encoding="utf-8")
    again = run("corec", "new", "plant", cwd=tmp_path)
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert "is there already" in again.stderr
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run",), "corec new NAME"),
        (("check",), "corec new NAME"),
        (("new", "no/such"), "No such file"),
        (("new", "a b"), "allowed 1 to 64"),
        (("new", "x" * 65), "allowed 1 to 64"),
    ],
)
def test_what_to_do_is_one_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = run("corec", *words, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "module", "word", "found"),
    [("corec", "corec", "ch", {"check", "checkpoint", "chaos"}),
     ("corec-ctl", "corec.control.ctl", "do", {"doctor"})],
)  # fmt: skip
def test_a_shell_completes(
    tmp_path: Path, program: str, module: str, word: str, found: set[str]
) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = run("corec", "completion", shell, cwd=tmp_path).stdout
        assert "_COREC_COMPLETE=complete_" in script
        assert "_COREC_CTL_COMPLETE=complete_" in script
    variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
    entry = "corec.cli.main" if module == "corec" else module
    code = f"import sys; sys.argv[:] = [{program!r}]; from {entry} import app_main; app_main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=patient(60),
        env={**os.environ, variable: "complete_bash", "COMP_WORDS": f"{program} {word}",
             "COMP_CWORD": "1"}, check=False,
    )  # fmt: skip
    assert set(done.stdout.split()) == found, done.stderr


def test_the_version_has_one_owner() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "corec/version.py"
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## (\S+)( \(unreleased\))?", changes, re.MULTILINE)
    assert heading is not None
    assert corec.__version__ == heading[1] + (".dev0" if heading[2] else "")
