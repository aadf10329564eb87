from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.layout import MESSAGE
from corec.replay import schedule as P
from corec.replay.frames import Framer
from corec.replay.series import ReplayInputError, Series, Skipped


def make_series(values: Sequence[float], times: Sequence[float] | None = None) -> Series:
    at = np.arange(len(values), dtype=np.float64) if times is None else np.array(times, dtype=float)
    return Series("s", at, np.array(values, dtype=np.float32), Skipped())


def ramp(length: int, series: int = 0) -> Series:
    return make_series([series * 1000.0 + i for i in range(length)])


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(lengths, st.integers(1, 60), st.integers(0, 1000))
def test_an_entity_sees_its_series_rotated(ls: list[int], entities: int, first: int) -> None:
    series = [ramp(length, s) for s, length in enumerate(ls)]
    playback = P.make_playback(series, P.Ranges(((first, entities),)), None)
    rounds = 2 * playback.rounds + 1
    seen = np.stack([playback.values(r, 0, entities) for r in range(rounds)])
    played = min(len(ls), entities)
    sharing = -(-entities // played)
    for k in range(entities):
        s, j = k % played, k // played
        start = j * ls[s] // sharing
        expected = [s * 1000.0 + (start + r) % ls[s] for r in range(rounds)]
        assert seen[:, k].tolist() == expected


@given(lengths, st.integers(1, 60), st.integers(0, 50), st.integers(1, 20))
def test_every_entity_gets_one_reading_a_round(
    ls: list[int], entities: int, round_: int, frame_messages: int
) -> None:
    playback = P.make_playback([ramp(n) for n in ls], P.parse_map(f"7:{entities}"), None)
    framer = Framer(playback, 3, frame_messages)
    frames = [framer.frame(round_, f) for f in range(framer.frames_per_round)]
    messages = np.frombuffer(b"".join(frames), dtype=MESSAGE)
    assert messages["id"].tolist() == list(range(7, 7 + entities))
    assert (messages["canal"] == 3).all()
    assert (messages["activo"] == 1).all()
    assert messages["valor"].tolist() == playback.values(round_, 0, entities).tolist()


def test_entities_of_a_series_are_not_in_step() -> None:
    playback = P.make_playback([ramp(100), ramp(50, 1)], P.parse_map("0:20"), None)
    values = playback.values(0, 0, 20)
    assert values[::2].tolist() == [10.0 * j for j in range(10)]
    assert values[1::2].tolist() == [1000.0 + 5 * j for j in range(10)]


def test_series_without_an_entity_are_left_out() -> None:
    playback = P.make_playback([ramp(5, s) for s in range(4)], P.parse_map("9,3"), None)
    assert playback.ids.tolist() == [9, 3]
    assert playback.values(1, 0, 2).tolist() == [1.0, 1001.0]


def test_a_gap_is_a_run_of_rounds_without_a_reading() -> None:
    series = make_series([1, 2, 3], [0, 300, 1200])
    playback = P.make_playback([series], P.parse_map("0:1"), 300.0)
    assert playback.rounds == 5
    framer = Framer(playback, 1)
    played = [np.frombuffer(framer.frame(r, 0), dtype=MESSAGE)["valor"].tolist() for r in range(6)]
    assert played == [[1.0], [2.0], [], [], [3.0], [1.0]]


def test_rows_faster_than_the_step_queue_up() -> None:
    slots, cut = P.slots_of(make_series([1, 2, 3, 4, 5], [0, 1, 2, 300, 1500]), 300.0)
    assert slots.tolist() == [0, 1, 2, 3, 5]
    assert cut == 0


def test_a_very_long_gap_is_shortened() -> None:
    slots, cut = P.slots_of(make_series([1, 2, 3], [0, 1, 1e9]), 1.0)
    assert slots.tolist() == [0, 1, 1 + P.GAP_SLOTS_MAX]
    assert cut == 1


@given(
    st.lists(st.floats(0.001, 50_000), max_size=60).map(np.cumsum),
    st.floats(0.01, 1000),
)
def test_no_row_is_lost_and_none_shares_a_slot(
    after: npt.NDArray[np.float64], step_s: float
) -> None:
    times = [0.0, *after.tolist()]
    slots, _ = P.slots_of(make_series([0.0] * len(times), times), step_s)
    assert slots[0] == 0
    assert (np.diff(slots) >= 1).all()
    assert (np.diff(slots) <= P.GAP_SLOTS_MAX + len(times)).all()


@given(lengths, st.integers(1, 40))
def test_on_the_clock_each_entity_still_sees_every_row_once_a_pass(
    ls: list[int], entities: int
) -> None:
    series = [make_series([float(i) for i in range(n)], [i * i for i in range(n)]) for n in ls]
    playback = P.make_playback(series, P.Ranges(((0, entities),)), 1.0)
    for k in range(entities):
        length = int(playback.lengths[k % len(playback.lengths)])
        seen = np.array([playback.values(r, k, k + 1)[0] for r in range(length)])
        rows = ls[k % len(playback.lengths)]
        assert sorted(seen[~np.isnan(seen)].tolist()) == list(range(rows))


def test_step_is_the_median_of_the_median_intervals() -> None:
    series = [make_series([0.0] * 4, t) for t in ([0, 1, 2, 9], [0, 5, 10, 15], [0, 7, 14, 21])]
    assert P.sampling_step_s(series) == 5.0
    assert P.sampling_step_s([ramp(1)]) == 1.0


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("0-9", ((0, 10),)),
        ("5:3", ((5, 3),)),
        ("7", ((7, 1),)),
        (" 20:5 , 0-3 ", ((20, 5), (0, 4))),
        ("4294967295", ((4294967295, 1),)),
    ],
)
def test_maps(text: str, pieces: tuple[tuple[int, int], ...]) -> None:
    assert P.parse_map(text).pieces == pieces


@pytest.mark.parametrize(
    "text", ["", "a", "3-", "-3", "9-2", "4:0", "0-5,3", "4294967295:2", "0:4294967296", "1,,2",
             "9" * 5000, f"0:{'9' * 5000}"]
)  # fmt: skip
def test_bad_maps_say_which(text: str) -> None:
    with pytest.raises(ReplayInputError, match="--map"):
        P.parse_map(text)


@pytest.mark.filterwarnings("error")
def test_times_that_no_number_of_steps_leads_to_follow_each_other() -> None:
    series = make_series([1.0, 2.0, 3.0, 4.0], [-1e308, 0.0, 1e307, 1e308])
    playback = P.make_playback([series], P.parse_map("0"), 1e-6)
    assert (playback.rounds, playback.gaps_shortened) == (P.GAP_SLOTS_MAX + 3, 1)


def test_a_step_that_makes_too_many_rounds() -> None:
    times = np.arange(10_000, dtype=np.float64)
    series = Series("s.csv", times, np.zeros(10_000, np.float32), Skipped())
    with pytest.raises(ReplayInputError, match=r"s\.csv: a step of 1e-06 s .* --step"):
        P.make_playback([series], P.parse_map("0"), 1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(-128, 127), floats := st.floats(width=32))
def test_a_message_is_what_struct_packs(entity: int, canal: int, valor: float) -> None:
    playback = P.make_playback([make_series([valor])], P.Ranges(((entity, 1),)), None)
    frame = Framer(playback, canal).frame(0, 0)
    if not np.isnan(valor):
        assert frame == struct.pack("!Ibf?", entity, canal, valor, True)


@pytest.mark.slow
def test_framing_keeps_up_with_numpy() -> None:
    """Making frames costs at most 12 times what packing ready values does, best of five each."""
    count = 200_000
    series = [ramp(4000 + s, s) for s in range(24)]
    playback = P.make_playback(series, P.parse_map(f"0:{count}"), None)
    framer = Framer(playback, 1)
    messages = np.zeros(count, dtype=MESSAGE)
    values = np.arange(count, dtype=">f4")

    def numpy_only() -> None:
        messages["valor"] = values
        messages.tobytes()

    def framed() -> None:
        for number in range(framer.frames_per_round):
            framer.frame(5, number)

    assert best_of(5, framed) < 12 * best_of(5, numpy_only)


def best_of(times: int, action: object) -> float:
    assert callable(action)
    took = []
    for _ in range(times):
        began = time.thread_time()  # what others do meanwhile counts little
        action()
        took.append(time.thread_time() - began)
    return min(took)
