"""Outcomes of changes: one place, written where there is no room, read while it is written."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from corec.control.outcome import (
    CHANGE_FILE,
    OUTCOMES_KEPT,
    RECORD_BYTES,
    ChangeFile,
    await_change,
    last_change,
)

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
    assert await_change(tmp_path, 0, "reload")["reason"] == "faults"
    assert await_change(tmp_path, 1, "workers")["reason"] == "4 workers"


@pytest.mark.parametrize("text", ["x" * 100_000, "ñ" * 100_000, "\udcff" * 100_000, '"' * 100_000])
def test_the_longest_reasons_fit(tmp_path: Path, answers: ChangeFile, text: str) -> None:
    for _ in range(OUTCOMES_KEPT + 1):
        answers.write("reload", False, text)
    assert os.stat(tmp_path / CHANGE_FILE).st_size == RECORD_BYTES
    found = last_change(tmp_path)
    assert found["number"] == OUTCOMES_KEPT + 1
    assert found["reason"].endswith("(100000 characters)")


def test_no_room_and_no_descriptor_is_needed(tmp_path: Path, answers: ChangeFile) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limit[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        answers.write("reload", False, "there is none")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert last_change(tmp_path)["reason"] == "there is none"
    assert os.stat(tmp_path / CHANGE_FILE).st_blocks * 512 >= RECORD_BYTES


def test_half_a_record_is_no_answer(tmp_path: Path, answers: ChangeFile) -> None:
    answers.write("reload", True, None)
    whole = (tmp_path / CHANGE_FILE).read_bytes()
    for cut in (0, 10, len(whole.rstrip()) - 1):
        (tmp_path / CHANGE_FILE).write_bytes(whole[:cut])
        assert last_change(tmp_path)["number"] == 0
