"""What of the stream of notices may go."""

from __future__ import annotations

from typing import Any

import pytest

from corec.tasks.trimmed import kept


def group(name: str, at: str) -> dict[bytes, Any]:
    return {b"name": name.encode(), b"last-delivered-id": at.encode()}


MINE = [group("tarea:a", "20-0"), group("tarea:b", "10-0")]
OTHERS = group("somebody's", "3-1")


@pytest.mark.parametrize(
    ("length", "groups", "pending", "words"),
    [
        (10**9, MINE, [], ("MINID", "~", "10-0")),
        (10**9, MINE, [[2, b"9-0", b"12-0", []], [0, None, None, None]], ("MINID", "~", "9-0")),
        (100, [*MINE, OTHERS], [], ("MINID", "~", "3-1")),
        (101, [*MINE, OTHERS], [], ("MINID", "~", "10-0")),
        (100, [OTHERS], [], ("MINID", "~", "3-1")),
        (101, [OTHERS], [], ("MAXLEN", "~", 100)),
        (0, [], [ValueError("NOGROUP")], ("MAXLEN", "~", 100)),
    ],
)
def test_nobody_but_a_task_that_there_is_holds_more_than_the_limit(
    length: int, groups: Any, pending: Any, words: Any
) -> None:
    mine = {"tarea:a", "tarea:b"}
    assert kept(length, 100, groups, mine, pending) == words
