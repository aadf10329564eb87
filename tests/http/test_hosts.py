"""HTTP answers the hosts it was told, and no other name that points at this machine."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from corec.config import ConfigError, parse_config
from corec.http.hosts import HostCheck, plain_host
from tests.control.handmade import Running, raw_config, running

pytestmark = pytest.mark.usefixtures("no_leaks")
PATHS = ("/", "/status.json", "/metrics", "/healthz", "/readyz", "/nothing")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("one")) as one:
        yield one


def asked(one: Running, path: str, host: str | None) -> tuple[int, str]:
    """Status code and text of ``path``, with this ``Host`` header or none."""
    parts = urlsplit(one.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        connection.putrequest("GET", path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9",
     "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]:80"],
)  # fmt: skip
def test_this_machines_names_are_answered(instance: Running, host: str) -> None:
    assert asked(instance, "/healthz", host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "evil.example:localhost", "localhost@evil.example", "10.1.2.3", "[2001:db8::1]", "2130706433",
     "127.1", "0x7f.1", "localhost, evil.example", "", ":8000", "x" * 4000],
)  # fmt: skip
def test_any_other_is_refused_on_every_path(instance: Running, host: str) -> None:
    """The way of a rebound name: the connection comes to 127.0.0.1, the page is another's."""
    for path in PATHS:
        code, text = asked(instance, path, host)
        assert code == 421
        assert text.count("\n") == 1
        assert "http.hosts" in text
        assert len(text) < 300


def test_without_a_host_or_with_two_there_is_no_answer(instance: Running) -> None:
    assert asked(instance, "/status.json", None)[0] == 400
    parts = urlsplit(instance.url)
    for request in (
        b"GET /status.json HTTP/1.0\r\n\r\n",
        b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET http://localhost/status.json HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ):
        with socket.create_connection((str(parts.hostname), parts.port or 0), 20) as client:
            client.sendall(request)
            assert client.recv(64).split()[1] in (b"400", b"421")


def test_names_of_the_configuration_and_the_address_that_was_reached() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("not asked")

    check = HostCheck(never, ["0.0.0.0", "Corec.Example.", "fe80::1", "192.168.1.5"])
    for host in ("corec.example:8000", "CoreC.example", "[fe80::1]:80", "192.168.1.5"):
        assert check.knows([host], ("10.0.0.7", 8000))
    assert check.knows(["10.0.0.7:9"], ("10.0.0.7", 8000))
    assert check.knows(["[fd00::2]"], ("fd00:0:0::2", 8000))
    assert not check.knows(["10.0.0.8"], ("10.0.0.7", 8000))
    assert not check.knows(["example"], ("10.0.0.7", 8000))
    assert not check.knows(["example"], None)
    assert not check.knows([], ("10.0.0.7", 8000))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a:1", "a"), ("A.", "a"), ("[::1]", "::1"), ("::1", "::1"), ("[::1]:", "::1"), ("a:b", "a:b"),
     ("", ""), (":", ":"), ("[", "["), ("[]:1", ""), ("fe80::1%eth0", "fe80::1")],
)  # fmt: skip
def test_one_spelling(text: str, wanted: str) -> None:
    assert plain_host(text) == wanted


@pytest.mark.parametrize("hosts", ["corec", [""], ["a b"], ["a/b"], [1], ["h"] * 101, ["x" * 256]])
def test_hosts_that_are_none_are_faults(tmp_path: Path, hosts: object) -> None:
    with pytest.raises(ConfigError, match=r"http\.hosts"):
        parse_config(raw_config(tmp_path) | {"http": {"hosts": hosts}})
