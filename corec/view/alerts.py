"""Alerts of a running instance, decoded and acknowledged: a consumer group of the stream.

The group stands in Redis, and with it how far its readers are: an entry is acknowledged when the
loop asks for what comes after its last alert, so what a program had in its hands when it ended is
handed over again, to the next reader of the same group and consumer. At least once, in order.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import redis

from corec.broker.positions import Keys
from corec.control.console import AskFailed, Away
from corec.control.discover import Instance
from corec.view.alert import Alert, Alerts

BLOCK_MS: Final = 500
ENTRIES: Final = 100
AGAIN_SECONDS: Final = 0.2
FIELD: Final = b"alerta"

Open = Callable[[Instance], AbstractContextManager[Any]]


def decoded(entry: str, text: bytes) -> list[Alert]:
    """The alerts in one entry. Raises whatever one that says none makes it raise."""
    said = json.loads(text)
    head = (int(said["canal"]), str(said["procesador"]), entry, int(said["omitidas"]))
    return [
        Alert(int(said["tick"]), int(one.pop("id")), float(one.pop("valor")), *head, one)
        for one in said["entidades"]
    ]


class Reader:
    """One consumer of a group; ``read`` yields alerts. ``current`` says which instance it is now.

    ``everything``: a group that is made begins with the oldest entry that is there.
    """

    def __init__(
        self, open_streams: Open, current: Callable[[], Instance], group: str, consumer: str,
        everything: bool,
    ) -> None:  # fmt: skip
        self._open, self._current = open_streams, current
        self._group, self._consumer = group, consumer
        self._key = Keys(current().instance_id).alerts
        with self._open(current()) as client:
            self._make(client, "0" if everything else "$")

    def _make(self, client: Any, start: str) -> None:
        try:
            client.xgroup_create(self._key, self._group, start, mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def read(self, timeout: float | None) -> Alerts:
        """Alerts, for ever, or until none came for ``timeout`` seconds.

        Raises:
            NoInstance: it has stopped. AskFailed: the server refuses.
        """
        while True:
            try:
                with self._open(self._current()) as client:
                    yield from self._read(client, timeout)
                    return
            except Away:
                # it comes again, with its instance, or that is gone, which ``current`` says
                time.sleep(AGAIN_SECONDS)
            except AskFailed as error:
                if "NOGROUP" not in str(error):
                    raise
                with self._open(self._current()) as client:  # of a new world, or deleted
                    self._make(client, "0")

    def _read(self, client: Any, timeout: float | None) -> Iterator[Alert]:
        after = "0"  # first what was handed to this consumer and not acknowledged
        last = time.monotonic()
        while True:
            left = None if timeout is None else last + timeout - time.monotonic()
            block = BLOCK_MS if left is None else min(BLOCK_MS, max(0, round(1000 * left)))
            reply = client.xreadgroup(
                self._group, self._consumer, {self._key: after}, ENTRIES,
                block=block or None if after == ">" else None,
            )  # fmt: skip
            entries = _entries(reply)
            if not entries:
                if after != ">":
                    after = ">"
                elif left is not None and left <= 0:
                    return
                continue
            for raw, fields in entries:
                entry = raw.decode()
                yield from self._named(entry, fields)
                client.xack(self._key, self._group, raw)
                after = entry if after != ">" else after
            last = time.monotonic()

    def _named(self, entry: str, fields: Any) -> list[Alert]:
        if not fields:
            return []  # trimmed since it was handed over first
        try:
            return decoded(entry, dict(fields)[FIELD])
        except Exception as error:  # noqa: BLE001 - whatever somebody else's entry makes it raise
            warnings.warn(f"{self._key} {entry}: not an alert ({error!r}); skipped", stacklevel=3)
            return []


def _entries(reply: Any) -> list[tuple[bytes, Any]]:
    """Of the one stream, whatever form the protocol's version gives the reply."""
    if not reply:
        return []
    (found,) = reply.values() if isinstance(reply, dict) else (reply[0][1],)
    if found and isinstance(found[0], list) and found[0] and isinstance(found[0][0], tuple):
        found = found[0]
    return list(found)
