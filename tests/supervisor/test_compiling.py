"""Compiling leaves its memory in a process of its own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from corec import cache
from corec.cli import warm
from corec.config import Config, ConfigError, parse_config
from corec.entities.compile import compile_processor, is_compiled
from corec.plan import make_plan
from corec.supervisor.opening import compile_processors
from tests.support.instance import small_config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
MODULE = """
import corec

@corec.micro(state={{"level": "f4"}})
def new_one(me):
    me.level = me.level + {number}.0
    return {body}
"""


def _config(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Config:
    name = f"new_{secrets.token_hex(4)}"
    (folder / f"{name}.py").write_text(
        MODULE.format(number=secrets.randbelow(1_000_000), body=body), "utf-8"
    )
    monkeypatch.syspath_prepend(folder)
    one = {"id": "a", "canal": 1, "entidades": 10, "procesador": f"{name}:new_one"}
    return parse_config({**small_config(), "bloques": [one]})


def test_a_new_processor_is_loaded_from_what_a_child_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(_config(tmp_path, monkeypatch, "me.level"))
    (swarm,) = plan.swarms
    assert not is_compiled(swarm.processor, swarm.cap)
    compile_processors(plan)
    assert is_compiled(swarm.processor, swarm.cap)
    (module,) = compile_processor(swarm.processor, swarm.cap).keep
    assert (module.update.cache_hits, module.init.cache_hits) == (1, 1)


def test_where_there_is_one_core_there_is_one_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    with warm.beside() as second:
        assert second is None


def test_one_that_cannot_be_compiled_is_named_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"bloques\[0\]\.procesador"):
        compile_processors(make_plan(_config(tmp_path, monkeypatch, "me.nothing")))


def test_a_compile_that_was_cut_short_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (tmp_path / "half.nbi").touch()
    assert cache.is_cold()
    cache.is_complete()
    assert not cache.is_cold()
