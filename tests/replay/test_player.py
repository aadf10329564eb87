from __future__ import annotations

import threading

import numpy as np
import pytest

from corec.replay.frames import Framer
from corec.replay.lead import Lead, parse_stream_id
from corec.replay.player import Pace, due_s, frames_of, play
from corec.replay.publish import Limits, Publisher
from corec.replay.schedule import Playback, make_playback, parse_map
from corec.replay.series import Series, Skipped
from tests.replay.support import Server, read_stream

STREAM = "corec:{t}:in:1"


def playback_of(rows: int, entities: int, step_s: float | None) -> Playback:
    times = np.arange(rows, dtype=np.float64) * 300.0
    series = Series("s", times, np.arange(rows, dtype=np.float32), Skipped())
    return make_playback([series], parse_map(f"0:{entities}"), step_s)


def test_frames_are_spread_over_the_round() -> None:
    playback = playback_of(10, 100, 300.0)
    pace = Pace(speed=3000.0)  # a round every 0.1 s
    dues = [at for at, _ in frames_of(playback, Framer(playback, 1, 25), pace, lambda rounds: None)]
    assert dues == pytest.approx([i * 0.025 for i in range(40)])


def test_flat_out_is_due_at_once_and_a_rate_bounds_it() -> None:
    playback = playback_of(10, 100, None)
    assert due_s(playback, Pace(speed=0.0), 7, 0.5, 750) == 0.0
    assert due_s(playback, Pace(speed=0.0, rate=500.0), 7, 0.5, 750) == 1.5


@pytest.mark.parametrize(
    ("limit", "passes", "expected"), [(None, 1, 70), (None, 3, 210), (33, 1, 33), (33, 0, 33)]
)
def test_bounds_are_exact(limit: int | None, passes: int, expected: int) -> None:
    playback = playback_of(10, 7, None)
    rounds: list[int] = []
    pace = Pace(speed=0.0, passes=passes, readings_max=limit)
    framer = Framer(playback, 1, 4)
    frames = [frame for _, frame in frames_of(playback, framer, pace, rounds.append)]
    assert sum(map(len, frames)) == 10 * expected
    assert rounds == list(range(1, -(-expected // 7) + 1))


def test_a_limit_counts_readings_and_not_the_gaps() -> None:
    series = Series("s", np.array([0.0, 900.0]), np.array([1, 2], dtype=np.float32), Skipped())
    playback = make_playback([series], parse_map("0:5"), 300.0)
    pace = Pace(speed=1.0, passes=0, readings_max=17)
    framer = Framer(playback, 1, 2)
    frames = [frame for _, frame in frames_of(playback, framer, pace, lambda rounds: None)]
    assert sum(map(len, frames)) == 170


@pytest.mark.slow
def test_a_rate_beyond_every_clock_can_be_stopped(server: Server) -> None:
    """The second reading is due in longer than a wait may last."""
    playback, stop = playback_of(5, 2, None), threading.Event()
    with Publisher(server.url, "t", 2, Limits(), stop, lambda line: None) as publisher:
        pace = Pace(speed=0.0, rate=1e-320)
        framer = Framer(playback, 2, 1)
        played = play(playback, framer, pace, publisher, stop, lambda done: stop.set())
    assert (played.readings, played.interrupted) == (1, True)


@pytest.mark.slow
def test_played_on_the_clock(server: Server) -> None:
    """20 rounds of 25 ms: all readings, in order, in no less than the time they take."""
    playback = playback_of(20, 40, 300.0)
    stop = threading.Event()
    with Publisher(server.url, "t", 1, Limits(), stop, lambda line: None) as publisher:
        played = play(
            playback, Framer(playback, 1, 10), Pace(speed=12_000.0), publisher, stop,
            lambda done: None,
        )  # fmt: skip
    assert played.readings == 800
    assert played.rounds == 20
    assert not played.interrupted
    assert played.seconds >= 19.7 * 0.025
    with server.client() as client:
        messages = np.concatenate(read_stream(client, STREAM))
    seen = messages["valor"][messages["id"] == 20]
    assert seen.tolist() == [float((10 + r) % 20) for r in range(20)]


def test_lead() -> None:
    lead = Lead()
    for seq in range(3):
        lead.published((5, seq), 100)
    whole = lead.unread_bytes
    assert not lead.applied((4, 9))
    assert lead.applied((5, 1))
    assert lead.unread_bytes == whole // 3
    assert lead.applied((6, 0))
    assert lead.unread_bytes == 0


def test_stream_ids_order_as_numbers() -> None:
    assert parse_stream_id(b"99-10") > parse_stream_id("99-9") > parse_stream_id("98")
    with pytest.raises(ValueError, match="x"):
        parse_stream_id("x-1")
