"""Asking the supervisor to take over what was set, and waiting for its word; none of it once only:
who asked waits for what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import Any, Final

from corec import layout as L
from corec.command_line import text_of
from corec.control.outcome import SET_SIGNAL, asked_behind, last_change, said_of
from corec.control.protocol import ControlError
from corec.log import get_logger
from corec.process.runtime import Runtime

log = get_logger("corec.nucleus.setting")

ANSWER_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 0.05
AGAIN_SECONDS: Final = 0.5


def check(rt: Runtime) -> None:
    """Raises ControlError, before anything is set: it can't be asked."""
    try:
        last_change(rt.folder)
        os.kill(rt.get(L.C_SUPERVISOR_PID), 0)
    except OSError as error:
        told = f"nothing was set: the supervisor can't be asked: {text_of(error)}"
        raise ControlError(told, "refused") from None


def ask(rt: Runtime) -> int:
    """Have it take over what was set; the number behind which its outcome comes. Raises
    OSError."""
    before = asked_behind(rt.folder)
    # after the answer is sent: the supervisor may end this process at once
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, _signal, rt)
    return before


def _signal(rt: Runtime, *, again: bool = False) -> None:
    try:
        os.kill(rt.get(L.C_SUPERVISOR_PID), SET_SIGNAL)
    except OSError as error:
        if not again:
            log.error("the supervisor can't be asked to take over what was set; it is tried again",
                      reason=text_of(error))  # fmt: skip
        retry = functools.partial(_signal, rt, again=True)
        asyncio.get_running_loop().call_later(AGAIN_SECONDS, retry)


async def said(rt: Runtime, before: int) -> dict[str, Any] | None:
    """What became of its first ``set`` after that change; None: the instance stops before. On this
    loop: a thread may not be to be had, and it must not be missed."""
    while True:
        stops = rt.get(L.C_STOP) != 0  # before it is looked for: it may be the last word
        with contextlib.suppress(OSError):  # no descriptor: looked for again
            if (found := said_of(rt.folder, before, "set")) is not None:
                return found
        if stops:
            return None
        await asyncio.sleep(LOOK_SECONDS)
