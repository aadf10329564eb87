"""Reserving the port: wishes, demands, and what is said when it cannot be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from corec.http.port import PortUnavailable, reserve, url_of

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def test_a_wish_takes_the_next_free_port(taken: int) -> None:
    with reserve("127.0.0.1", taken, explicit=False) as listener:
        assert listener.getsockname()[1] > taken
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        with socket.create_connection(listener.getsockname()):
            pass


def test_a_demand_is_an_error(taken: int) -> None:
    with pytest.raises(PortUnavailable, match=f"127.0.0.1:{taken}.*in use.*choose another"):
        reserve("127.0.0.1", taken, explicit=True)


def test_any_port() -> None:
    with reserve("127.0.0.1", 0, explicit=True) as listener:
        assert listener.getsockname()[1] > 0
        assert not listener.get_inheritable()


def test_ipv6_loopback() -> None:
    try:
        listener = reserve("::1", 0, explicit=True)
    except PortUnavailable:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert url_of(listener).startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_a_foreign_host_is_an_error(host: str) -> None:
    with pytest.raises(PortUnavailable, match=host):
        reserve(host, 0, explicit=True)
