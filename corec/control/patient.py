"""Asking for what takes long, while the instance may replace its processes meanwhile.

Workers that come or go, a reload and an upgrade end the nucleus, and with it the connection; what
was asked for is asked again of its successor. Only for requests that change nothing, or of which
one more does no harm. Who asked for such a change itself hears of it when the successor takes
connections: what is asked next is not refused.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from corec.control.client import Client, Unreachable
from corec.control.discover import Instance, is_supervisor
from corec.control.outcome import await_change
from corec.control.protocol import ControlError
from corec.control.waits import AT_ONCE_SECONDS

_PAUSE_SECONDS: Final = 0.1


def ask_again(instance: Instance, op: str, seconds: float, **args: Any) -> Any:
    """The answer to ``op``, from whichever nucleus gives one within ``seconds``.

    Raises ControlError when the instance says no, Unreachable when nobody answered in time, or the
    instance is gone.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.001, deadline - time.monotonic())
        try:
            with Client(Path(instance.socket), min(left, AT_ONCE_SECONDS)) as client:
                return client.ask(op, args, left)
        except (Unreachable, ControlError) as error:
            final = isinstance(error, ControlError) and error.code != "again"
            late = time.monotonic() + _PAUSE_SECONDS > deadline
            # its lock, not its number: one that has ended and was not reaped has that still
            if final or late or not is_supervisor(instance):
                raise
        time.sleep(_PAUSE_SECONDS)


def outcome_of(instance: Instance, before: int, change: str) -> dict[str, Any]:
    """What became of the first ``change`` after number ``before``, once the instance can be asked
    again: the supervisor answers when it has started a nucleus, which then needs a moment.

    Raises ControlError as ``await_change``.
    """
    found = await_change(instance.path, before, change, lambda: is_supervisor(instance))
    deadline = time.monotonic() + AT_ONCE_SECONDS
    while is_supervisor(instance):
        try:
            Client(Path(instance.socket), AT_ONCE_SECONDS).close()
            break
        except Unreachable:  # one that does not come up is told of by what is asked next
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_SECONDS)
    return found
