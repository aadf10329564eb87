"""What compiled code alone calls: Python, which would jump to address 0, has none of it, and a
process that compiles a new processor finds it compiled."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher

from corec.entities.codegen import kernel_source
from corec.entities.processor import Processor
from corec.kernels.philox import random_word
from tests.kernels.subjects import listener, worker

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
        and any(_said(one) in ("inner", "dissolved", "kept") for one in node.decorator_list)
    }  # fmt: skip


def _said(decorator: ast.expr) -> str:
    """Its name, whether or not it is given anything."""
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return named.id if isinstance(named, ast.Name) else ""


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


def _compiled_first(function: Any) -> bool:
    """Whether a process compiles it as soon as something that it compiles calls it."""
    if not isinstance(function, Dispatcher):
        return False
    kept: Any = function  # half annotated
    return bool(kept._can_compile and kept.targetoptions.get("inline") != "always")


@pytest.mark.parametrize("processor", [worker, listener], ids=["micro", "celu"])
def test_what_kernels_call_is_kept_on_disk(processor: Processor) -> None:
    """Each process that compiles a first kernel took longer for these than for the kernel."""
    source = kernel_source(processor, 1000, 2, None, "key", processor.kind == "celu")
    given = {
        name.name: getattr(importlib.import_module(str(node.module)), name.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("corec.")
        for name in node.names
    }
    assert {"tell", "nth_failed", "count_marks", "fill_random"} <= given.keys()
    assert {name for name, it in given.items() if _compiled_first(it)} == {"fetch"}  # two lines
    assert not _compiled_first(random_word), "which draws call"
