"""How the supervisor tells: in the log, as a row of ``eventos``, as the answer to who asked.

None of it may fail the telling supervisor: a text is cut to fit, a full lane or tmpfs is logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corec import layout as L
from corec.control.outcome import ChangeFile, shortened
from corec.log import get_logger
from corec.process.events import encode
from corec.process.roles import SUPERVISOR, WORKER, sink_troubles
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.processes import Member

log = get_logger("corec.supervisor")


def raise_event(rt: Runtime, tipo: str, detalle: dict[str, Any]) -> None:
    """An event of the supervisor, for the table ``eventos``."""
    short = {k: shortened(v) if isinstance(v, str) else v for k, v in detalle.items()}
    if rt.get(L.C_STOP) >= L.STOP_SINKS:  # the persister may have left: nobody would read it
        log.warning("an event of the stop itself", tipo=tipo, detalle=short)
        return
    try:
        event = encode(tipo, short, tick=segments.world_tick(rt))
        if rt.events[SUPERVISOR].push(L.KIND_EVENT_FRAME, event):
            return
        reason = "its lane is full"
    except (ValueError, TypeError) as error:
        reason = str(error)
    log.warning("an event is lost", tipo=tipo, reason=reason)


def who_works(rt: Runtime, members: Iterable[Member]) -> str:
    """Which workers do not come to rest, and what they wait for."""
    found = []
    for member in members:
        if member.role != WORKER.name or member.called_off:
            continue
        waits = rt.slot(member.slot).get(L.S_STATE) == L.PROC_WAITING_SINK
        found.append(f"{member.name} " + ("waits for room" if waits else "is within its tick"))
    return "; ".join(found + sink_troubles(rt.get))


def begun(answers: ChangeFile, change: str) -> None:
    """A ``change`` is being made from now on."""
    try:
        answers.begin(change)
    except OSError as error:
        log.warning("who waits can't be told of a change", change=change, reason=error.strerror)


def answer(
    answers: ChangeFile, change: str, reason: str | None, note: str | None = None,
    tick: int | None = None,
) -> None:  # fmt: skip
    """What became of a ``change``: done (``note``: what there is to say of it; ``tick``: behind
    which), or not, for ``reason``."""
    try:
        answers.write(change, reason is None, note if reason is None else reason, tick)
    except OSError as error:
        log.error("who asked can't be answered", change=change, reason=error.strerror)
