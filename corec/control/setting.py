"""``set`` from outside: ask the nucleus, and wait for the supervisor where it has to follow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from corec.control.client import Client, Unreachable
from corec.control.discover import Instance
from corec.control.patient import ask_again, outcome_of
from corec.control.protocol import ControlError
from corec.control.waits import HELD_SECONDS

WORDS: Final = ("tick_hz", "carga")
UNSURE: Final = "it counts, and is not on disk yet: a machine that is lost now loses it"
NOT_TAKEN_BACK: Final = "; it was not seen to be taken back: look at status and the log"
NOT_ON_DISK: Final = "; that it is taken back is not on disk yet: a machine that is lost now has it"


def ask_set(instance: Instance, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change all of ``changes``, path → value, after one tick; returns when that is so.

    Raises ControlError: a key that can't be set, a value that is impossible, the supervisor
    refuses. Unreachable, OSError: nobody answers.
    """
    (path, value), *others = changes.items()
    args: dict[str, Any] = {"path": path, "value": value}
    if others:
        args = {"changes": dict(changes)}
    return _followed(instance, "set", args)


def ask_grow(instance: Instance, bloque: str, more: int) -> dict[str, Any]:
    """Give a bloque so many more entities; returns, with how many it has, and raises as
    ``ask_set``."""
    return _followed(instance, "grow", {"bloque": bloque, "more": more})


def _followed(instance: Instance, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
    with Client(Path(instance.socket)) as client:
        found: dict[str, Any] = client.ask(op, args, HELD_SECONDS)
    before = found.pop("after_change", None)
    if before is None:
        return found
    outcome = outcome_of(instance, before, str(found.pop("change")))
    if not outcome["accepted"]:
        left = _left_behind(instance, before)
        raise ControlError(f"refused: {outcome['reason']}{left}", "refused")
    if "tick" in outcome and "after_tick" in found:
        found["after_tick"] = max(int(found["after_tick"]), int(outcome["tick"]))
    return found


def _left_behind(instance: Instance, after_change: int) -> str:
    """What is to be said beside the refusal: nothing, once nothing of what was refused counts."""
    try:
        found = ask_again(instance, "taken_back", HELD_SECONDS, after_change=after_change)
    except (ControlError, Unreachable, OSError):
        return NOT_TAKEN_BACK
    return "" if found.get("durable", True) else NOT_ON_DISK


def change_settings(instance: Instance, changes: Mapping[str, Any]) -> int:
    """As ``ask_set``; the tick after which it counts, with a warning if it is not on disk yet.
    Raises ValueError for what can't be."""
    return _tick_of(lambda: ask_set(instance, changes))


def grow(instance: Instance, bloque: str, more: int) -> int:
    """As ``ask_grow``; the tick after which they are there. Raises ValueError for what can't be."""
    return _tick_of(lambda: ask_grow(instance, bloque, more))


def _tick_of(ask: Callable[[], Mapping[str, Any]]) -> int:
    try:
        answer = ask()
    except ControlError as error:
        if error.code != "bad_request":
            raise
        raise ValueError(str(error)) from None
    return tick_told(answer)


def tick_told(answer: Mapping[str, Any]) -> int:
    """The tick after which what was asked for counts; warns if a lost machine would lose it."""
    if not answer.get("durable", True):
        warnings.warn(UNSURE, RuntimeWarning, stacklevel=5)
    return int(answer["after_tick"])
