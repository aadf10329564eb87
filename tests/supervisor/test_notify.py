"""The service manager's watchdog: who feeds it, and when it may go hungry."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from corec import layout as L
from corec.process.runtime import Runtime, Slot, float_to_word
from corec.supervisor.notify import AWAY_USEC, Notifier
from corec.supervisor.sighting import FRESH_NS, Sightings
from corec.worker.leader import JOURNAL_WAITS_BYTES

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Where a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def told(manager: socket.socket) -> list[str]:
    """All that was said since."""
    found: list[str] = []
    while True:
        try:
            found += manager.recv(4096).decode().split("\n")
        except BlockingIOError:
            return found


def notifier(manager: socket.socket, usec: int) -> Notifier:
    """As a service with a watchdog of ``usec`` has it."""
    place = str(manager.getsockname())
    environ = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": str(usec), "WATCHDOG_PID": str(os.getpid())}
    return Notifier(environ)


def test_it_is_fed_while_ticks_come_or_need_not(manager: socket.socket) -> None:
    one = notifier(manager, 2)  # to be fed each microsecond: at every look
    fed = []
    for tick, resting in ((1, False), (1, False), (2, False), (2, True), (2, False)):
        one.alive(tick, resting)
        fed.append("WATCHDOG=1" in told(manager))
    assert fed == [True, False, True, True, False]


def test_newer_code_gets_time_to_load(manager: socket.socket) -> None:
    one = notifier(manager, 30_000_000)
    one.away()
    assert told(manager) == [f"WATCHDOG_USEC={AWAY_USEC}", "WATCHDOG=1"]
    one.ready("running")
    assert told(manager)[-2:] == ["WATCHDOG_USEC=30000000", "WATCHDOG=1"]
    longer = notifier(manager, 2 * AWAY_USEC)
    longer.away()
    assert f"WATCHDOG_USEC={2 * AWAY_USEC}" in told(manager)
    none = Notifier({"NOTIFY_SOCKET": str(manager.getsockname())})
    none.away()
    none.ready("running")
    assert not any(line.startswith("WATCHDOG") for line in told(manager))


def world(
    hz: float, states: list[int], ages_ns: list[int], found: dict[int, int] | None = None,
    journal: int = 0,
) -> Sightings:  # fmt: skip
    """What is seen of workers in these states, whose beats are that old."""
    words = np.zeros(L.control_words(8), np.uint64)
    words[L.C_WORKERS] = len(states)
    words[L.C_TICK_HZ] = float_to_word(hz)
    for k, (state, age) in enumerate(zip(states, ages_ns, strict=True)):
        slot = Slot(words, L.SLOT_WORKER0 + k)
        slot.set(L.S_STATE, state)
        slot.set(L.S_BEAT_NS, time.monotonic_ns() - age)
    for word, value in (found or {}).items():
        words[word] = value
    rt: Any = SimpleNamespace(get=lambda word: int(words[word]), slot=lambda n: Slot(words, n),
                              journal=SimpleNamespace(used=journal))  # fmt: skip
    return Sightings(cast("Runtime", rt))


@pytest.mark.parametrize(
    ("hz", "states", "ages", "waiting"),
    [
        (10.0, [L.PROC_READY, L.PROC_READY], [0, 0], False),
        (10.0, [L.PROC_READY, L.PROC_WAITING_SINK], [0, 0], True),
        (10.0, [L.PROC_READY, L.PROC_WAITING_SINK], [2 * FRESH_NS, 0], False),
        (0.0, [L.PROC_READY], [0], False),
        (0.0, [L.PROC_WAITING_SINK], [0], True),
        (1 / 60, [L.PROC_READY, L.PROC_READY], [0, 0], True),
        (1 / 60, [L.PROC_READY, L.PROC_READY], [0, 2 * FRESH_NS], False),
        (1.0, [L.PROC_READY], [0], True),
        (1.01, [L.PROC_READY], [0], False),
    ],
)
def test_what_need_not_tick(hz: float, states: list[int], ages: list[int], waiting: bool) -> None:
    seen = world(hz, states, ages)
    assert seen.waiting is waiting
    assert seen.held_up is (L.PROC_WAITING_SINK in states), "not by a slow pace"


@pytest.mark.parametrize(("word", "value"), [(L.C_PAUSED, 1), (L.C_REST, 3)])
def test_it_is_fed_while_the_world_is_paused_or_rests_for_a_change(word: int, value: int) -> None:
    """An upgrade to other fields tries the new code while nobody ticks or beats."""
    gone = [2 * FRESH_NS]
    assert world(10.0, [L.PROC_READY], gone, {word: value}).calm
    assert not world(10.0, [L.PROC_READY], gone, {word: value & 2}).calm


@pytest.mark.parametrize(
    ("found", "journal", "waiting"),
    [
        ({L.C_GO_TICK: 9, L.C_FOLLOW: 9}, 0, False),
        ({L.C_GO_TICK: 8, L.C_FOLLOW: 9}, 0, True),
        ({L.C_GO_TICK: 8, L.C_GROW_FIRST: 10}, 0, False),
        ({L.C_GO_TICK: 9, L.C_GROW_FIRST: 10}, 0, True),
        ({}, JOURNAL_WAITS_BYTES, False),
        ({}, JOURNAL_WAITS_BYTES + 1, True),
    ],
)
def test_what_waits_for_its_past_or_the_disk(
    found: dict[int, int], journal: int, waiting: bool
) -> None:
    assert world(10.0, [L.PROC_READY], [0], found, journal).waiting is waiting
    assert not world(10.0, [L.PROC_READY], [2 * FRESH_NS], found, journal).waiting


def test_a_manager_that_reads_nothing_is_not_waited_for(manager: socket.socket) -> None:
    one = notifier(manager, 2)
    sent = 0
    while one.send("x" * 1000):
        sent += 1
        assert sent < 100_000, "what nobody reads is bounded"
    one.alive(1, False)
    assert len(told(manager)) == sent
    one.alive(1, False)
    assert "WATCHDOG=1" in told(manager), "what did not go is said again"


def test_a_state_that_did_not_go_is_sent_again_and_none_that_is_over(
    manager: socket.socket,
) -> None:
    one = notifier(manager, 0)
    while one.send("x" * 1000):
        pass
    one.reloading()
    one.ready("running")
    one.again()
    assert "READY=1" not in told(manager)
    one.again()
    assert [line for line in told(manager) if line.endswith("=1")] == ["READY=1"]
    one.again()
    assert told(manager) == []
