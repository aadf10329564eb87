"""Ctrl-C between two ticks: a world is never left in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c_waits() -> Iterator[Callable[[], None]]:
    """Inside, SIGINT is noted only; what is yielded hands it on, to be called between two ticks.

    One that came last is handed on at the end. In another thread than the main one, which gets
    no signals, and where Python does not handle SIGINT, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    came: list[tuple[int, FrameType | None]] = []

    def hand_on() -> None:
        if came:
            before(*came.pop())

    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield hand_on
    finally:
        signal.signal(signal.SIGINT, before)
    hand_on()
