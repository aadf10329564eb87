"""The workers leave at a tick boundary, and others on the spot: what a change begins with."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Final

from corec.process.roles import WORKER
from corec.process.runtime import Runtime
from corec.supervisor.processes import Group, Member
from corec.supervisor.telling import who_works

REST_SECONDS_MAX: Final = 30.0
ENDING_SECONDS_MAX: Final = 20.0
Steps = Generator[None, None, None]


class Refused(Exception):
    """A wish that is not granted; the text says why. Everything is as it was."""


def rested(rt: Runtime, group: Group, seconds: float = REST_SECONDS_MAX) -> Steps:
    """Until every worker has left at a tick boundary; ticks go on if they have not within
    ``seconds``. Raises Refused then."""
    group.rest()
    deadline = time.monotonic() + seconds
    while not group.rested():
        if time.monotonic() > deadline:
            raise Refused(
                f"the workers did not come to rest within {seconds:g} s: "
                f"{who_works(rt, group.members)}"
            )
        yield


def ended(group: Group, members: list[Member]) -> Steps:
    """Until ``members`` are gone and reaped. Raises Refused."""
    group.call_off(members)
    deadline = time.monotonic() + ENDING_SECONDS_MAX
    while any(m.process is not None for m in members):
        if time.monotonic() > deadline:
            names = ", ".join(m.name for m in members if m.process is not None)
            raise Refused(f"{names}: killed, and not gone after {ENDING_SECONDS_MAX:g} s")
        yield


def others(group: Group) -> list[Member]:
    """Everybody but the workers."""
    return [m for m in group.members if m.role != WORKER.name]
