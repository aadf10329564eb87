"""SIGUSR2: the supervisor becomes the current code by ``exec``, keeping its pid and its children.

The children go on ticking while the new code is imported. Passed on by descriptor: the owner locks
and the HTTP socket; by number: the children, whom the new code brings to a tick boundary, reaps and
replaces by forks of its own, the number of workers, and the signals that wait. Signals that come
meanwhile stay pending: they are blocked, and ``exec`` keeps that. The embedded servers are stopped
before and started again after; lanes hold what is said meanwhile.

A code that can't be imported, or can't read this world's layout, is refused before: a fresh
interpreter with the current code imports every process's modules, the plugins' included, and looks
at the segments. An ``exec`` that fails leaves this code, which starts the servers again. Where the
new code has other fields, nobody ticks any more at the ``exec`` (``corec.supervisor.upgrading``).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

from corec.supervisor.wishes import Wishes

VARIABLE: Final = "COREC_UPGRADE"
REFITS: Final = 5
"""Exit code of the check that an upgrade asks: this code would give the world other fields."""
REFIT_VARIABLE: Final = "COREC_UPGRADE_REFIT"
CHECK_SECONDS: Final = 600.0
"""It compiles what is new, beside a world that ticks: minutes on a machine that is busy."""


@dataclass(frozen=True)
class Inherited:
    """What the code before ``exec`` left: open descriptors, running children, and what of the run
    is in no shared memory."""

    lock: int
    state_lock: int
    http: int
    children: tuple[int, ...]
    workers: int
    signals: tuple[int, ...]
    updates_before: int

    def listener(self) -> socket.socket:
        """The HTTP socket."""
        os.set_inheritable(self.http, False)
        listener = socket.socket(fileno=self.http)
        listener.setblocking(False)
        return listener


def inherited(environ: Mapping[str, str]) -> Inherited | None:
    """What ``become`` left for this process, None at an ordinary start."""
    text = environ.get(VARIABLE)
    if not text:
        return None
    raw = json.loads(text)
    if raw["pid"] != os.getpid():
        return None
    return Inherited(
        raw["lock"], raw["state_lock"], raw["http"], tuple(raw["children"]), raw["workers"],
        tuple(raw["signals"]), raw["updates_before"],
    )  # fmt: skip


@dataclass(frozen=True)
class Refit:
    """What the code before asks the check of the new one about other fields. By a variable, since a
    code that does not know it (an older one, gone back to) then refuses them."""

    migrating: bool
    """Values of fields that are gone may go."""
    trying: bool
    """The world stands still: what is to be made of it is tried."""

    def environ(self) -> dict[str, str]:
        """The environment of the check."""
        return {**os.environ, REFIT_VARIABLE: json.dumps(asdict(self))}


def asked_to_refit(environ: Mapping[str, str]) -> Refit | None:
    """What ``Refit.environ`` has; None: nobody asks."""
    text = environ.get(REFIT_VARIABLE)
    return None if not text else Refit(**json.loads(text))


def check_command(wishes: Wishes) -> list[str]:
    """The command that says whether the current code can take over this world: of a fresh
    interpreter, since only that has the current code."""
    command = [sys.executable, "-m", "corec", "check", "--adopt"]
    command += ["--overrides", json.dumps(wishes.overrides)]
    if wishes.config_path is not None:
        command.append(str(wishes.config_path))
    return command


def become(
    wishes: Wishes,
    state: dict[str, Any],
    inheritable: Sequence[int],
    *,
    migrating: bool = False,
) -> NoReturn:
    """Become the current code, which finds ``state`` and the open descriptors ``inheritable``;
    ``migrating``: values of fields that it has no more may go.

    Raises:
        OSError: that is not possible; the descriptors are as they were.
    """
    command = [sys.executable, "-m", "corec", "run"]
    if wishes.config_path is not None:
        command += ["--config", str(wishes.config_path)]
    for name, value in wishes.overrides.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    if wishes.json:
        command.append("--json")
    if migrating:
        command.append("--migrate")
    for descriptor in inheritable:
        os.set_inheritable(descriptor, True)
    state = {**state, "pid": os.getpid()}
    try:
        os.execve(sys.executable, command, {**os.environ, VARIABLE: json.dumps(state)})
    except OSError:
        for descriptor in inheritable:
            os.set_inheritable(descriptor, False)
        raise
