"""Every command and option of ``corec`` is documented, and so is every figure of the summary."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

from corec import exits
from corec.cli.main import whole_app
from corec.control.ctl import app as ctl_app
from corec.supervisor import summary
from tests.docs.documents import ROOT
from tests.support.processes import patient

START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
REPLAY = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")


def parts(app: typer.Typer) -> dict[str, Any]:
    """The commands of an app by name."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a click group


def test_every_command_of_corec_has_a_row() -> None:
    names = {name for name, part in parts(whole_app()).items() if not part.hidden}
    assert {name for name in names if f"| `corec {name}" not in START} == set()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("corec.cli.main", ("numba", "shm.jit")),
     ("corec.control.ctl", ("numba", "shm.jit", "psycopg", "redis"))],
)  # fmt: skip
def test_a_command_line_loads_nothing_that_it_may_not_need(
    module: str, heavy: tuple[str, ...]
) -> None:
    """``corec run`` says that it compiles before it does, and keeps the compiler's memory out;
    most of ``corec-ctl`` asks neither server."""
    code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=patient(60)
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_every_option_of_run_has_a_row() -> None:
    options = {opt for param in parts(whole_app())["run"].params for opt in param.opts}
    assert {opt for opt in options - {"--help", "-h"} if f"`{opt}" not in START} == set()


def test_no_row_names_an_option_that_is_not_there() -> None:
    table = START.split("## Options of `corec run`")[1].split("##")[0]
    options = {opt for param in parts(whole_app())["run"].params for opt in param.opts}
    assert set(re.findall(r"`(--?[a-z-]+)", table)) <= options


def test_every_option_of_replay_is_documented() -> None:
    options = {
        opt
        for param in parts(whole_app())["replay"].params
        for opt in param.opts
        if opt.startswith("--")
    }
    usual = {"--help", "--json"}
    assert {opt for opt in options - usual if f"{opt}" not in REPLAY} == set()


def test_every_command_explains_itself() -> None:
    for app in (whole_app(), ctl_app):
        for name, command in parts(app).items():
            assert command.help, name
            for param in command.params:
                assert name == "schema" or getattr(param, "help", None), f"{name}: {param.name}"


def test_every_figure_of_the_summary_is_documented() -> None:
    tree = ast.parse(inspect.getsource(summary.summary))
    (returned,) = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    assert isinstance(returned, ast.Dict)
    keys = {str(key.value) for key in returned.keys if isinstance(key, ast.Constant)}
    keys |= set(summary.COUNTED)
    assert {key for key in keys if f"`{key}`" not in START} == set()


def test_every_exit_code_is_documented() -> None:
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert {code for code in codes if f"\n| {code} |" not in START} == set()


def test_what_the_documents_name_is_there() -> None:
    """Files of this checkout, and tools that are started by ``python -m``."""
    absent = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\w/…])(?:corec|shm|tests|examples)/[\w/]+\.py\b", text))
        absent += [f"{path.name}: {name}" for name in named if not (ROOT / name).exists()]
        for name in set(re.findall(r"python -m ((?:corec|tests)[\w.]*\w)", text)):
            module = ROOT / name.replace(".", "/")
            files = (module.with_suffix(".py"), module / "__main__.py")
            texts = (file.name + file.read_text() for file in files if file.is_file())
            if not any("__main__" in one for one in texts):
                absent.append(f"{path.name}: python -m {name}")
    assert absent == []


def test_the_rooms_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+(?:\.py)?)`", text))
    rooms = {name for name in named if (ROOT / "corec" / name.partition("/")[0]).is_dir()}
    here = {name: ROOT / "corec" / name for name in rooms}
    absent = [n for n, path in here.items() if not path.exists() | path.with_suffix(".py").exists()]
    assert absent == []
