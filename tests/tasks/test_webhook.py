"""The webhook: what it takes for an answer, when it comes again, what it signs."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from corec.config import ConfigError, parse_config
from corec.lab.chaos.receiver import Receiver
from corec.notices import GiveUp, Notice
from corec.nucleus.loadable import check_loadable
from corec.tasks.webhook import NotTaken, post, retry_after, signature
from tests.support.instance import REPO

NOTICE = Notice("00000000000000ff-7-3", "raised", 7, 3, 1, "thermostat", 0.9, {"t": 31.5})


def options(url: str, **changes: Any) -> dict[str, Any]:
    """Who answers may be slow to be scheduled; only who never does is given up soon."""
    return {"url": url, "secret_file": None, "timeout_seconds": 30.0, **changes}


@pytest.mark.parametrize(
    ("status", "raises"),
    [(200, None), (204, None), (301, GiveUp), (400, GiveUp), (404, GiveUp), (408, NotTaken),
     (425, NotTaken), (429, NotTaken), (500, NotTaken), (503, NotTaken)],
)  # fmt: skip
def test_webhook_tries_again_what_may_pass(status: int, raises: type[Exception] | None) -> None:
    with Receiver.serving() as (receiver, url):
        receiver.status = status
        if raises is None:
            post(NOTICE, options(url))
            assert receiver.bodies == {NOTICE.key: NOTICE.as_dict()}
            return
        with pytest.raises(raises, match=f"HTTP {status}"):
            post(NOTICE, options(url))


def test_webhook_signs(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" s3cret\n")
    with Receiver.serving() as (receiver, url):
        post(NOTICE, options(url, secret_file=str(secret)))
    said = receiver.headers[0]["X-Corec-Signature"]
    seconds = int(said.partition(",")[0].removeprefix("t="))
    assert said == signature(b"s3cret", seconds, receiver.raw[0])
    assert signature(b"k", 1, b"{}") == (
        "t=1,v1=3dd49b2593d0f9a349e9e71c4bde3e2b862c2be4003fe9b4ba81332029310158"
    )


def test_webhook_without_anybody() -> None:
    with Receiver.serving() as (_, url):
        pass
    with pytest.raises(OSError, match="refused"):
        post(NOTICE, options(url))


def test_a_stranger_can_check_it_by_the_document() -> None:
    text = (REPO / "docs" / "tasks.md").read_text()
    (block,) = (part for part in text.split("```python\n") if "def is_ours" in part)
    names: dict[str, Any] = {}
    exec(block.partition("```")[0], names)  # a document of this repository
    is_ours, body = names["is_ours"], b'{"id": 1}'
    said = signature(b"a key", 1_700_000_000, body)
    assert is_ours(b"a key", said, body)
    assert not is_ours(b"another", said, body)
    assert not is_ours(b"a key", said, body + b" ")
    assert not is_ours(b"a key", said.replace("t=17", "t=18"), body)


@contextlib.contextmanager
def answering(said: bytes, family: int = socket.AF_INET, *, slowly: bytes = b"") -> Iterator[str]:
    """Where a server says ``said`` to each call, and ``slowly`` a byte every tenth of a second, and
    keeps the connection."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(said)
                for at in range(len(slowly)):
                    if over.wait(0.1):
                        return
                    connection.sendall(slowly[at : at + 1])
                over.wait()

    with socket.create_server((host, 0), family=family) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            port = server.getsockname()[1]
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
             b"Content-Length: 999999999999\r\n\r\nx"],
)  # fmt: skip
def test_a_body_that_does_not_come_is_no_reason_to_come_again(rest: bytes) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n" + rest) as url:
        post(NOTICE, options(url))


def test_who_answers_byte_by_byte_has_no_more_time() -> None:
    """A socket's time-out begins anew with each byte."""
    with answering(b"HTTP/1.1 200 OK\r\n", slowly=b"X-Slow: " + b"x" * 600) as url:
        begun = time.monotonic()
        with pytest.raises(NotTaken, match=r"no answer within 0\.5 s"):
            post(NOTICE, options(url, timeout_seconds=0.5))
        assert time.monotonic() - begun < 30.0
    with answering(b"") as url, pytest.raises(NotTaken, match=r"no answer within 0\.2 s"):
        post(NOTICE, options(url, timeout_seconds=0.2))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(None, 0.0), ("", 0.0), ("0", 0.0), (" 7 ", 7.0), ("3600", 3600.0), ("3601", 3600.0),
     ("9" * 5000, 3600.0), ("-1", 0.0), ("1.5", 0.0), ("soon", 0.0), ("\u0663", 0.0),
     ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0), ("Fri, 31 Dec 9999 23:59:59 -0000", 3600.0)],
)  # fmt: skip
def test_when_to_come_again(said: str | None, seconds: float) -> None:
    assert retry_after(said) == seconds


def test_who_says_when_to_come_again_is_followed() -> None:
    assert math.isclose(retry_after(formatdate(time.time() + 90, usegmt=True)), 90.0, abs_tol=60.0)
    head = b"HTTP/1.1 %d Busy\r\nRetry-After: 17\r\n\r\n"
    for status, raises in ((429, NotTaken), (503, NotTaken), (302, GiveUp)):
        with answering(head % status) as url, pytest.raises(raises) as failed:
            post(NOTICE, options(url))
        assert getattr(failed.value, "after_seconds", None) == (17.0 if status != 302 else None)


def test_an_address_of_numbers_needs_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refused(*address: Any, **_: Any) -> Any:
        asked.append(address)
        raise OSError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    for scheme, port in (("http", 80), ("https", 443)):
        for host in ("[::1]", "[fe80::abcd]", "127.0.0.1"):
            with pytest.raises(OSError, match="nobody"):
                post(NOTICE, options(f"{scheme}://{host}/hook"))
            assert asked.pop() == (host.strip("[]"), port)


@pytest.mark.slow
def test_a_late_connection_and_a_slow_handshake_have_one_time_together() -> None:
    """The queue of who waits to be accepted is full for two seconds, so the kernel's third attempt,
    after three, comes through; then somebody agrees on TLS a byte every tenth of a second."""
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            over.wait(2.0)
            server.accept()[0].close()
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"\x16\x03\x03\x40\x00\x02")
                while not over.wait(0.1):
                    connection.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            thread = threading.Thread(target=serve)
            thread.start()
            begun = time.monotonic()
            try:
                with pytest.raises(NotTaken, match="no answer within 4 s"):
                    post(NOTICE, options(f"https://127.0.0.1:{address[1]}/", timeout_seconds=4.0))
                lasted = time.monotonic() - begun
            finally:
                over.set()
                thread.join()
    assert 3.0 < lasted < 6.5  # with a time for each it is 7


def test_an_address_that_is_silent_leaves_the_next_one_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo
    with Receiver.serving() as (receiver, url), socket.create_server(
        ("127.0.0.1", 0), backlog=0
    ) as silent, socket.create_connection(silent.getsockname()):
        port = silent.getsockname()[1]

        def found(host: str, *words: Any, **more: Any) -> Any:
            return [*real(host, port, **more), *real(host, *words, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        post(NOTICE, options(url, timeout_seconds=6.0))
        assert list(receiver.bodies) == [NOTICE.key]


def test_an_empty_secret_signs_nothing(tmp_path: Any) -> None:
    """Whoever knows nothing could make such a signature."""
    secret = tmp_path / "secret"
    task = {"run": "webhook", "url": "http://127.0.0.1/", "secret_file": str(secret)}
    bloque = {"id": "s", "canal": 1, "entidades": 10}
    config = parse_config({"instance_id": "one", "bloques": [bloque], "tasks": [task]})
    for content, text in ((None, "is no file"), (" \n", "is empty"), ("k", None)):
        if content is not None:
            secret.write_text(content)
        if text is None:
            check_loadable(config)
            continue
        with pytest.raises(ConfigError, match=rf"secret_file: found .*, which {text}"):
            check_loadable(config)
    secret.write_text("\n")
    with pytest.raises(ValueError, match="found an empty file"):
        post(NOTICE, options("http://127.0.0.1:1/", secret_file=str(secret)))
