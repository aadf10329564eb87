"""Each signal to each process of an instance, while it runs and in a pause: it ticks on, and tells
of who died."""

from __future__ import annotations

import os
import signal

import pytest

from tests.crash.test_set import Play
from tests.e2e.conftest import Make
from tests.support.instance import Running, small_config
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("no_leaks")]

CHILDREN = (
    ("worker", 0), ("worker", 1), ("persister", 0), ("broker", 0), ("tasks", 0), ("nucleus", 0),
)  # fmt: skip
BORNE = (
    signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGTTIN,
    signal.SIGTTOU, signal.SIGSTOP, signal.SIGCONT,
)  # fmt: skip
"""Nobody ends by them; the last two in this order."""


def all_but_the_nucleus_end(run: Running, ends: signal.Signals) -> None:
    """Each gets all of them."""
    before = {child: run.pid_of(*child) for child in CHILDREN}
    assert all(before.values())
    for pid in before.values():
        for number in BORNE:
            os.kill(pid, number)
    for pid in before.values():
        os.kill(pid, ends)

    def left() -> list[tuple[str, int]]:
        return [child for child, pid in before.items() if run.pid_of(*child) == pid]

    wait_until(lambda: left() == [("nucleus", 0)], f"all others end by {ends.name}", 60.0)


ENDS = [(ends, paused) for paused in (False, True) for ends in (signal.SIGTERM, signal.SIGQUIT)]


def test_each_signal_to_each_process(make: Make) -> None:
    one = make(small_config(alertas={"clear_after_ticks": 5}))
    play = Play(one)
    run = play.run
    run.answered("set", path="tick_hz", value=50)
    run.answered("resume")
    for ends, paused in ENDS:
        if paused and run.status()["state"] != "paused":
            assert one.ctl("pause").code == 0
        all_but_the_nucleus_end(run, ends)
        tick = run.ready().status()["tick"]
        if not paused:
            run.until_tick(tick + 20)
        else:
            play.until(play.tick() + 5)
    ended = run.stop()
    assert ended.code == 0
    assert ended.summary["restarts"] == len(ENDS) * (len(CHILDREN) - 1)
    for name in ("SIGTERM", "SIGQUIT"):
        assert ended.err.count(name) >= 2 * (len(CHILDREN) - 1)
