"""The out-streams, alertas and dead stay within a number of bytes, whatever their entries are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.broker.bounds import ENTRY_OVERHEAD_BYTES, Bounds
from tests.broker.support import Instance
from tests.support.processes import wait_until

MIB = 1 << 20


@given(
    st.integers(1, 5000), st.integers(1, 64),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 640_000), st.integers(1, 40)),
             max_size=40),
)  # fmt: skip
def test_held_within_twice_the_room(
    maxlen: int, max_mb: int, runs: list[tuple[str, int, int]]
) -> None:
    """Streams that each get entries in turn: as Redis would hold them, trimmed at each XADD."""
    bounds = Bounds(maxlen, max_mb * MIB)
    held: dict[str, deque[int]] = {}
    for key, size, count in runs:
        for _ in range(count):
            limit = bounds.maxlen(key, size)
            assert 1 <= limit <= maxlen
            entries = held.setdefault(key, deque())
            entries.append(size + ENTRY_OVERHEAD_BYTES)
            while len(entries) > limit:
                entries.popleft()
    # one entry of each is there whatever its size
    most = 2 * max_mb * MIB + sum(entries[-1] for entries in held.values())
    if len(held) == 1:
        assert sum(map(sum, held.values())) <= most


def test_steady_streams_share_the_room() -> None:
    """A small one keeps all it wants; the large ones share the rest."""
    bounds = Bounds(1000, 10 * MIB)
    for _ in range(2000):
        small = bounds.maxlen("small", 100)
        large = [bounds.maxlen(key, 100_000) for key in ("one", "other")]
    assert small == 1000
    each = (10 * MIB - 1000 * (100 + ENTRY_OVERHEAD_BYTES)) / 2 / (100_000 + ENTRY_OVERHEAD_BYTES)
    assert large == [int(each), int(each)]


@pytest.mark.parametrize(("size", "entries"), [(MIB - ENTRY_OVERHEAD_BYTES, 1), (2 * MIB, 1)])
def test_an_entry_as_large_as_the_room(size: int, entries: int) -> None:
    assert Bounds(1000, MIB).maxlen("key", size) == entries


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_memory_of_the_server(instance: Callable[..., Instance]) -> None:
    """12 MB of messages through a bound of 2 MB; unread input is not trimmed."""
    one = instance(max_mb=2, lane_bytes=1 << 20)
    waiting = [one.add(77, {"m": b"0" * 10}) for _ in range(200)]
    pid = one.start()
    for tick in range(1, 61):
        one.run_tick(tick, count=4000)
        wait_until(lambda: one.count(0) == one.ledger.messages, "the tick is sent")
    one.drain(pid)
    with one.redis() as client:
        sizes = {key: client.memory_usage(one.keys.out(key), samples=0) for key in (1, -2)}
        assert sum(sizes.values()) < 3 * MIB, sizes
        assert sum(sizes.values()) > MIB, sizes
        assert client.xlen(one.keys.incoming(77)) == len(waiting)
