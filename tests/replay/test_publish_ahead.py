"""The publisher never runs too far ahead of the reader, and says so when there is none."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from corec.replay import wire as W
from corec.replay.publish import Interrupted, Limits, Publisher
from tests.replay.support import POS, STREAM, Server, frame, publisher
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


class Reader(threading.Thread):
    """Reads like an instance: applies entries one by one and stores its position."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.client: Any = server.client()
        self.unread_bytes_max = 0
        self.messages = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        last = b"0-0"
        while not self.stopping.is_set():
            waiting = self.client.xrange(STREAM, min=b"(" + last)
            unread = sum(len(fields[b"m"]) for _, fields in waiting)
            self.unread_bytes_max = max(self.unread_bytes_max, unread)
            for last, fields in waiting:
                self.messages += len(fields[b"m"]) // 10
                self.client.hset(POS, "in:1", last)
        self.client.close()


@pytest.mark.slow
def test_the_lead_is_bounded(server: Server) -> None:
    with server.client() as client:
        client.hset(POS, "in:9", "1-1")  # an instance that has not read this canal yet
    reader = Reader(server)
    reader.start()
    told: list[str] = []
    limits = Limits(ahead_bytes=20_000)
    with publisher(server.url, limits, told=told) as to:
        for batch in range(200):
            to.publish([frame(batch, 500)])
        to.drain()
        assert to.done.waited_s > 0
    wait_until(lambda: reader.messages == 100_000, "all is read")
    reader.stopping.set()
    reader.join(10)
    assert reader.unread_bytes_max <= 20_000
    assert not told


def test_a_reader_that_stands_still_is_an_error(server: Server) -> None:
    with server.client() as client:
        client.hset(POS, "in:1", "0-0")
    limits = Limits(ahead_bytes=10_000, patience_s=0.2)
    with publisher(server.url, limits) as to:
        to.publish([frame(0, 900)])
        with pytest.raises(W.ReplayError, match=r"in:1 has not been read .* MiB are waiting"):
            to.publish([frame(1, 900)])


def publish_forever(to: Publisher) -> None:
    for batch in itertools.count():
        to.publish([frame(batch, 500)])


def test_without_a_reader_it_warns_once_and_stops_at_the_cap(server: Server) -> None:
    told: list[str] = []
    limits = Limits(ahead_bytes=1 << 20, backlog_bytes=100_000)
    with publisher(server.url, limits, told=told) as to:
        with pytest.raises(W.ReplayError, match=r"no instance reads: start CoreC"):
            publish_forever(to)
        assert 10 < to.done.entries < 25
    assert len(told) == 1
    assert "corec:{t}:pos does not exist" in told[0]
    # a second replay counts what the first left
    with publisher(server.url, limits) as to, pytest.raises(W.ReplayError, match="no instance"):
        to.publish([frame(0, 2000)])


def test_a_trimmed_backlog_makes_room(server: Server) -> None:
    limits = Limits(backlog_bytes=100_000)
    with publisher(server.url, limits) as to, server.client() as client:
        for batch in range(60):
            to.publish([frame(batch, 500)])
            client.xtrim(STREAM, maxlen=1)
        assert to.done.entries == 60


def test_stop_ends_every_wait(server: Server) -> None:
    with server.client() as client:
        client.hset(POS, "in:1", "0-0")
    stop = threading.Event()
    with publisher(server.url, Limits(ahead_bytes=10_000), stop=stop) as to:
        to.publish([frame(0, 900)])
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(Interrupted):
            to.publish([frame(1, 900)])
