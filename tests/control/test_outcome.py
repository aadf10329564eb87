"""Outcomes of changes: one place, written where there is no room, read while it is written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corec.control import outcome
from corec.control.errors import write_errors
from corec.control.failed import as_told
from corec.control.outcome import (
    CHANGE_FILE,
    OUTCOMES_KEPT,
    RECORD_BYTES,
    ChangeFile,
    await_change,
    doing,
    last_change,
    said_of,
)
from corec.control.protocol import ControlError
from tests.support.full import no_descriptor_left, no_file_over

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[ChangeFile]:
    """A file without outcomes."""
    made = ChangeFile(tmp_path)
    yield made
    made.close()


def test_there_is_none_before_the_first(tmp_path: Path) -> None:
    assert last_change(tmp_path)["number"] == 0
    ChangeFile(tmp_path).close()
    assert last_change(tmp_path)["number"] == 0


def test_numbers_go_on_after_a_restart(tmp_path: Path, answers: ChangeFile) -> None:
    answers.write("reload", True, None)
    again = ChangeFile(tmp_path)
    again.write("upgrade", False, "so")
    again.close()
    assert last_change(tmp_path) == {
        "number": 2, "change": "upgrade", "accepted": False, "reason": "so",
    }  # fmt: skip


def test_who_asked_hears_of_its_own_change(tmp_path: Path, answers: ChangeFile) -> None:
    answers.write("workers", True, "3 workers")
    answers.write("reload", False, "faults")
    answers.write("workers", True, "4 workers")
    assert await_change(tmp_path, 0, "reload", lambda: True)["reason"] == "faults"
    assert await_change(tmp_path, 1, "workers", lambda: False)["reason"] == "4 workers"


def test_nobody_waits_for_an_instance_that_is_gone(tmp_path: Path, answers: ChangeFile) -> None:
    began = time.monotonic()
    with pytest.raises(ControlError, match="gone, and has not said what became of the upgrade"):
        await_change(tmp_path, 0, "upgrade", lambda: False)
    with pytest.raises(ControlError, match="grown by is kept, and made at the next start"):
        await_change(tmp_path, 0, "set", lambda: False)
    assert time.monotonic() - began < 5.0


def test_what_began_before_one_asked_is_not_one_s_own(tmp_path: Path, answers: ChangeFile) -> None:
    assert outcome.asked_behind(tmp_path) == 0
    answers.write("reload", True, None)
    answers.begin("reload")  # somebody else's, with the file as it was
    before = outcome.asked_behind(tmp_path)
    answers.write("reload", True, None)
    assert said_of(tmp_path, before, "reload") is None
    answers.begin("reload")
    answers.write("reload", False, "faults")
    assert await_change(tmp_path, before, "reload", lambda: True)["reason"] == "faults"
    assert outcome.asked_behind(tmp_path) == 3


def test_what_a_killed_supervisor_was_at_has_no_outcome_that_would_be_waited_for(
    tmp_path: Path, answers: ChangeFile
) -> None:
    answers.begin("upgrade")
    ChangeFile(tmp_path, goes_on=True).close()
    assert (doing(tmp_path), outcome.asked_behind(tmp_path)) == ("upgrade", 1)
    ChangeFile(tmp_path).close()
    assert (doing(tmp_path), outcome.asked_behind(tmp_path)) == (None, 0)


def test_what_is_done_now_is_told(
    tmp_path: Path, answers: ChangeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.write("reload", True, None)
    answers.begin("upgrade")
    assert (doing(tmp_path), last_change(tmp_path)["number"]) == ("upgrade", 1)
    monkeypatch.setattr(outcome, "WAIT_SECONDS_MAX", 0.01)
    with pytest.raises(ControlError, match="at this change: upgrade"):
        await_change(tmp_path, 1, "workers", lambda: True)
    answers.write("upgrade", True, None)
    assert doing(tmp_path) is None


@pytest.mark.parametrize("text", ["x" * 100_000, "ñ" * 100_000, "\udcff" * 100_000, '"' * 100_000])
def test_the_longest_reasons_fit(tmp_path: Path, answers: ChangeFile, text: str) -> None:
    for _ in range(OUTCOMES_KEPT + 1):
        answers.write("reload", False, text)
    assert os.stat(tmp_path / CHANGE_FILE).st_size == RECORD_BYTES
    found = last_change(tmp_path)
    assert found["number"] == OUTCOMES_KEPT + 1
    assert found["reason"].endswith("(100000 characters)")


def test_no_room_and_no_descriptor_is_needed(tmp_path: Path, answers: ChangeFile) -> None:
    with no_descriptor_left():
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        answers.write("reload", False, "there is none")
    assert last_change(tmp_path)["reason"] == "there is none"
    assert os.stat(tmp_path / CHANGE_FILE).st_blocks * 512 >= RECORD_BYTES


def test_no_call_is_needed_that_may_be_refused(tmp_path: Path, answers: ChangeFile) -> None:
    """Of a process that may write no file at all, pwrite is refused within what there is, too."""
    (tmp_path / "other").write_bytes(bytes(10))
    with no_file_over(0):
        with open(tmp_path / "other", "r+b") as other, pytest.raises(OSError, match="too large"):
            os.pwrite(other.fileno(), b"x", 0)
        answers.begin("reload")
        assert doing(tmp_path) == "reload"
        answers.write("reload", False, "told all the same")
    assert last_change(tmp_path)["reason"] == "told all the same"


def test_a_record_that_somebody_cut_is_made_whole(tmp_path: Path, answers: ChangeFile) -> None:
    answers.write("reload", True, None)
    os.truncate(tmp_path / CHANGE_FILE, 0)
    answers.write("reload", False, "again")
    assert last_change(tmp_path) == {
        "number": 2, "change": "reload", "accepted": False, "reason": "again",
    }  # fmt: skip


def test_who_can_t_look_is_not_told_that_there_is_nothing(
    tmp_path: Path, answers: ChangeFile
) -> None:
    """An older outcome would be taken for that of what is asked for next."""
    answers.write("set", False, "long ago")
    with no_descriptor_left():
        for ask in (last_change, doing, lambda folder: said_of(folder, 0, "set")):
            with pytest.raises(OSError, match="Too many open files"):
                ask(tmp_path)
    assert said_of(tmp_path, 1, "set") is None


def test_half_a_record_is_no_answer(tmp_path: Path, answers: ChangeFile) -> None:
    answers.write("reload", True, None)
    whole = (tmp_path / CHANGE_FILE).read_bytes()
    for cut in (0, 10, len(whole.rstrip()) - 1):
        (tmp_path / CHANGE_FILE).write_bytes(whole[:cut])
        assert last_change(tmp_path)["number"] == 0


def test_whatever_a_processor_raised_can_be_told(tmp_path: Path) -> None:
    """A literal may hold half of a surrogate pair, or a book: neither ends the worker."""
    for text, told in (
        ("plain \u00f1", "plain \u00f1"),
        ("\ud800", "\\ud800"),
        ("x" * 1001, f"{'x' * 1000}\u2026 (1001 characters)"),
    ):
        assert as_told(text) == told
        assert write_errors(tmp_path / "errors-0.json", 1, {"kinds": [{"text": as_told(text)}]})
