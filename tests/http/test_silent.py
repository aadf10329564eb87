"""Connections that never finish a request keep nobody else out, and do not stay."""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from corec.http import server
from tests.control.handmade import Running, running
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
SECONDS = 1.5


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One whose patience is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_SILENT_SECONDS", SECONDS)
        with running(tmp_path_factory.mktemp("one")) as one:
            yield one


def half_open(one: Running, words: bytes) -> socket.socket:
    """A connection that says ``words`` and waits."""
    parts = urlsplit(one.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    connection.sendall(words)
    return connection


def closed(connections: list[socket.socket]) -> list[int]:
    """Which of them the server has ended."""
    readable, _, _ = select.select(connections, [], [], 0)
    return [k for k, one in enumerate(connections) if one in readable]


def healthy(one: Running) -> bool:
    """Whether somebody else is answered."""
    parts = urlsplit(one.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.mark.parametrize(
    "words", [b"", b"GET /healthz HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_it_is_closed_after_a_while(instance: Running, words: bytes) -> None:
    with half_open(instance, words) as connection:
        assert not closed([connection])
        assert healthy(instance)
        wait_until(lambda: closed([connection]) == [0], "it is closed", SECONDS + 10.0)
        assert connection.recv(1) == b""


def test_one_that_goes_on_asking_is_kept(instance: Running) -> None:
    """As a scraper or a page does, with pauses that are shorter than what is allowed."""
    parts = urlsplit(instance.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    connection.auto_open = 0  # a connection that was closed is not made anew
    connection.connect()
    try:
        began = time.monotonic()
        while time.monotonic() - began < 3 * SECONDS:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"ok":true}'
            select.select([], [], [], SECONDS / 4)
    finally:
        connection.close()


def test_many_make_room(instance: Running) -> None:
    most = server._SILENT_MAX
    many = [half_open(instance, b"GET /") for _ in range(most + 2)]
    try:
        wait_until(lambda: len(closed(many)) >= 2, "two too many are closed", 10.0)
        assert healthy(instance)
        gone = closed(many)
        assert len(gone) <= 4, "those beyond the limit, and for a moment the one that asked"
        one = next(one for k, one in enumerate(many) if k not in gone)
        one.sendall(b"healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert one.recv(64).startswith(b"HTTP/1.1 200"), "one within the limit may go on"
    finally:
        for one in many:
            one.close()
