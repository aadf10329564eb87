"""The systemd unit: what systemd says about it, and what it must never say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.documents import ROOT
from tests.support.processes import patient

UNIT = ROOT / "systemd" / "corec.service"
HOME = "/opt/corec"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")


def settings() -> dict[str, str]:
    """Every setting of the unit; a later one of the same name is joined on."""
    found: dict[str, str] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z]+)=(.*)$", line)
        if match:
            found[match[1]] = f"{found.get(match[1], '')} {match[2]}".strip()
    return found


def test_it_notifies_from_the_process_that_systemd_started() -> None:
    unit = settings()
    assert unit["Type"] == "notify"
    assert unit["NotifyAccess"] == "main"
    assert int(unit["WatchdogSec"]) >= 30


def test_it_lets_numba_and_the_world_live() -> None:
    unit = settings()
    assert "MemoryDenyWriteExecute" not in unit
    assert "DynamicUser" not in unit
    assert unit["RemoveIPC"] == "no"
    assert "PrivateUsers" not in unit


def test_a_stop_may_take_as_long_as_a_drain() -> None:
    from corec.supervisor.drain import STAGE_SECONDS

    unit = settings()
    assert unit["KillMode"] == "mixed"
    stages, slow_disk = 3, 60  # the checkpoint of a world of 1.2 GB
    assert int(unit["TimeoutStopSec"]) > stages * STAGE_SECONDS + slow_disk


def test_it_starts_run_sh_and_may_write_the_checkout() -> None:
    unit = settings()
    assert unit["ExecStart"].endswith(f"bash {HOME}/run.sh")
    assert unit["WorkingDirectory"] == HOME
    assert unit["ReadWritePaths"] == HOME


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, timeout=patient(60)
    )


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(HOME, str(ROOT)), encoding="utf-8")
    answer = analyze("verify", "--man=no", str(unit))
    about_us = [line for line in answer.stderr.splitlines() if UNIT.name in line]
    assert about_us == []
    assert answer.returncode == 0, answer.stderr


@needs_systemd
def test_it_is_hardened() -> None:
    answer = analyze("security", "--offline=true", "--threshold=25", str(UNIT))
    if "unrecognized option" in answer.stderr:
        pytest.skip("this systemd-analyze can't look at a unit that is not installed")
    assert answer.returncode == 0, answer.stdout
