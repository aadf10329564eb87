"""Waiting for the doorbell on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shm.wake import Doorbell


async def rung(bell: Doorbell, seconds: float, work: Callable[[], bool]) -> None:
    """Return when ``bell`` rings, after ``seconds``, or at once when there is ``work``.

    ``work`` is asked after the sleep was announced (see ``shm.wake`` for the order).
    """
    bell.prepare_sleep()
    if work():
        bell.cancel_sleep()
        return
    loop = asyncio.get_running_loop()
    rang = asyncio.Event()
    loop.add_reader(bell.fileno(), rang.set)
    try:
        async with asyncio.timeout(seconds):
            await rang.wait()
    except TimeoutError:
        pass  # look for work all the same
    finally:
        loop.remove_reader(bell.fileno())
        bell.cancel_sleep()
        bell.drain()
