"""An upgrade, up to the ``exec`` (``corec.supervisor.upgrade``), step by step.

The new code says whether it can take the world over, and how. As the world is: the ticks go on
until the ``exec``, and who has come to its boundary is replaced behind it. With other fields, which
only a world at rest can be given (``corec.supervisor.refitting``)::

    looked at          while the ticks go on: whether values would be lost, whether there is room
    workers rest       what waits in the lanes comes to the sinks, which know the old fields
    tried              the new code makes the new world beside the old one, and removes it again: a
                       ``migrate`` that fails is heard of while there is a way back
    everybody ends     · servers stop · exec · the new code makes it once more, and it counts

A refusal anywhere before the ``exec`` has everybody go on with the old code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from corec import layout as L
from corec.exits import EXIT_DONE, EXIT_USAGE
from corec.process.runtime import Runtime
from corec.supervisor import beside
from corec.supervisor.processes import Group
from corec.supervisor.refitting import remove_fitted
from corec.supervisor.resting import Refused, Steps, ended, others, rested
from corec.supervisor.segments import world_tick
from corec.supervisor.upgrade import CHECK_SECONDS, REFITS, Refit, check_command
from corec.supervisor.wishes import Wishes

DRAINED_SECONDS_MAX: Final = 20.0


def upgraded(
    rt: Runtime, group: Group, wishes: Wishes, stop_servers: Callable[[], Iterable[None]],
    become: Callable[[], None], *, migrating: bool,
) -> Steps:  # fmt: skip
    """Become the current code by ``become``; ``migrating``: values of fields that are gone may go.

    Raises:
        Refused: the new code can't take the world over; the text says why. OSError,
        EmbeddedServerError: a server does not stop, ``exec`` fails.
    """
    refits = yield from _asked(wishes, migrating=migrating, trying=False)
    if refits:
        _check_at_its_own_ticks(rt)
        yield from rested(rt, group)
        yield from _drained(rt)
        try:
            yield from _asked(wishes, migrating=migrating, trying=True)
        finally:
            remove_fitted(rt.folder)
        yield from ended(group, others(group))
    yield from stop_servers()
    become()


def _asked(wishes: Wishes, *, migrating: bool, trying: bool) -> beside.Asked[bool]:
    """Whether the new code would give the world other fields. Raises Refused: it can't have it."""
    code, text = yield from beside.command(
        check_command(wishes), "the check of the new code", CHECK_SECONDS,
        Refit(migrating, trying).environ(),
    )  # fmt: skip
    if code == EXIT_USAGE:
        raise Refused(text)
    if code not in (EXIT_DONE, REFITS):  # broken code: its traceback's last line says how
        last = text.splitlines()[-1] if text else beside.exit_text(code)
        raise Refused(f"the new code can't be run: {last}")
    return code == REFITS


def _check_at_its_own_ticks(rt: Runtime) -> None:
    """Ticks that run again are those of the old code."""
    tick, until = world_tick(rt), rt.get(L.C_FOLLOW)
    if rt.growths or tick < until:
        raise Refused(
            f"bloques: found other fields while the world, at tick {tick}, runs ticks again as its "
            f"journal says; expected that behind tick {until}: try again then"
        )


def _drained(rt: Runtime) -> Steps:
    """Until the sinks have what waits in the lanes, if they take it. What must not wait there is
    refused afterwards (``refitting.check_waiting``)."""
    deadline = time.monotonic() + DRAINED_SECONDS_MAX
    while any(lane.used for lane in (*rt.out, *rt.rows)) and time.monotonic() < deadline:
        for bell in rt.doorbells:
            bell.wake()
        yield
