"""What the system refuses the nucleus while it answers is told in the operator's words."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import uvloop

from corec.command_line import NO_MEMORY, NO_PROCESS
from corec.control.protocol import ControlError, Request, decode_response, encode_request
from corec.nucleus.socket_server import SocketServer
from tests.support.full import no_descriptor_left


async def _asked(folder: Path, error: BaseException) -> bytes:
    async def handle(_: Request) -> Any:
        raise error

    server = SocketServer(folder, handle)
    await server.start()
    try:
        reader, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(encode_request("workers", {}))
        async with asyncio.timeout(30.0):
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()
    return line


def test_a_client_that_there_is_no_descriptor_for_is_told(tmp_path: Path) -> None:
    """And not left to wait, or to ask again and again; the next one is served."""
    tmp_path.chmod(0o700)

    async def handle(_: Request) -> Any:
        return {"done": True}

    async def asked(client: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30.0):
            await loop.sock_connect(client, str(tmp_path / "control.sock"))
            with contextlib.suppress(BrokenPipeError):
                await loop.sock_sendall(client, encode_request("workers", {}))
            return decode_response(await loop.sock_recv(client, 65536))

    async def all_of_it() -> None:
        server = SocketServer(tmp_path, handle)
        await server.start()
        clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
        try:
            for one in clients:
                one.setblocking(False)
            with no_descriptor_left():
                for one in clients[:3]:
                    with pytest.raises(ControlError, match=r"another client: .*Too many open"):
                        await asked(one)
            assert await asked(clients[3]) == {"done": True}
        finally:
            for one in clients:
                one.close()
            await server.stop()

    for made in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=made) as runner:
            runner.run(all_of_it())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), NO_PROCESS),
        (MemoryError(), NO_MEMORY),
        (OSError(errno.EMFILE, "Too many open files", "/a"), "/a: Too many open files"),
        (OSError(errno.ENOSPC, "Full"), "[Errno 28] Full"),
        (OSError(errno.EAGAIN, "Not now"), f"Not now: {NO_PROCESS}"),
        (RuntimeError("odd"), "failed inside: RuntimeError('odd')"),
        (KeyError("x"), "failed inside: KeyError('x')"),
    ],
)
def test_a_request_that_is_refused_what_it_needs(
    tmp_path: Path, error: BaseException, said: str
) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ControlError) as caught:
        decode_response(asyncio.run(_asked(tmp_path, error)))
    assert str(caught.value) == said
    assert caught.value.code == "failed"
