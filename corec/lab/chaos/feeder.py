"""Readings for the detectors: a function of the seed, each entry published exactly once."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
import redis

from corec.layout import MESSAGE
from corec.replay.publish import Limits, Publisher
from corec.replay.wire import ReplayError

CANAL: Final = 3
DETECTORS: Final = 4000
READINGS_PER_ENTRY: Final = 500
PAUSE_SECONDS: Final = 0.1


def entry(number: int, seed: int, first_id: int) -> bytes:
    """The ``number``-th entry: 500 readings of 10 bytes, for detectors from ``first_id`` on."""
    dice = np.random.default_rng([seed, number])
    messages = np.zeros(READINGS_PER_ENTRY, MESSAGE)
    messages["id"] = first_id + dice.integers(0, DETECTORS, READINGS_PER_ENTRY)
    messages["canal"] = CANAL
    messages["valor"] = dice.normal(10.0, 2.0, READINGS_PER_ENTRY)
    messages["activo"] = 1
    return messages.tobytes()


class Feeder(threading.Thread):
    """Publishes one entry after the other until ``halt``, whatever happens to the server."""

    def __init__(self, url: str, seed: int, first_id: int, outage_seconds: float) -> None:
        """``outage_seconds``: how long server or reader may be away before it gives up."""
        super().__init__(daemon=True)
        self.url, self.seed, self.first_id = url, seed, first_id
        self.outage_seconds = outage_seconds
        self.halt = threading.Event()
        self.entries = 0
        self.error: str | None = None

    def run(self) -> None:
        """Until ``halt``."""
        limits = Limits(retry_s=self.outage_seconds, patience_s=self.outage_seconds)
        try:
            with Publisher(
                self.url, "chaos", CANAL, limits, threading.Event(), lambda _text: None
            ) as publisher:
                while not self.halt.is_set():
                    publisher.publish([entry(self.entries, self.seed, self.first_id)])
                    self.entries += 1
                    self.halt.wait(PAUSE_SECONDS)
        except ReplayError as error:
            self.error = str(error)

    def end(self) -> None:
        """Stop after the entry that is under way.

        Raises:
            RuntimeError: not every entry could be published.
        """
        self.halt.set()
        self.join(self.outage_seconds + 30.0)
        if self.error or self.is_alive():
            raise RuntimeError(f"feeding the readings failed: {self.error or 'no end'}")


def feed_at_rest(url: str, entries: int, seed: int, first_id: int) -> None:
    """The same entries, at once."""
    with redis.Redis.from_url(url) as client:
        for number in range(entries):
            client.xadd(f"corec:{{chaos}}:in:{CANAL}", {"m": entry(number, seed, first_id)})
