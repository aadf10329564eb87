"""The instance under test of benchmarks and chaos runs: what it is started with, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corec.lab.instance import LabFailed, LabInstance

CONFIG = {"instance_id": "lab", "bloques": [{"id": "a", "canal": 1, "entidades": 0}]}


def test_nothing_of_ours_leads_it_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COREC_CRASH", "COREC_DB_URL", "REDIS_URL", "POSTGRES_HOST", "PGHOST"):
        monkeypatch.setenv(name, "another's")
    monkeypatch.setenv("LANG", "C")
    one = LabInstance(tmp_path / "home", tmp_path / "run", CONFIG)
    assert "another's" not in one.environment.values()
    assert one.environment["LANG"] == "C"
    assert one.environment["COREC_HOME"] == str(one.home)
    assert one.environment["COREC_RUNTIME_BASE"] == str(one.runtime)
    assert json.loads(one.config_path.read_text()) == CONFIG | {
        "state_dir": str(one.state), "runtime_dir": str(one.runtime),
    }  # fmt: skip


@pytest.mark.slow
def test_one_that_fails_says_why(tmp_path: Path) -> None:
    one = LabInstance(tmp_path / "home", tmp_path / "run", CONFIG)
    one.spawn()
    with pytest.raises(LabFailed, match=r"(?s)exit code 2.*bloques\[0\]\.entidades"):
        one.wait(60.0)
