"""Compiled kernels are kept on disk, under a key over everything that decides them."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import importlib
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import corec
import corec.entities.compile as compiling
from corec import cache
from corec.entities.compile import compile_processor, kernel_key
from corec.testing import Block

HELPERS = "GAIN = {gain}\ndef eased(x):\n    return GAIN * x\n"
USER = """
import corec, numpy as np, user_helpers
from user_helpers import eased
TABLE = np.array([{table}, 2.0], np.float32)
OFFSET = {offset}
def start(me):
    return {start}
def close(me):
    def inner(x):
        return x + {inner}
    return inner(me.x)
@corec.micro(state={{"x": ("f4", {default})}}, params={{"p": {param}}}, init=start)
def mine(me):
    me.x = eased(me.x) + OFFSET + TABLE[0] + user_helpers.eased(me.p){extra}
    return close(me)
"""
GIVEN: dict[str, Any] = {
    "gain": 0.5, "table": 1.0, "offset": 0.25, "start": 0.0, "inner": 1.0, "default": 1.0,
    "param": 0.5, "extra": "",
}  # fmt: skip


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``user(gain=…)`` writes and imports a user's modules and returns their processor."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the files change within one second
    for name in ("user_helpers", "user_module"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    def make(**changed: Any) -> Any:
        values = {**GIVEN, **changed}
        (tmp_path / "user_helpers.py").write_text(HELPERS.format(**values))
        (tmp_path / "user_module.py").write_text(USER.format(**values))
        load("user_helpers", tmp_path / "user_helpers.py")
        return load("user_module", tmp_path / "user_module.py").mine

    return make


def test_the_key_is_the_same_for_the_same_and_another_for_any_change(user: Any) -> None:
    key = kernel_key(user(), 100)
    assert kernel_key(user(), 100) == key
    changes: list[dict[str, Any]] = [
        {"gain": 0.75}, {"table": 1.5}, {"offset": 0.5}, {"start": 1.0}, {"inner": 2.0},
        {"default": 2.0}, {"param": 0.25}, {"extra": " - me.p"},
    ]  # fmt: skip
    keys = {kernel_key(user(**change), 100) for change in changes}
    assert len(keys) == len(changes)
    assert key not in keys
    assert kernel_key(user(), 101) != key


def test_an_init_counts_though_the_processor_calls_it_too() -> None:
    def shared(me: Any) -> Any:
        return me.valor + 1.0

    def calls(me: Any) -> Any:
        return shared(me)

    plain = corec.micro(calls)
    assert kernel_key(plain, 10) != kernel_key(corec.micro(init=shared)(calls), 10)


def test_what_is_used_is_kept(tmp_path: Path) -> None:
    """Checkouts, versions and projects share a folder; one that is new takes nobody's away."""
    now = time.time()

    def made(number: int, days: float) -> Path:
        folder = tmp_path / f"k-{number:016x}"
        folder.mkdir()
        os.utime(folder, (now - days * 86400, now - days * 86400))
        return folder

    recent = [made(k, 0.1 * k) for k in range(cache.KEPT + 6)]
    old = [made(100 + k, 20.0 + k) for k in range(3)]
    (tmp_path / "of somebody else").mkdir()
    cache._prune(tmp_path)
    assert all(folder.exists() for folder in recent)
    assert not any(folder.exists() for folder in old)
    more = [made(200 + k, 5.0) for k in range(cache.KEPT_MAX)]
    cache._prune(tmp_path)
    assert all(folder.exists() for folder in recent)
    assert len(list(tmp_path.glob("k-*"))) == cache.KEPT_MAX
    assert sum(folder.exists() for folder in more) == cache.KEPT_MAX - len(recent)
    assert (tmp_path / "of somebody else").exists()


def test_the_last_few_are_kept_however_old(tmp_path: Path) -> None:
    for number in range(cache.KEPT + 1):
        folder = tmp_path / f"k-{number:016x}"
        folder.mkdir()
        os.utime(folder, (1e9 + number, 1e9 + number))
    cache._prune(tmp_path)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["1", "2", "3", "4"]


@pytest.mark.slow
def test_a_new_process_loads_what_another_compiled(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = user()
    compile_processor(first, 100)
    monkeypatch.setattr(compiling, "_BUILT", {})  # what a new process starts with
    monkeypatch.setattr(compiling, "_PARTS", {})
    again = user()
    (module,) = compile_processor(again, 100).keep
    assert module.update.cache_hits == 1
    assert module.init.cache_hits == 1
    block = Block(again, entities=3, cap=100)
    block.tick()
    np.testing.assert_array_equal(block.view.column("x"), np.float32(2.0))
    changed = Block(user(gain=0.25), entities=3, cap=100)
    changed.tick()
    np.testing.assert_array_equal(changed.view.column("x"), np.float32(1.625))


def test_what_two_need_is_compiled_by_one_and_loaded_by_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, but not for one that is frozen, nor where no file can be."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    done: list[str] = []
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with cache.alone("one"):
            done.append("loaded")

    thread = threading.Thread(target=second)
    with cache.alone("one"), cache.alone("other"):
        thread.start()
        assert waits.wait(60.0)
        with cache.alone("one", 0.2):  # as long as that the first one seems to be frozen
            assert done == []
        done.append("compiled")
    thread.join(60.0)
    assert done == ["compiled", "loaded"]
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "nowhere")
    with cache.alone("one"), cache.alone("one"):
        pass


def test_what_can_not_be_locked_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    path.touch()
    descriptor = os.open(path, os.O_PATH)  # flock refuses it, as a file system without locks does
    try:
        assert cache._held(descriptor)
    finally:
        os.close(descriptor)


def test_a_fork_within_holds_nothing_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread's child has the descriptor, too."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    with cache.alone("one"):
        child = os.dup(next(_open_at(tmp_path / "one.lock")))
    try:
        with (tmp_path / "one.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(child)


def _open_at(path: Path) -> Iterator[int]:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(path):
                yield int(link.name)


def test_the_folder_is_of_every_source_that_compiles() -> None:
    package = Path(str(corec.__file__)).parent
    compiles = re.compile(rb"(?:from|import) (?:numba|shm\.jit)\b")
    found = {
        source
        for source in package.rglob("*.py")
        if package / "lab" not in source.parents and compiles.search(source.read_bytes())
    }
    assert len(found) > 30
    assert found <= set(cache.sources())


def test_the_folder_is_of_every_constant_that_compiled_code_may_read() -> None:
    """What Numba caches it looks for by the function's own file: a number that another file has is
    within the machine code, and so must be in the name of the folder."""
    sources = set(cache.sources())
    names = {"desc.py", "evolution_desc.py", "links.py", "frames.py", "block.py"}
    assert names <= {source.name for source in sources}
    root = Path(str(corec.__file__)).parents[1]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_bytes())):
            if not isinstance(node, ast.ImportFrom):
                continue
            place = root.joinpath(*str(node.module).split("."))
            for name in [alias.name for alias in node.names]:
                own = [place / f"{name}.py", place / name / "__init__.py"]
                near = [*own, place.with_suffix(".py"), place / "__init__.py"]
                found = [path for path in near if path.exists()]
                if found and found[0] not in sources:
                    value = getattr(importlib.import_module(str(node.module)), name)
                    assert callable(value), f"{source} reads {name}"
