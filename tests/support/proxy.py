"""A proxy on loopback that a test can cut, close and freeze, in a process of its own.

``Proxy(target)`` listens on 127.0.0.1 and passes bytes on to ``target``: the path of a Unix socket,
or (host, port).  A process and not a thread, so that the test may fork while it works.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from types import TracebackType

Target = str | tuple[str, int]


class Proxy:
    """A context manager; ``port`` is where it listens."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.port = 0
        self._pid = 0
        self._control: socket.socket | None = None

    def __enter__(self) -> Proxy:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        mine, its = socket.socketpair()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                mine.close()
                asyncio.run(_Serving(self._target, listener, its).run())
                code = 0
            finally:
                os._exit(code)
        listener.close()
        its.close()
        self._control = mine
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        assert self._control is not None
        self._control.shutdown(socket.SHUT_RDWR)  # what was forked meanwhile has it open, too
        self._control.close()
        os.waitpid(self._pid, 0)

    def _ask(self, command: str) -> bytes:
        assert self._control is not None
        self._control.sendall(command.encode() + b"\n")
        return self._control.recv(16)

    def _tell(self, command: str) -> None:
        assert self._ask(command) == b"ok\n"

    def close_all(self) -> None:
        """End every connection, and each new one at once, until ``open``."""
        self._tell("refuse")

    def freeze(self) -> None:
        """Pass nothing on, end nothing, until ``open``."""
        self._tell("freeze")

    def holds(self, word: str) -> bool:
        """Whether ``word`` is in what was sent to the target and is held since ``freeze``."""
        return self._ask(f"holds {word}") == b"yes\n"

    def open(self) -> None:
        """Pass everything on, as at first."""
        self._tell("pass")

    def cut_after(self, count: int) -> None:
        """End all connections once ``count`` more bytes went to the target; then as before."""
        self._tell(f"cut {count}")


class _Serving:
    """The proxy's process."""

    def __init__(self, target: Target, listener: socket.socket, control: socket.socket) -> None:
        self.target, self.listener, self.control = target, listener, control
        self.refusing = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.left: int | None = None
        self.held: list[bytes] = []
        self.open: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        """Serve until the test closes its end of the control socket."""
        server = await asyncio.start_server(self._accept, sock=self.listener)
        reader, writer = await asyncio.open_connection(sock=self.control)
        while line := await reader.readline():
            word, *numbers = line.decode().split()
            if word == "holds":
                there = any(numbers[0].encode() in data for data in self.held)
                writer.write(b"yes\n" if there else b"no\n")
                continue
            self.refusing = word == "refuse"
            if word == "freeze":
                self.gate.clear()
            else:
                self.gate.set()
                self.held.clear()
            self.left = int(numbers[0]) if word == "cut" else None
            if self.refusing:
                self._end_all()
            writer.write(b"ok\n")
        server.close()

    def _end_all(self) -> None:
        for one in self.open:
            one.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            if isinstance(self.target, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self.target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self.open |= ends
        there = asyncio.create_task(self._pump(reader, far_writer, counted=True))
        back = asyncio.create_task(self._pump(far_reader, writer, counted=False))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        self.open -= ends
        for end in ends:
            end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if counted and not self.gate.is_set():
                    self.held.append(data)
                await self.gate.wait()
                if counted and self.left is not None:
                    if len(data) >= self.left:
                        writer.write(data[: self.left])
                        await writer.drain()
                        self.left = None
                        return
                    self.left -= len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return
