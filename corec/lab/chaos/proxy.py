"""A proxy on loopback that can be cut, slowed and held: a small process of its own.

``Proxy(target)`` passes bytes between 127.0.0.1:``port`` and a server: the path of its Unix socket,
or host:port. Its process has one thread and an event loop, imports the standard library only, and
ends when its parent's end of its standard input does, so a killed parent leaves none. A process and
no thread, so that a test may fork while it works.

    pass        everything goes through, as at first
    refuse      connections end (reset), and each new one at once
    cut N       connections end once N more bytes have gone to the server; new ones are taken
    lose N      the next N bytes go to the server, what it answers does not come back; then cut
    delay MS    each piece waits so long, in both directions
    hold        nothing goes through, nothing ends
    holds WORD  whether it is in what a client has sent since ``hold``; changes nothing
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

PIECE_BYTES: Final = 1 << 16


class Proxy:
    """The parent's end. ``port`` is where it listens; ``close`` ends it, and so does ``with``."""

    def __init__(self, target: Path | str) -> None:
        self.control, its = socket.socketpair()
        with its, socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
            self.process = subprocess.Popen(
                [sys.executable, "-I", __file__, str(listener.fileno()), str(target)],
                stdin=its.fileno(),
                stdout=its.fileno(),
                pass_fds=[listener.fileno()],
                start_new_session=True,  # the terminal's Ctrl-C is for the parent
            )

    def tell(self, command: str) -> None:
        """One of the commands above; returns when it holds.

        Raises:
            RuntimeError: the proxy is gone.
        """
        if self._ask(command) != b"ok\n":
            raise RuntimeError(f"the proxy on port {self.port} is gone")

    def holds(self, word: str) -> bool:
        """Whether ``word`` is in what was sent to the server and is held."""
        return self._ask(f"holds {word}") == b"yes\n"

    def _ask(self, command: str) -> bytes:
        try:
            self.control.sendall(command.encode() + b"\n")
            return self.control.recv(16)
        except ConnectionError:
            return b""

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self.control.shutdown(socket.SHUT_RDWR)  # what was forked meanwhile has it open, too
        self.control.close()
        self.process.wait(10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Serving:
    """The proxy's own process."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.refusing = False
        self.delay_seconds = 0.0
        self.open_gate = asyncio.Event()
        self.open_gate.set()
        self.left_bytes: int | None = None
        self.losing = False
        self.held: list[bytes] = []
        self.ends: set[asyncio.StreamWriter] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serve until standard input ends."""
        await asyncio.start_server(self._accept, sock=listener)
        loop = asyncio.get_running_loop()
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := await commands.readline():
            word, *more = line.split()
            if word == b"holds":
                said = b"yes\n" if any(more[0] in data for data in self.held) else b"no\n"
            else:
                self._obey(word.decode(), int(more[0]) if more else 0)
                said = b"ok\n"
            os.write(sys.stdout.fileno(), said)
        os._exit(0)  # the connections of the moment have nobody to tell

    def _obey(self, word: str, number: int) -> None:
        self.refusing = word == "refuse"
        self.losing = word == "lose"
        self.delay_seconds = number / 1000 if word == "delay" else 0.0
        self.left_bytes = number if word in ("cut", "lose") else None
        if word == "hold":
            self.open_gate.clear()
        else:
            self.open_gate.set()
            self.held.clear()
        if self.refusing:
            self._cut()

    def _cut(self) -> None:
        for end in self.ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                return
            if self.target.startswith("/"):
                far_reader, far_writer = await asyncio.open_unix_connection(self.target)
            else:
                host, _, port = self.target.rpartition(":")
                far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        else:
            await self._connect(reader, writer, far_reader, far_writer)
        finally:
            writer.transport.abort()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        ends = {writer, far_writer}
        self.ends |= ends
        there = asyncio.create_task(self._pump(reader, far_writer, there=True))
        back = asyncio.create_task(self._pump(far_reader, writer, there=False))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        there.cancel()
        back.cancel()
        self.ends -= ends
        far_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, there: bool
    ) -> None:
        try:
            while data := await reader.read(PIECE_BYTES):
                if there and not self.open_gate.is_set():
                    self.held.append(data)
                await self.open_gate.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if there and self.left_bytes is not None:
                    data, self.left_bytes = data[: self.left_bytes], self.left_bytes - len(data)
                    writer.write(data)
                    await writer.drain()
                    if self.left_bytes <= 0:
                        await self._end_of_count()
                        return
                elif there or not self.losing:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            return

    async def _end_of_count(self) -> None:
        """All that was counted has gone: the server gets a moment to do it, the answer is lost."""
        if self.losing:
            await asyncio.sleep(0.05)
        self.left_bytes, self.losing = None, False
        self._cut()


if __name__ == "__main__":
    asyncio.run(Serving(sys.argv[2]).run(socket.socket(fileno=int(sys.argv[1]))))
