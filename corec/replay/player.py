"""The loop: rounds → frames → batches, each when it is due.

The clock is `time.monotonic`. Round r of a replay at `speed` X begins r · step / X seconds after
the start, and its frames are spread over the round, so that a million entities make an even
stream and not a burst. A replay that falls behind (the instance reads too slowly, the server was
away) does not skip: it sends what is due as fast as it can until it has caught up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from corec.replay.frames import Framer, ValuesFramer
from corec.replay.publish import Interrupted, Publisher
from corec.replay.schedule import Playback

BATCH_BYTES_MAX = 1 << 20
BATCH_ENTRIES_MAX = 256
WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """speed: recorded seconds per second, 0 = flat out. rate: readings per second at most, 0 = no
    bound. passes: times the longest series is played, 0 = until stopped. readings_max: None =
    all of them."""

    speed: float
    rate: float = 0.0
    passes: int = 1
    readings_max: int | None = None


@dataclass(slots=True)
class Played:
    """What a replay did. `rounds` have begun; `behind_s` is how late the latest frame was."""

    readings: int = 0
    rounds: int = 0
    seconds: float = 0.0
    behind_s: float = 0.0
    interrupted: bool = False


def due_s(playback: Playback, pace: Pace, round_: int, part: float, readings: int) -> float:
    """Seconds after the start when a frame is due: `part` (0 ≤ part < 1) is its place in the
    round, `readings` how many went before it."""
    at_s = 0.0
    if pace.speed and playback.step_s is not None:
        at_s = (round_ + part) * playback.step_s / pace.speed
    if pace.rate:
        at_s = max(at_s, readings / pace.rate)
    return at_s


def frames_of(
    playback: Playback, framer: Framer | ValuesFramer, pace: Pace, on_round: Callable[[int], None]
) -> Iterator[tuple[float, bytes]]:
    """(when it is due in s, the frame), in order, up to the bounds of `pace`; empty frames are
    left out. `on_round` hears how many rounds have begun."""
    rounds = playback.rounds * pace.passes if pace.passes else None
    per_round = framer.frames_per_round
    readings = round_ = 0
    left: int | None = None
    while rounds is None or round_ < rounds:
        for number in range(per_round):
            if pace.readings_max is not None:
                left = pace.readings_max - readings
                if left <= 0:
                    return
            if number == 0:
                on_round(round_ + 1)
            frame = framer.frame(round_, number, left)
            if frame:
                yield due_s(playback, pace, round_, number / per_round, readings), frame
                readings += len(frame) // framer.message_bytes
        round_ += 1


def play(
    playback: Playback,
    framer: Framer | ValuesFramer,
    pace: Pace,
    publisher: Publisher,
    stop: threading.Event,
    report: Callable[[Played], None],
) -> Played:
    """Publish the playback. Returns early, with `interrupted`, when `stop` is set. `report` hears
    of every batch. Raises ReplayError."""
    played = Played()
    batch: list[bytes] = []
    batch_bytes = 0
    began = time.monotonic()

    def on_round(rounds: int) -> None:
        played.rounds = rounds

    def flush() -> None:
        nonlocal batch_bytes
        if batch:
            publisher.publish(batch)
            played.readings += batch_bytes // framer.message_bytes
            batch.clear()
            batch_bytes = 0
        played.seconds = time.monotonic() - began
        report(played)

    try:
        for at_s, frame in frames_of(playback, framer, pace, on_round):
            ahead_s = began + at_s - time.monotonic()
            if ahead_s > 0:
                flush()
                # piece by piece: a rate may be so low that no clock holds the time
                while (ahead_s := began + at_s - time.monotonic()) > 0:
                    if stop.wait(min(ahead_s, WAIT_S)):
                        raise Interrupted
            elif at_s:
                played.behind_s = max(played.behind_s, -ahead_s)
            if stop.is_set():
                raise Interrupted
            batch.append(frame)
            batch_bytes += len(frame)
            if batch_bytes >= BATCH_BYTES_MAX or len(batch) >= BATCH_ENTRIES_MAX:
                flush()
        flush()
    except Interrupted:
        played.interrupted = True
    played.seconds = time.monotonic() - began
    return played
