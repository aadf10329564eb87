"""The notebooks of the documents: each cell runs, one after the other, as in Jupyter."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def cells(path: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(one["source"]) for one in found if one["cell_type"] == "code"]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cell ends with is shown: it can be."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = 0
    for number, text in enumerate(cells(path)):
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}[{number}]", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            shown += bool(repr(value))
    assert shown > 2
