"""What compiled code alone calls: Python, which would jump to address 0, has none of it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = ("corec/kernels", "corec/entities")
"""Who may import it: what is here is compiled, or writes what is."""


def _trees(*folders: str) -> dict[str, ast.Module]:
    """Those of the files that name the kernels, by their paths."""
    found = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            if "corec.kernels" in text or "shm.jit" in text:
                found[str(path.relative_to(ROOT))] = ast.parse(text)
    return found


def _inside(tree: ast.Module) -> set[str]:
    """The names of the functions that have no way in for Python."""
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Name) and one.id in ("inner", "dissolved")
                for one in node.decorator_list)
    }  # fmt: skip


def test_no_python_takes_what_it_could_not_call() -> None:
    trees = _trees("corec", "shm", "tests", "examples", "plugins")
    closed = {
        (path.removesuffix(".py").replace("/", "."), name)
        for path, tree in trees.items() for name in _inside(tree)
    }  # fmt: skip
    assert len(closed) > 100
    taken = {
        (path, node.module, one.name)
        for path, tree in trees.items() if not path.startswith(COMPILED)
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for one in node.names if (node.module, one.name) in closed
    }  # fmt: skip
    assert taken == set()
