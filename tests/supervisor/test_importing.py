"""The check before an upgrade imports what a process may need, broken or not."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.supervisor.importing import import_all, module_names
from tests.support.instance import small_config


def test_every_process_is_among_them() -> None:
    names = module_names(parse_config(small_config()))
    for name in (
        "corec.nucleus.process", "corec.persister.process", "corec.broker.process",
        "corec.worker.process", "corec.supervisor.main", "corec.http.app", "shm.lane",
        "corec.embedded.valkey",
    ):  # fmt: skip
        assert name in names
    assert not any(name.startswith(("corec.lab", "corec.tasks.queue")) for name in names)
    called = {"run": "webhook", "pool": "celery", "url": "http://127.0.0.1:9/"}
    celery = parse_config(small_config(tasks=[called]))
    assert "corec.tasks.queue" in module_names(celery)


def test_they_come_with_what_corec_requires() -> None:
    """Celery and pyarrow are extras: who has none of them upgrades, too."""
    required = {
        re.split(r"[^\w.-]", text)[0].lower().replace("_", "-")
        for text in requires("corec") or () if "extra ==" not in text
    }  # fmt: skip
    of_module, known = packages_distributions(), {*sys.stdlib_module_names, "corec", "shm"}
    for name in module_names(parse_config(small_config())):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        for node in ast.parse(Path(str(spec.origin)).read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for found in {each.partition(".")[0] for each in names} - known:
                given = {one.lower().replace("_", "-") for one in of_module[found]}
                assert given & required, f"{name} imports {found}"


@pytest.mark.parametrize(
    ("text", "said"),
    [("def f(:\n", "SyntaxError"), ("import nothing_of_that_name\n", "ModuleNotFoundError"),
     ("raise SystemExit(3)\n", "SystemExit: 3")],
)  # fmt: skip
def test_what_is_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    ours, users = tmp_path / "ours", tmp_path / "users"
    for folder, name in ((ours, "broken_part.py"), (users, "my_module.py")):
        folder.mkdir()
        (folder / name).write_text(text)
    monkeypatch.setattr(corec, "__path__", [*corec.__path__, str(ours)])
    monkeypatch.syspath_prepend(users)
    config = parse_config(small_config(modules=["my_module:Mine"]))
    with pytest.raises(ConfigError) as faults:
        import_all(config)
    assert [fault.path for fault in faults.value.faults] == ["corec.broken_part", "my_module"]
    assert all(said in fault.found for fault in faults.value.faults)
    assert "corec.broken_part" not in sys.modules
