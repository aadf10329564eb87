"""Breadth-first search through every interleaving of a model, without ever visiting a state twice.

A model says which states follow a state (``steps``), what is wrong with a state (``fault``), and
whether the work is done in it (``finished``). Killing a process is a step like any other, so every
number of kills, at every point, in every order, is among the paths. A state with no other
way out than kills, in which the work is not done, is a fault too: the world would stand still.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)
STATES_MAX = 2_000_000


class Model(Protocol[State]):
    """What ``explore`` needs of a model."""

    def first(self) -> State:
        """The state before anything happened."""

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """(who does what, the state after it), without kills."""

    def kills(self, state: State) -> Iterator[tuple[str, State]]:
        """(who dies, the state its successor finds)."""

    def fault(self, state: State) -> str | None:
        """What is wrong with this state."""

    def finished(self, state: State) -> bool:
        """Whether all the work is done."""


@dataclass(frozen=True)
class Explored:
    """What a search found."""

    states: int
    finished: int
    """States in which all the work is done."""
    fault: str | None
    path: tuple[str, ...]
    """The shortest way to the fault."""

    def told(self) -> str:
        """The fault and its path, one step a line."""
        return "\n".join([f"{self.fault} after {len(self.path)} steps:", *self.path])


def explore(model: Model[State]) -> Explored:
    """Visit every reachable state, or stop at the first faulty one.

    Raises OverflowError when there are more than ``STATES_MAX`` states: the model is too large.
    """
    first = model.first()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    layer = [first]
    finished = 0

    def path_to(state: State) -> tuple[str, ...]:
        path: list[str] = []
        step = came_from[state]
        while step is not None:
            path.append(step[1])
            step = came_from[step[0]]
        return tuple(reversed(path))

    while layer:
        following: list[State] = []
        for state in layer:
            fault = model.fault(state)
            stuck = True
            done = model.finished(state)
            finished += done
            if fault is None:
                for label, new in model.steps(state):
                    stuck = False
                    if new not in came_from:
                        came_from[new] = (state, label)
                        following.append(new)
                if stuck and not done:
                    fault = "the world stands still"
            if fault is not None:
                return Explored(len(came_from), finished, fault, path_to(state))
            for label, new in model.kills(state):
                if new not in came_from:
                    came_from[new] = (state, label)
                    following.append(new)
        if len(came_from) > STATES_MAX:
            raise OverflowError(f"more than {STATES_MAX} states: make the model smaller")
        layer = following
    return Explored(len(came_from), finished, None, ())
