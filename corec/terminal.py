"""Standard input, output and error: always there, and never the end of a process or its waiting.

Who reads what CoreC says may stop the terminal (Ctrl-S), close it, fill the disk, or be a program
that hangs. So a process of an instance writes without waiting, and what cannot be written now is
dropped and counted; the world is worth more than its log.

How a write is kept from waiting depends on what the descriptor is. The flag O_NONBLOCK belongs to
the open file, which the shell and everybody else in the pipeline share, so it is never set there:

    terminal, pipe   opened once more through /proc/self/fd, without waiting, for us alone
    socket           MSG_DONTWAIT
    anything else    (a file, /dev/null) does not wait; opened again, its position would be another
    not to be opened again (it is another user's): asked with poll before each piece

Closed at the start, a number from 0 to 2 is opened on /dev/null: else the first file opened, say
the lock of the instance, would take it, and whatever prints would write there.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import select
import socket
import stat
import sys
import time
from typing import Any, Final, NoReturn, TextIO

PIECE_BYTES: Final = 4096
"""What a pipe that poll calls writable takes without waiting (PIPE_BUF)."""
_WAIT: Final = (errno.EAGAIN, errno.EWOULDBLOCK)
_POLL_SECONDS: Final = 0.05


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """``text`` that somebody else wrote, what a terminal would do and not show in it as numbers: an
    answer of a webhook's receiver, a name in a table could else write over what stands there."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def make_valid() -> None:
    """Open /dev/null at every standard number that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            fresh = os.open(os.devnull, os.O_RDWR)
            if fresh != number:
                os.dup2(fresh, number)
                os.close(fresh)
            os.set_inheritable(number, True)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)


def speak_any_encoding() -> None:
    """A character that the stream's encoding lacks is written as its number, not refused."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Output(io.RawIOBase):
    """Writes to a descriptor and neither waits nor raises."""

    def __init__(self, descriptor: int, *, own: bool = False) -> None:
        """``own``: nobody else has it open, and it was opened without waiting."""
        super().__init__()
        self.given = descriptor
        self.lost = 0
        """Writes of which something was dropped, since this was last set to 0."""
        self._torn = False
        self._ask = False
        self._socket: socket.socket | None = None
        self._number = descriptor
        if not own:
            self._open_again()

    def _open_again(self) -> None:
        try:
            mode = os.fstat(self.given).st_mode
        except OSError:
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self.given))
            return
        if not (stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.isatty(self.given))):
            return
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._number = os.open(f"/proc/self/fd/{self.given}", flags)
        except OSError:
            self._ask = True

    def write_all(self, data: bytes) -> bool:
        """Write ``data``; false when not all of it could be written now."""
        if self._torn:  # what comes next must not be taken for the rest of a line cut short
            data = b"\n" + data
        done = 0
        try:
            while done < len(data):
                done += self._put(data[done:])
        except OSError:
            self._torn = self._torn or done > 0
            self.lost += 1
            return False
        self._torn = False
        return True

    def _put(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if self._ask:
            data = data[:PIECE_BYTES]
            asked = select.poll()
            asked.register(self._number, select.POLLOUT)
            if not asked.poll(0):
                raise BlockingIOError(errno.EAGAIN, "no room now")
        return os.write(self._number, data)

    def write(self, data: Any, /) -> int:
        """As a raw stream: says that everything was written."""
        whole = bytes(data)
        self.write_all(whole)
        return len(whole)

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether it was a terminal; one that is gone is none."""
        return os.isatty(self.given)

    def fileno(self) -> int:
        """The descriptor that it was made for."""
        return self.given

    def close(self) -> None:
        """Close what was opened here; the given descriptor stays."""
        if self._number != self.given:
            os.close(self._number)
            self._number = self.given
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        super().close()


_error: Output | None = None


def error_output() -> Output:
    """Standard error, as ``protect`` left it; before that, as the process got it: it may wait."""
    return _error if _error is not None else Output(2, own=True)


def protect() -> None:
    """From now on nothing that this process and its forks print can end or block them."""
    global _error  # one per process, as the descriptor is
    make_valid()
    if _error is not None:
        return
    _error = Output(2)
    sys.stderr = _text(_error, sys.stderr)
    sys.stdout = _text(Output(1), sys.stdout)


def _text(output: Output, before: TextIO) -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    raw: Any = output  # write_through: nothing of a buffered stream is used
    return io.TextIOWrapper(
        raw, encoding=encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


class Document:
    """Standard output for one document alone: what anybody else prints goes to standard error."""

    def __init__(self) -> None:
        make_valid()
        sys.stdout.flush()
        self.descriptor = os.dup(1)
        os.set_inheritable(self.descriptor, False)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def give_back(self) -> None:
        """Standard output is again what it was, for a program that this process becomes."""
        os.dup2(self.descriptor, 1)

    def take_again(self) -> None:
        """Undo ``give_back``."""
        os.dup2(2, 1)

    def write(self, data: bytes, seconds: float) -> None:
        """Write ``data``, for at most ``seconds``. Raises OSError (TimeoutError included)."""
        deadline = time.monotonic() + seconds
        output = Output(self.descriptor)
        try:
            done = 0
            while done < len(data):
                try:
                    done += output._put(data[done:])
                except OSError as error:
                    if error.errno not in _WAIT:
                        raise
                    if time.monotonic() > deadline:
                        raise TimeoutError(errno.ETIMEDOUT, "nobody reads it") from None
                    time.sleep(_POLL_SECONDS)
        finally:
            output.close()


def end_at_once(code: int) -> NoReturn:
    """End this process without what the interpreter does at its end: atexit handlers, which may be
    a parent's, and freeing object after object."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def terminal_gone() -> bool:
    """Whether one of the standard descriptors is a terminal that was hung up."""
    for number in range(3):
        try:
            if not stat.S_ISCHR(os.fstat(number).st_mode):
                continue
        except OSError:
            continue
        asked = select.poll()
        asked.register(number, select.POLLHUP)
        if any(events & select.POLLHUP for _fd, events in asked.poll(0)):
            return True
    return False
