"""Publishing with back-pressure, over outages.

One thread, one connection. Before each batch the publisher makes sure that what the instance has
not applied yet stays below a bound; while the server is away it retries with back-off. Whatever
happens, batches arrive in order and each exactly once (see `wire`).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from corec.process.backoff import Backoff
from corec.replay.lead import ENTRY_OVERHEAD_BYTES, Lead, StreamId
from corec.replay.wire import Outage, Position, ReplayError, Wire, names_for

T = TypeVar("T")

MIB = 1 << 20
POLL_S = 0.005
STALL_NOTICE_S = 10.0
BACKOFF_MAX_S = 2.0


class Interrupted(Exception):
    """The user asked to stop."""


@dataclass(frozen=True, slots=True)
class Limits:
    """ahead_bytes: unread input allowed while an instance reads; backlog_bytes: while none does;
    patience_s: how long a reader may stand still; retry_s: how long the server may be away."""

    ahead_bytes: int = 64 * MIB
    backlog_bytes: int = 256 * MIB
    patience_s: float = 60.0
    retry_s: float = 60.0


@dataclass(slots=True)
class Published:
    """What arrived so far. Ids are None until something did."""

    entries: int = 0
    message_bytes: int = 0
    outages: int = 0
    first_id: StreamId | None = None
    last_id: StreamId | None = None
    waited_s: float = field(default=0.0)


class Publisher:
    """Use as a context manager. Opening raises ReplayError at once when the server cannot be
    reached; later, an outage is waited out for `limits.retry_s`.

    `tell` gets one line for each thing a user should know; `stop` ends every wait.
    """

    def __init__(
        self,
        url: str,
        instance_id: str,
        canal: int,
        limits: Limits,
        stop: threading.Event,
        tell: Callable[[str], None],
        field: str = "m",
    ) -> None:
        self._url = url
        self._names = names_for(instance_id, canal, uuid.uuid4().hex, field)
        self._limits = limits
        self._stop = stop
        self._tell = tell
        self._lead = Lead()
        self._number = 0  # of the newest batch the server holds
        self._position = Position(exists=False, applied=(0, 0))
        self._backlog_before = 0
        self._warned = False
        self._wire: Wire | None = None
        self.done = Published()

    @property
    def stream(self) -> str:
        return self._names.stream

    def __enter__(self) -> Publisher:
        try:
            self._wire = Wire(self._url, self._names)
            self._seen(self._wire.position())
            if not self._position.exists:
                self._backlog_before = self._wire.stream_bytes()
        except Outage as outage:
            self.close()
            raise ReplayError(str(outage)) from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._wire is not None:
            try:
                self._wire.forget_marker()
            except (Outage, ReplayError):
                pass  # the marker expires by itself
        self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def publish(self, frames: Sequence[bytes]) -> None:
        """Append one entry per frame, in order, as one batch.

        Returns when the server holds it. Raises Interrupted (nothing of the batch is known to
        have arrived) or ReplayError.
        """
        size = sum(map(len, frames)) + ENTRY_OVERHEAD_BYTES * len(frames)
        self._over_outages(lambda wire: self._make_room(wire, size))
        ids = self._over_outages(lambda wire: self._append(wire, frames))
        self._number += 1
        for entry_id, frame in zip(ids, frames, strict=True):
            self._lead.published(entry_id, len(frame))
        done = self.done
        done.first_id = done.first_id or ids[0]
        done.last_id = ids[-1]
        done.entries += len(frames)
        done.message_bytes += sum(map(len, frames))

    def drain(self) -> None:
        """Wait until the instance has applied everything published here. Raises ReplayError when
        there is no reader or it stands still for `limits.patience_s`."""
        self._over_outages(lambda wire: self._wait_until(wire, lambda: not self._lead.unread_bytes))

    def _append(self, wire: Wire, frames: Sequence[bytes]) -> list[StreamId]:
        """Send the next batch unless the server already holds it."""
        number = self._number + 1
        while True:
            if wire.resumed and self._already_applied(wire, number):
                # The ids in the lost reply are at most the newest one: a safe stand-in, which is
                # considered read only when everything up to it is.
                return [wire.last_id()] * len(frames)
            ids, position = wire.append(number, frames)
            self._seen(position)
            if ids is not None:
                return ids
            wire.resumed = True

    def _already_applied(self, wire: Wire, number: int) -> bool:
        applied = wire.batches_applied()
        wire.resumed = False
        if applied is None and number > 1:
            self._tell("the server came back without its data: what was published before is gone")
            self._lead.forget()
        return applied == number

    def _make_room(self, wire: Wire, size: int) -> None:
        limits, lead = self._limits, self._lead

        def fits() -> bool:
            return not lead.unread_bytes or lead.unread_bytes + size <= limits.ahead_bytes

        if not self._position.exists:
            self._check_backlog(wire, size)
        elif not fits():
            self._wait_until(wire, fits)

    def _check_backlog(self, wire: Wire, size: int) -> None:
        """Without a reader: warn once, and stop before the server's memory is full."""
        if not self._warned:
            self._warned = True
            self._tell(
                f"no instance has read from this server yet ({self._names.position} does not"
                f" exist): publishing at most {self._limits.backlog_bytes // MIB} MiB ahead of one"
            )
        if self._backlog_before + self._lead.unread_bytes + size <= self._limits.backlog_bytes:
            return
        # Someone may have trimmed the stream: ask before giving up.
        self._backlog_before = wire.stream_bytes()
        self._lead.forget()
        if self._backlog_before + size > self._limits.backlog_bytes:
            raise ReplayError(
                f"{self.stream} on {wire.where} holds {self._backlog_before / MIB:.0f} MiB that"
                " no instance reads: start CoreC on this server, or raise --backlog"
            )

    def _wait_until(self, wire: Wire, ready: Callable[[], bool]) -> None:
        """Poll the reader's position until `ready`."""
        began = moved = time.monotonic()
        noticed = False
        while True:
            progress = self._seen(wire.position())
            now = time.monotonic()
            if ready():
                self.done.waited_s += now - began
                return
            if progress:
                moved, noticed = now, False
            still_s = now - moved
            where = f"{self.stream} has not been read for {still_s:.0f} s"
            if still_s > self._limits.patience_s:
                raise ReplayError(
                    f"{where}, {self._lead.unread_bytes / MIB:.1f} MiB are waiting: is the"
                    " instance running, and does one of its bloques have this canal?"
                )
            if still_s > STALL_NOTICE_S and not noticed:
                noticed = True
                self._tell(f"{where}; waiting for the instance")
            self._pause(POLL_S)

    def _seen(self, position: Position) -> bool:
        """Take in the reader's position; whether it moved past something."""
        self._position = position
        return self._lead.applied(position.applied)

    def _over_outages(self, action: Callable[[Wire], T]) -> T:
        """Run `action`, on a new connection after each outage."""
        began: float | None = None
        backoff = Backoff(most_seconds=BACKOFF_MAX_S)
        while True:
            try:
                if self._wire is None:
                    self._wire = Wire(self._url, self._names)
                    self._wire.resumed = True
                result = action(self._wire)
            except Outage as outage:
                self.close()
                now = time.monotonic()
                if began is None:
                    began = now
                    self.done.outages += 1
                    self._tell(f"{outage}; trying again for {self._limits.retry_s:g} s")
                if now - began > self._limits.retry_s:
                    raise ReplayError(f"{outage} (for {now - began:.0f} s)") from None
                self._pause(backoff.next_seconds())
            else:
                if began is not None:
                    self._tell(f"the server is back after {time.monotonic() - began:.1f} s")
                return result

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted
