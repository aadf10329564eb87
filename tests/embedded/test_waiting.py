"""Waiting for two servers at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from corec.embedded.waiting import side_by_side, waited_for

Said = list[tuple[str, int]]


def counted(said: Said, name: str, steps: int, error: Exception | None = None) -> Iterator[None]:
    for number in range(steps):
        said.append((name, number))
        yield
    if error is not None:
        raise error


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (0, 2), (2, 1), (3, 3)])
def test_each_takes_its_steps_in_turn(a: int, b: int) -> None:
    said: Said = []
    turns = sum(1 for _ in side_by_side(counted(said, "a", a), counted(said, "b", b)))
    assert turns == max(a, b)
    assert said == sorted([("a", n) for n in range(a)] + [("b", n) for n in range(b)],
                          key=lambda step: (step[1], step[0]))  # fmt: skip


def test_what_one_raises_comes_when_the_other_is_done() -> None:
    said: Said = []
    with pytest.raises(OSError, match="first") as refused:
        waited_for(side_by_side(
            counted(said, "a", 1, OSError("first")), counted(said, "b", 3, ValueError("second"))
        ))  # fmt: skip
    assert said[-1] == ("b", 2)
    assert refused.value.__notes__ == ["second"]
