"""Runs the groups one after the other, each in its process; what fails is a note, not the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from corec.lab.bench import machine
from corec.lab.bench.groups import Group
from corec.lab.bench.results import Table, table_from_json
from corec.lab.bench.rounds import Effort, tell

END_SECONDS = 150.0


@dataclass
class Report:
    """Everything one ``corec bench`` found."""

    machine: dict[str, Any]
    effort: Effort
    tables: list[Table] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Group → why it has no tables."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every group ran and every check held."""
        return not self.failed and all(c.ok for t in self.tables for c in t.checks)

    def as_json(self) -> dict[str, Any]:
        """The ``--json`` document."""
        return {
            "machine": self.machine,
            "machine_line": machine.line(self.machine),
            "quick": self.effort.quick,
            "rounds": self.effort.rounds,
            "seconds": round(self.seconds, 1),
            "ok": self.ok,
            "failed": self.failed,
            "tables": [table.as_json() for table in self.tables],
        }


def run_groups(groups: Sequence[Group], effort: Effort) -> Report:
    """Measure ``groups``."""
    began = time.monotonic()
    tell("corec bench: the machine")
    report = Report(machine.describe(effort.quick), effort)
    for group in groups:
        tell(f"corec bench: {group.name}: {group.about}")
        try:
            report.tables += _in_process(group, effort)
        except GroupFailed as error:
            report.failed[group.name] = str(error)
            tell(f"  failed: {error}")
    report.seconds = time.monotonic() - began
    return report


class GroupFailed(RuntimeError):
    """A group's process ended without tables."""


def _in_process(group: Group, effort: Effort) -> list[Table]:
    command = [sys.executable, "-m", "corec.lab.bench.one", group.name]
    command += [str(int(effort.quick)), str(effort.rounds)]
    environment = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        out, _ = process.communicate(timeout=group.seconds_max)
    except subprocess.TimeoutExpired:
        raise GroupFailed(f"not done within {group.seconds_max:g} s") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise GroupFailed(f"its process ended with {process.returncode}, see above")
    return [table_from_json(data) for data in json.loads(out)]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever happened, nothing of it stays: it stops its servers when told to end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
