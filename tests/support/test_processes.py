"""What the tests ask about processes has an answer while these end, and patience."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.processes import PROMISED_MIN, is_running, listening, promised, wait_until


def test_who_has_ended_listens_on_nothing() -> None:
    process = subprocess.Popen(["true"])
    wait_until(lambda: not is_running(process.pid), "it ends")
    assert listening({process.pid}) == set(), "a zombie"
    process.wait()
    assert listening({process.pid}) == set()


def test_a_promise_has_its_least_time_and_the_more_the_more_is_running() -> None:
    assert promised(0.0)() == PROMISED_MIN
    seconds = promised(100.0)
    first = seconds()
    assert 100.0 <= first <= seconds(), "it is never taken back"


def test_how_long_to_wait_is_asked_all_the_while() -> None:
    asked = iter((60.0, 60.0, 0.0))
    with pytest.raises(AssertionError, match="not within 0 s: what never comes"):
        wait_until(lambda: False, "what never comes", lambda: next(asked))
    assert not list(asked)
