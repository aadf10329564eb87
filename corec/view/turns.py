"""A world in this process has one thread at a time: none finds it within a tick or a change."""

from __future__ import annotations

import functools
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn, Self


def by_turns(names: str) -> Callable[[type], Any]:
    """Of a class of ``Alone``, the methods that wait for each other, a blank between them."""

    def waiting(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def alone(self: Alone, *args: Any, **named: Any) -> Any:
            with self._turn:
                return method(self, *args, **named)

        return alone

    def of(whole: type) -> type:
        for name in names.split():
            setattr(whole, name, waiting(vars(whole)[name]))
        return whole

    return of


class Alone:
    """Whose memory nobody else has: a copy is a fork, and no other process can be given it."""

    _turn: threading.RLock

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """With a turn of its own."""
        made = super().__new__(cls)
        made._turn = threading.RLock()
        return made

    @abstractmethod
    def fork(self) -> Any:
        """Another one that is what this one is now."""

    def __copy__(self) -> Any:
        return self.fork()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.fork()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a World can't be pickled: make one in the other process, of its configuration; "
            "a process that is forked has it"
        )
