"""The built-in task ``webhook``: a notice posted to an address, signed, as its receiver expects it.

Tried again: no connection, no answer in time, 408, 425, 429 and 5xx, not before what a
``Retry-After`` says. Not again: every other answer that is no 2xx (a redirect, a 4xx), since it
would be the same. The answer is its status: what follows its headers is not waited for.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from corec.notices import GiveUp, Later, Notice, Task

AGAIN: Final = frozenset({408, 425, 429})
AFTER_SECONDS_MOST: Final = 3600.0


class NotTaken(Later):
    """The receiver can't take it now."""


def signature(secret: bytes, unix_seconds: int, body: bytes) -> str:
    """The header ``X-Corec-Signature``: HMAC-SHA256 over the time, a dot and the body."""
    digest = hmac.new(secret, b"%d." % unix_seconds + body, hashlib.sha256).hexdigest()
    return f"t={unix_seconds},v1={digest}"


def retry_after(said: str | None) -> float:
    """The seconds in a header ``Retry-After``, a number or a date, an hour at most; 0: it says
    nothing that can be followed."""
    text = (said or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:10]), AFTER_SECONDS_MOST)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return min(max(seconds, 0.0), AFTER_SECONDS_MOST)


@contextlib.contextmanager
def _within(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Whatever is done with ``connection`` is over after so many seconds: a socket's own time-out
    begins anew with each byte that comes. Raises NotTaken, OSError."""
    over = threading.Event()

    def cut() -> None:
        over.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):  # not TLS's own: that one would say goodbye first
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
        if over.is_set():  # what was cut off reads like an end
            raise TimeoutError
    except (http.client.HTTPException, OSError) as error:
        if over.is_set() or isinstance(error, TimeoutError):
            raise NotTaken(f"no answer within {seconds:g} s") from error
        if isinstance(error, OSError):
            raise
        raise NotTaken(f"{type(error).__name__}: {error}") from error
    finally:
        timer.cancel()
        connection.close()


def _reach(
    connection: http.client.HTTPConnection, context: ssl.SSLContext | None, until: float
) -> None:
    """Connect to the first of its addresses that answers, before ``until``, and agree on TLS: with
    the socket in ``connection`` all the while, so that it can be cut off. Raises OSError."""
    places = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, address) in zip(
        range(len(places), 0, -1), places, strict=True
    ):
        if (remaining := until - time.monotonic()) <= 0:
            raise TimeoutError
        found = socket.socket(family, kind, protocol)
        found.settimeout(remaining / left)  # one that is silent leaves the others their part
        try:
            found.connect(address)
            break
        except OSError:
            found.close()
            if left == 1:
                raise
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.settimeout(max(until - time.monotonic(), 0.001))
    if context is None:
        connection.sock = found
        return
    secure = context.wrap_socket(
        found, server_hostname=connection.host, do_handshake_on_connect=False
    )
    connection.sock = secure
    secure.do_handshake()


def post(notice: Notice, options: dict[str, Any]) -> None:
    """One call. ``options``: ``url``, ``secret_file`` (or null) and ``timeout_seconds``.

    Raises:
        GiveUp: what was answered would be answered again. NotTaken, OSError: later, perhaps.
        ValueError: the secret is empty.
    """
    url = urlsplit(options["url"])
    body = orjson.dumps(notice.as_dict())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "corec",
        "Idempotency-Key": notice.key,
    }
    if options.get("secret_file"):
        secret = Path(options["secret_file"]).read_bytes().strip()
        if not secret:
            raise ValueError("secret_file: found an empty file, expected the key that signs")
        headers["X-Corec-Signature"] = signature(secret, int(time.time()), body)
    seconds = float(options["timeout_seconds"])
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)  # else it is looked for in the host, in ::1 too
    context = ssl.create_default_context() if secure else None
    connection = http.client.HTTPConnection(url.hostname or "", port)
    if secure:
        connection.default_port = 443  # what a header Host leaves out
    with _within(connection, seconds):
        _reach(connection, context, time.monotonic() + seconds)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.close()  # it has the connection, where more of it is to come
    if 200 <= answer.status < 300:
        return
    said = f"HTTP {answer.status} {answer.reason}"
    if answer.status in AGAIN or answer.status >= 500:
        raise NotTaken(said, retry_after(answer.getheader("Retry-After")))
    raise GiveUp(said)


webhook = Task("webhook", post, is_async=False, takes_options=True)
