"""A real HTTP server that takes webhooks, and drops, delays or fails a third of the calls."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """What was posted. ``taken`` has each key that was answered with 200, and how often."""

    def __init__(self, seed: int, share: float, delay_seconds: float) -> None:
        self.random, self.share = random.Random(seed), share
        self.delay_seconds = delay_seconds
        self.taken: Counter[str] = Counter()
        self.taken_at: dict[str, float] = {}
        """Unix seconds of the first time."""
        self.bodies: dict[str, dict[str, Any]] = {}
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.calls = 0
        self.lock = threading.Lock()
        self.status = 200
        self.released = threading.Event()

    def fate(self) -> str:
        """What becomes of the next call."""
        with self.lock:
            self.calls += 1
            if self.random.random() >= self.share:
                return "take"
            return self.random.choice(["drop", "delay", "fail", "busy", "lose"])

    @classmethod
    @contextmanager
    def serving(
        cls, *, seed: int = 1, share: float = 0.0, delay_seconds: float = 0.4
    ) -> Iterator[tuple[Self, str]]:
        """It, and its address. ``share`` of the calls go wrong, some by ``delay_seconds``."""
        receiver = cls(seed, share, delay_seconds)

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

            def do_POST(self) -> None:  # the name is the server's
                fate = receiver.fate()
                if fate == "drop":
                    self.connection.close()
                    return
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if fate == "delay":
                    receiver.released.wait(receiver.delay_seconds)
                status = {"fail": 500, "busy": 429}.get(fate, receiver.status)
                if 200 <= status < 300:
                    with receiver.lock:
                        key = self.headers["Idempotency-Key"]
                        receiver.taken[key] += 1
                        receiver.taken_at.setdefault(key, time.time())
                        receiver.bodies[key] = json.loads(body)
                        receiver.headers.append(dict(self.headers))
                        receiver.raw.append(body)
                if fate == "lose":
                    self.connection.close()  # taken, and the answer is lost
                    return
                self.send_response(status)
                self.end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        quiet = lambda *_: None  # noqa: E731  # dropped calls are meant
        server.handle_error = quiet  # type: ignore[method-assign]  # of this one alone
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver, f"http://127.0.0.1:{server.server_address[1]}/hook?x=1"
        finally:
            receiver.released.set()
            server.shutdown()
            server.server_close()
            thread.join()
