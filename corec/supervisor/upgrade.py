"""SIGUSR2: the supervisor becomes the current code by ``exec``, keeping its pid and its children.

The children go on ticking while the new code is imported. Passed on by descriptor: the owner lock
and the HTTP socket; by number: the children, whom the new code brings to a tick boundary, reaps and
replaces by forks of its own. The embedded servers are stopped before and started again after;
lanes hold what is said meanwhile. A code that can't read this world's layout is refused before.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from corec.supervisor.servers import Servers
from corec.supervisor.wishes import Wishes
from shm.owner import OwnerLock

if TYPE_CHECKING:  # a start asks `inherited` before anything heavy is loaded
    from corec.supervisor.processes import Group

VARIABLE = "COREC_UPGRADE"
CHECK_SECONDS = 120


@dataclass(frozen=True)
class Inherited:
    """What the code before ``exec`` left: open descriptors and running children."""

    lock: int
    http: int
    children: tuple[int, ...]

    def listener(self) -> socket.socket:
        """The HTTP socket."""
        os.set_inheritable(self.http, False)
        listener = socket.socket(fileno=self.http)
        listener.setblocking(False)
        return listener


def inherited(environ: Mapping[str, str]) -> Inherited | None:
    """What ``exec_again`` left for this process, None at an ordinary start."""
    text = environ.get(VARIABLE)
    if not text:
        return None
    raw = json.loads(text)
    if raw["pid"] != os.getpid():
        return None
    return Inherited(raw["lock"], raw["http"], tuple(raw["children"]))


def refusal(wishes: Wishes) -> str | None:
    """Why the current code can't take over this world; None when it can.

    Asked of a fresh interpreter: only that has the current code.
    """
    command = [sys.executable, "-m", "corec", "check", "--adopt"]
    command += ["--overrides", json.dumps(wishes.overrides)]
    if wishes.config_path is not None:
        command.append(str(wishes.config_path))
    checked = subprocess.run(
        command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
    )
    if checked.returncode == 0:
        return None
    return checked.stderr.strip() or f"the new code exits with {checked.returncode}"


def exec_again(
    wishes: Wishes, lock: OwnerLock, listener: socket.socket, group: Group, servers: Servers
) -> NoReturn:
    """Become the current code.

    Raises:
        EmbeddedServerError: an embedded server does not stop; nothing else has happened.
    """
    servers.stop()
    state = {
        "pid": os.getpid(),
        "lock": lock.hand_over(),
        "http": listener.fileno(),
        "children": [member.process.pid for member in group.running()],
    }
    os.set_inheritable(listener.fileno(), True)
    command = [sys.executable, "-m", "corec", "run"]
    if wishes.config_path is not None:
        command += ["--config", str(wishes.config_path)]
    for name, value in wishes.overrides.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    if wishes.json:
        command.append("--json")
    os.execve(sys.executable, command, {**os.environ, VARIABLE: json.dumps(state)})
