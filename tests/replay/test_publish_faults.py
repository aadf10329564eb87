"""Each batch arrives exactly once, whatever happens to the server and the connection."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corec.replay import wire as W
from corec.replay.publish import Limits
from tests.replay.support import Server, frame, numbers_in, publisher
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


class Publishing(threading.Thread):
    """Publishes `batches` batches of four frames; use as a context manager, which joins it."""

    def __init__(self, server: Server, batches: int) -> None:
        super().__init__()
        self.url, self.batches = server.url, batches
        self.done = 0
        self.told: list[str] = []
        self.finished = False

    def run(self) -> None:
        with publisher(self.url, PATIENT, told=self.told) as to:
            for batch in range(self.batches):
                to.publish([frame(4 * batch + i, 500) for i in range(4)])
                self.done += 1
        self.finished = True

    def __enter__(self) -> Publishing:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.join(60)
        assert self.finished

    def wait_for(self, more: int) -> None:
        target = self.done + more
        wait_until(lambda: self.done >= target, "batches flow")

    def wait_for_outage(self, number: int) -> None:
        wait_until(lambda: outages(self.told) >= number, "it gives up its connection")


PATIENT = Limits(retry_s=50.0, patience_s=50.0, backlog_bytes=1 << 30)


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 40, 97])
def test_a_killed_server_gets_each_batch_once(durable_server: Server, after: int) -> None:
    with Publishing(durable_server, 300) as publishing:
        publishing.wait_for(after)
        durable_server.kill()
        durable_server.start()
    assert any("the server is back" in line for line in publishing.told)
    assert numbers_in(durable_server) == list(range(1200))


@pytest.mark.slow
def test_a_frozen_server_gets_each_batch_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent before the freeze is executed after it, beside what was sent again."""
    monkeypatch.setattr(W, "REPLY_TIMEOUT_S", 0.2)
    with Publishing(server, 400) as publishing:
        for freeze in range(1, 4):
            publishing.wait_for(20)
            server.send(signal.SIGSTOP)
            publishing.wait_for_outage(freeze)
            server.send(signal.SIGCONT)
    assert numbers_in(server) == list(range(1600))


def outages(told: list[str]) -> int:
    return sum("trying again" in line for line in told)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_attempts_only_the_first_to_arrive_counts(server: Server, first: int) -> None:
    """Whichever connection's EXEC the server sees first, the other one's aborts."""
    names = W.names_for("t", 1, "token")
    wires = [W.Wire(server.url, names), W.Wire(server.url, names)]
    try:
        assert [wire.batches_applied() for wire in wires] == [None, None]
        ids, _ = wires[first].append(1, [frame(0), frame(1)])
        assert ids is not None
        assert len(ids) == 2
        late, _ = wires[1 - first].append(1, [frame(0), frame(1)])
        assert late is None
        assert wires[1 - first].batches_applied() == 1
    finally:
        for wire in wires:
            wire.close()
    assert numbers_in(server) == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 2, 5, 12])
def test_a_lost_reply_is_not_sent_again(server: Server, cut: int, folder: Path) -> None:
    told: list[str] = []
    with (
        cutting_proxy(server.socket, folder / "p", cut) as url,
        publisher(url, PATIENT, told=told) as to,
    ):
        for batch in range(60):
            to.publish([frame(batch)])
    assert numbers_in(server) == list(range(60))
    assert outages(told) == CUTS


CUTS = 3


@contextmanager
def cutting_proxy(target: Path, path: Path, cut: int) -> Iterator[str]:
    """Passes requests and replies on, but on the first CUTS connections drops the reply to
    the batch number `cut` of that connection, and the connection with it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve(connection: socket.socket, cutting: bool) -> None:
        batches = 0
        with connection, socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(target))
            while request := connection.recv(1 << 20):
                upstream.sendall(request)
                reply = upstream.recv(1 << 20)
                batches += b"XADD" in request
                if cutting and batches == cut:
                    return
                connection.sendall(reply)

    def accept() -> None:
        for number in itertools.count():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            serve(connection, number < CUTS)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
    assert not thread.is_alive()


def test_a_server_that_lost_its_data_is_noticed(server: Server) -> None:
    told: list[str] = []
    with publisher(server.url, PATIENT, told=told) as to:
        to.publish([frame(0)])
        server.kill()
        server.start()
        to.publish([frame(1)])
    assert numbers_in(server) == [1]
    assert any("without its data" in line for line in told)
