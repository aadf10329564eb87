"""The built-in task ``webhook``: a notice posted to an address, signed, as its receiver expects it.

Tried again: no connection, no answer in time, 408, 425, 429 and 5xx. Not again: every other
answer that is no 2xx (a redirect, a 4xx), since it would be the same.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from corec.notices import GiveUp, Notice, Task

AGAIN: Final = frozenset({408, 425, 429})
ANSWER_BYTES_MAX: Final = 65_536


class NotTaken(Exception):
    """The receiver can't take it now."""


def signature(secret: bytes, unix_seconds: int, body: bytes) -> str:
    """The header ``X-Corec-Signature``: HMAC-SHA256 over the time, a dot and the body."""
    digest = hmac.new(secret, b"%d." % unix_seconds + body, hashlib.sha256).hexdigest()
    return f"t={unix_seconds},v1={digest}"


def post(notice: Notice, options: dict[str, Any]) -> None:
    """One call. ``options``: ``url``, ``secret_file`` (or null) and ``timeout_seconds``.

    Raises:
        GiveUp: what was answered would be answered again. NotTaken, OSError: later, perhaps.
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
        headers["X-Corec-Signature"] = signature(secret, int(time.time()), body)
    seconds = float(options["timeout_seconds"])
    host, port = url.hostname or "", url.port
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES_MAX)
    except http.client.HTTPException as error:
        raise NotTaken(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return
    said = f"HTTP {answer.status} {answer.reason}"
    if answer.status in AGAIN or answer.status >= 500:
        raise NotTaken(said)
    raise GiveUp(said)


webhook = Task("webhook", post, is_async=False, takes_options=True)
