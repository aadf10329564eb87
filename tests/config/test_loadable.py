"""What is accepted is done: a module or plugin that can't be loaded is a fault before the start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.nucleus.loadable import BUILT_IN, check_loadable, load_class

SMALL: dict[str, Any] = {
    "instance_id": "loadable", "bloques": [{"id": "a", "canal": 1, "entidades": 10}],
}  # fmt: skip
OWN = """
from corec.modules.base import ModuloBase


class Mine(ModuloBase):
    async def ejecutar(self):
        return None


NOTHING = 3
"""


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        (["nobody"], 'modules[0]: found "nobody": no module of this name'),
        (["auditoria", "nowhere.at:All"], "modules[1]: found"),
        (["own_modules_x:NOTHING"], "no class derived from ModuloBase"),
        (["own_modules_x:Absent"], "AttributeError"),
        (["ends_at_import_x:Mine"], "SystemExit"),
    ],
)
def test_a_module_that_cannot_be_loaded(tmp_path: Path, modules: list[str], says: str) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "own_modules_x.py").write_text(OWN)
    (tmp_path / "plugins" / "ends_at_import_x.py").write_text("raise SystemExit(3)\n")
    config = parse_config({**SMALL, "modules": modules}, base_dir=tmp_path)
    with pytest.raises(ConfigError) as refused:
        check_loadable(config)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    written = tmp_path / "corec.json"
    written.write_text(json.dumps({**SMALL, "modules": modules}), encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(says)):
        corec.World(written)


def test_a_world_in_this_process_has_no_unknown_module() -> None:
    with pytest.raises(ConfigError, match="no module of this name"):
        corec.World({"bloques": SMALL["bloques"], "modules": ["evolucion", "nobody"]})


@pytest.mark.parametrize(
    ("modules", "second"),
    [
        (["auditoria", "registro", "auditoria"], 2),
        (["sincronización", "ModuloSincronizacion"], 1),
        (["evolucion", "corec.modules.evolucion:ModuloEvolucion"], 1),
        (["mine:Mine", "mine.Mine"], 1),
    ],
)
def test_a_module_is_there_once(modules: list[str], second: int) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({**SMALL, "modules": modules})
    said = f'modules[{second}]: found "{modules[second]}", which is there twice, allowed each once'
    assert said in str(refused.value)
    assert parse_config({**SMALL, "modules": modules[:second]}).modules


def test_those_that_can(tmp_path: Path) -> None:
    (tmp_path / "own_modules_y.py").write_text(OWN)
    names = ["registro", "ejecucion", "sincronización", "auditoria", "own_modules_y:Mine"]
    config = parse_config({**SMALL, "modules": names}, base_dir=tmp_path)
    check_loadable(config)
    assert load_class("own_modules_y.Mine", config).__name__ == "Mine"
    assert [load_class(name, config).nombre for name in BUILT_IN] == list(BUILT_IN)


def test_an_enabled_plugin_is_a_fault_and_a_disabled_one_is_not() -> None:
    with pytest.raises(ConfigError, match=r"plugins\.codex: found an enabled plugin"):
        check_loadable(parse_config({**SMALL, "plugins": ["codex"]}))
    check_loadable(parse_config({**SMALL, "plugins": {"codex": {"enabled": False}}}))


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "notify").write_text("#!/bin/sh\n")
    here = {**SMALL, "tasks": [{"run": "command", "command": ["bin/notify", "a/b"]}]}
    config = parse_config(here, base_dir=tmp_path)
    with pytest.raises(ConfigError) as refused:
        check_loadable(config)
    assert str(refused.value).startswith(f'tasks[0].command[0]: found "{tmp_path}/bin/notify"')
    (tmp_path / "bin" / "notify").chmod(0o700)
    check_loadable(config)
    assert config.tasks[0].words(config.absolute)[1:] == ["a/b"], "arguments are nobody's paths"
    for program, faults in (("sh", 0), ("no-such-program", 1)):
        config = parse_config({**SMALL, "tasks": [{"run": "command", "command": [program]}]})
        if faults:
            with pytest.raises(ConfigError, match=r'command\[0\]: found "no-such-program"'):
                check_loadable(config)
        else:
            check_loadable(config)
