"""Named crash points: die by SIGKILL at a chosen line, so that tests can see what is left.

``COREC_CRASH=name[:n]`` (read at import) arms one point: its n-th pass (default 1) kills the
process as ``kill -9`` would, with no clean-up of any kind.  A test may also ``arm`` one in a forked
child.  Armed state is private to the process and inherited by its forks; a restarted child that
should live calls ``disarm``.

``COREC_CRASH=role@name[:n],…`` arms nothing at import.  Each forked process says who it is and how
often it has died (``arm_life``): its first life gets the first item of its role, its second life
the second, and when there are no more it lives.  ``worker`` means every worker, ``worker 1`` one.

A code is a hash of the name, not a running number: it stands in compiled code that is kept on disk.
The points of compiled code are in ``shm.compiled_killpoint``; this module needs no compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ENVIRONMENT = "COREC_CRASH"
KILL_POINTS: dict[str, int] = {}
"""name -> code of every point registered so far."""

_memory = (ctypes.c_int64 * 2)()
ADDRESS = ctypes.addressof(_memory)
"""Where the two words of ``ARMED`` lie, for compiled code."""

ARMED: npt.NDArray[np.int64] = np.frombuffer(memoryview(_memory), np.int64)
"""[code of the armed point or 0, passes left until it kills]; this process's own."""


def code_of(name: str) -> int:
    """The code of a point: 63 bits of BLAKE2b of its name, never 0."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1 | 1


def register(name: str) -> int:
    """Enter ``name`` in the registry and return its code, to be kept as a module constant."""
    code = code_of(name)
    clash = next((n for n, c in KILL_POINTS.items() if c == code and n != name), None)
    if clash is not None:
        raise ValueError(f"kill point {name!r}: found the same code as {clash!r}, rename one")
    KILL_POINTS[name] = code
    return code


def arm(name: str, passes: int = 1) -> None:
    """Kill this process at the ``passes``-th pass through ``name`` from now on (>= 1)."""
    if passes < 1:
        raise ValueError(f"kill point {name!r}: found pass {passes}, expected 1 or more")
    ARMED[1] = passes
    ARMED[0] = code_of(name)


def disarm() -> None:
    """Let every kill point pass."""
    ARMED[:] = 0


def parse(text: str) -> tuple[str, int]:
    """Split ``name[:n]``; raises ValueError when n is no positive integer or the name is empty."""
    name, _, count = text.partition(":")
    if not name or (count and not count.isdecimal()) or count == "0":
        raise ValueError(f"{ENVIRONMENT}: found {text!r}, expected name or name:n with n >= 1")
    return name, int(count or 1)


class Death(NamedTuple):
    """One item of ``COREC_CRASH``; ``role`` is empty in a plain ``name[:n]``."""

    role: str
    name: str
    passes: int


def parse_deaths(text: str) -> list[Death]:
    """Split a whole ``COREC_CRASH``; raises ValueError as ``parse`` does, or when one of several
    items names no role."""
    deaths = []
    for item in text.split(","):
        role, _, point = item.rpartition("@")
        deaths.append(Death(role, *parse(point)))
    if len(deaths) > 1 and not all(death.role for death in deaths):
        raise ValueError(f"{ENVIRONMENT}: found {text!r}, expected role@name[:n] in each item")
    return deaths


def arm_life(role: str, life: int) -> None:
    """Arm what ``COREC_CRASH`` has for this life (0 = the first) of ``role``, else disarm.

    A plain ``name[:n]`` is for the first life of every process.
    """
    kinds = ("", role, role.partition(" ")[0])
    mine = [death for death in DEATHS if death.role in kinds]
    if life < len(mine):
        arm(mine[life].name, mine[life].passes)
    else:
        disarm()


def kill_point(name: str) -> None:
    """A crash point in Python code."""
    if _memory[0] and _memory[0] == code_of(name):
        _memory[1] -= 1
        if _memory[1] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


DEATHS: list[Death] = parse_deaths(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else []
"""What ``COREC_CRASH`` says."""
if DEATHS and not DEATHS[0].role:
    arm(DEATHS[0].name, DEATHS[0].passes)
