"""The proxy of ``corec chaos``: what goes through it, and what each of its commands takes away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from corec.lab.chaos.proxy import Proxy
from tests.support.processes import is_running, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


class Ends(NamedTuple):
    """A connection through the proxy, seen from both ends."""

    client: socket.socket
    server: socket.socket


class Through:
    """A proxy before a server that is this test."""

    def __init__(self, folder: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "server"))
        self.listener.listen()
        self.listener.settimeout(5.0)
        self.proxy = Proxy(folder / "server")
        self.sockets = [self.listener]

    def connect(self) -> Ends:
        """A new connection; both ends."""
        client = socket.create_connection(("127.0.0.1", self.proxy.port), 5.0)
        server, _ = self.listener.accept()
        server.settimeout(5.0)
        self.sockets += [client, server]
        return Ends(client, server)


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Through]:
    """The proxy ends with its parent's end of the pipe."""
    made = Through(tmp_path)
    try:
        yield made
    finally:
        made.proxy.close()
        for one in made.sockets:
            one.close()
    assert not is_running(made.proxy.process.pid)


def exactly(end: socket.socket, size: int) -> bytes:
    """The next ``size`` bytes, or fewer when the other side hangs up."""
    found = b""
    while len(found) < size and (more := end.recv(size - len(found))):
        found += more
    return found


def ended(end: socket.socket) -> bool:
    """Whether the other side has hung up; what it has sent before is passed over."""
    try:
        while end.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_it_passes_bytes_on_and_ends_what_it_refuses(through: Through) -> None:
    first = through.connect()
    first.client.sendall(b"ask" * 100_000)
    assert exactly(first.server, 300_000) == b"ask" * 100_000
    first.server.sendall(b"answer")
    assert exactly(first.client, 6) == b"answer"
    through.proxy.tell("refuse")
    assert ended(first.client)
    assert ended(first.server)
    with socket.create_connection(("127.0.0.1", through.proxy.port), 5.0) as refused:
        assert ended(refused)
    through.proxy.tell("pass")
    again = through.connect()
    again.client.sendall(b"x")
    assert again.server.recv(1) == b"x"


def test_it_cuts_in_the_middle(through: Through) -> None:
    ends = through.connect()
    through.proxy.tell("cut 10")
    ends.client.sendall(b"0123456")
    assert exactly(ends.server, 7) == b"0123456"
    ends.client.sendall(b"789abc")
    assert exactly(ends.server, 3) == b"789"
    assert ended(ends.server)
    assert ended(ends.client)
    assert through.connect().server.fileno() > 0


def test_it_loses_an_answer(through: Through) -> None:
    """What a client must not guess: the server has done it, and nobody said so."""
    ends = through.connect()
    through.proxy.tell("lose 6")
    ends.client.sendall(b"commit")
    assert exactly(ends.server, 6) == b"commit"
    ends.server.sendall(b"done")
    try:
        assert ends.client.recv(4) == b""
    except ConnectionError:
        pass  # a reset says the same


def test_it_delays_and_holds(through: Through) -> None:
    ends = through.connect()
    through.proxy.tell("delay 120")
    began = time.monotonic()
    ends.client.sendall(b"x")
    assert ends.server.recv(1) == b"x"
    assert time.monotonic() - began >= 0.12
    through.proxy.tell("hold")
    ends.client.sendall(b"y")
    wait_until(lambda: through.proxy.holds("y"), "it is held", 5.0)
    ends.server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ends.server.recv(1)
    ends.server.settimeout(5.0)
    through.proxy.tell("pass")
    assert ends.server.recv(1) == b"y"
    assert not through.proxy.holds("y")


def test_it_takes_an_address() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy(f"127.0.0.1:{listener.getsockname()[1]}") as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5.0) as client,
    ):
        client.sendall(b"x")
        listener.settimeout(5.0)
        server, _ = listener.accept()
        with server:
            assert server.recv(1) == b"x"


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "nobody")
    proxy.control.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: proxy.process.poll() is not None, "it ends", 5.0)
    proxy.close()
