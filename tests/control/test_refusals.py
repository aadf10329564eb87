"""What the system refuses the nucleus while it answers is told in the operator's words."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from corec.command_line import NO_MEMORY, NO_PROCESS
from corec.control.protocol import ControlError, Request, decode_response, encode_request
from corec.nucleus.socket_server import SocketServer


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
