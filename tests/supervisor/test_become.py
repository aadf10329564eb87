"""An ``exec`` that is not possible leaves everything as it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from corec.supervisor.upgrade import (
    VARIABLE,
    Refit,
    asked_to_refit,
    become,
    check_command,
    inherited,
)
from corec.supervisor.wishes import Wishes

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_a_program_that_is_gone_is_an_error_and_descriptors_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    try:
        with pytest.raises(FileNotFoundError):
            become(Wishes(), {"lock": read}, [read, write])
        assert not os.get_inheritable(read)
        assert not os.get_inheritable(write)
        assert VARIABLE not in os.environ
    finally:
        os.close(read)
        os.close(write)


def test_only_the_process_that_was_left_something_takes_it() -> None:
    state = (
        '{"pid": %d, "lock": 3, "state_lock": 4, "http": 5, "children": [7, 8], "workers": 2, '
        '"signals": [21], "updates_before": 9}'
    )
    assert inherited({}) is None
    assert inherited({VARIABLE: state % (os.getpid() + 1)}) is None
    found = inherited({VARIABLE: state % os.getpid()})
    assert found is not None
    assert (found.lock, found.state_lock, found.http) == (3, 4, 5)
    assert (found.children, found.workers, found.signals) == ((7, 8), 2, (21,))


def test_the_check_asks_a_fresh_interpreter(tmp_path: Path) -> None:
    words = check_command(Wishes(config_path=tmp_path / "c.json", overrides={"seed": 3}))
    assert words[:5] == [sys.executable, "-m", "corec", "check", "--adopt"]
    assert words[5:] == ["--overrides", '{"seed": 3}', str(tmp_path / "c.json")]
    for asked in (Refit(True, False), Refit(False, True)):
        assert asked_to_refit(asked.environ()) == asked
    assert asked_to_refit(os.environ) is None
