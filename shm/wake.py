"""Waking the other process: an eventfd, rung only while somebody sleeps.

Theory (Dekker's pattern).  The sleeper owns one word of shared memory, the flag.

    sleeper                               ringer
    -------                               ------
    S1  flag = 1            (release)     R1  publish work      (release)
    S2  fence seq_cst                     R2  fence seq_cst
    S3  look for work again (acquire)     R3  look at the flag  (acquire)
    S4  none: poll the eventfd            R4  set: write to the eventfd

With a full fence between the store and the load on both sides at least one of the two sees the
other's store: either S3 finds the work, or R3 finds the flag and R4 ends the poll.  Without the
fences both loads may run ahead of both stores (x86 does that too), and the sleeper sleeps on work.

    prepare_sleep() is S1, S2; the caller does S3; wait() is S4 and clears the flag afterwards;
    cancel_sleep() clears it when S3 found work.  ring() is R2..R4, after the caller's R1.

Kills.  Ringer killed between R1 and R4: the work is there and nobody rings, so every wait has a
timeout, after which the sleeper looks for itself.  Sleeper killed after S1: the flag stays set, and
ringers pay a needless write each until its successor clears it.  The eventfd counter holds rings
that nobody read; a successor wakes once for nothing and looks.

The descriptor is made before the fork and inherited by both sides; the flag must have one writer.
"""

from __future__ import annotations

import contextlib
import os
import select

from numba.core import types

from shm.atomics import (
    Words,
    check_words,
    fence_seq_cst,
    load_acquire,
    store_release,
    write_word,
)
from shm.jit import WORDS, WORDS_READ_ONLY, compiled, inlined


@inlined
def sleeper_waits(words: Words, index: int) -> bool:
    """R2 and R3, for compiled code that publishes: whether the doorbell must be rung."""
    fence_seq_cst()
    return load_acquire(words, index) != 0


@compiled(types.boolean(WORDS, types.int64), types.boolean(WORDS_READ_ONLY, types.int64))
def _sleeper_waits(words: Words, index: int) -> bool:
    return sleeper_waits(words, index)


@compiled(types.void(WORDS, types.int64))
def _announce_sleep(words: Words, index: int) -> None:
    store_release(words, index, 1)
    fence_seq_cst()


class Doorbell:
    """An eventfd plus ``words[index]``, the flag of the one process that sleeps on it."""

    def __init__(self, words: Words, index: int, descriptor: int | None = None) -> None:
        """Take over an eventfd, or make one (close-on-exec: it is for forked processes).

        Raises TypeError or ValueError when ``words`` is not an aligned uint64[:], IndexError when
        ``index`` is outside of it.
        """
        check_words(words)
        if not 0 <= index < words.size:
            raise IndexError(f"doorbell word: found {index}, expected 0..{words.size - 1}")
        self._words = words
        self._index = index
        if descriptor is None:
            descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def fileno(self) -> int:
        """The eventfd, readable while a ring was not drained (``loop.add_reader``)."""
        return self._descriptor

    def ring(self) -> bool:
        """Wake the sleeper if there is one; returns whether the eventfd was written.

        Call it after publishing: at most one fence and one load when nobody sleeps.
        """
        if not _sleeper_waits(self._words, self._index):
            return False
        self.wake()
        return True

    def wake(self) -> None:
        """Write to the eventfd whatever the flag says (a full counter is already a ring)."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._descriptor, 1)

    def prepare_sleep(self) -> None:
        """Say "I sleep"; then look for work once more, and ``wait`` or ``cancel_sleep``."""
        _announce_sleep(self._words, self._index)

    def cancel_sleep(self) -> None:
        """Say "I am awake"."""
        write_word(self._words, self._index, 0)

    def wait(self, timeout_seconds: float) -> bool:
        """Block until a ring or the timeout, then clear the flag and drain.

        Returns whether it rang.  False means: look for work all the same.
        """
        rang = bool(self._poll.poll(max(0.0, timeout_seconds) * 1000.0))
        self.cancel_sleep()
        if rang:
            self.drain()
        return rang

    def drain(self) -> None:
        """Forget the rings so far, so that the descriptor is not readable any more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Close this process's copy of the descriptor.  Closing twice changes nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
