"""What a user writes to act on alerts and messages: a plain function, sync or ``async``, outside of
any tick.

A task gets a ``Notice`` and may take as long as its ``timeout_seconds``. What it returns goes back
into the world as readings: a mapping with ``id`` and ``valor`` (or the names of several values), or
a list of them. What it raises is tried again later, but for ``GiveUp``. Who runs it, and how often
at most, is said in ``corec.tasks``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, overload

from corec.project import imported
from corec.signature import signature_of

EVENTS: Final = ("raised", "repeated", "cleared", "acknowledged")
"""What happens to an alert that a task may be started by."""
MESSAGE: Final = "message"
"""The event of a task that is started by messages."""
BUILT_IN: Final = {
    "webhook": "corec.tasks.webhook:webhook",
    "command": "corec.tasks.command:command",
}


_SECRETS: Final = (
    "POSTGRES_", "REDIS_", "PG", "COREC_DB_URL", "COREC_REDIS_URL", "CREDENTIALS_",
)  # fmt: skip


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What a user's task or program may see of the environment: all but where servers are."""
    return {name: value for name, value in environ.items() if not name.startswith(_SECRETS)}


class TaskError(Exception):
    """There is no such task, or it can't be imported; the text says why."""


class GiveUp(Exception):
    """To be raised by a task: this is not to be tried again."""


class Later(Exception):
    """Not now, and not for so many seconds: who was called has said so."""

    def __init__(self, text: str, after_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.after_seconds = after_seconds


@dataclass(frozen=True)
class Notice:
    """What happened to an alert, or a message."""

    id: str
    """The world's epoch, the tick in which the alert was raised or the message emitted (of repeated
    that of the repeat), the entity;
    of a tick's second message of an entity, and of further ones, also the how manieth it is."""
    event: str
    """One of EVENTS, or MESSAGE."""
    tick: int
    entity: int
    canal: int
    procesador: str
    valor: float | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What the processor's ``alerts=(…)`` names, of the latest message."""
    count: int = 1
    """Ticks with a message so far; of a message, the how manieth of its entity and tick it is."""

    @property
    def key(self) -> str:
        """Of this event: the same whenever it is handed over again."""
        return f"{self.id}:{self.event}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "fields": dict(self.fields), "key": self.key}

    @staticmethod
    def from_dict(said: Mapping[str, Any]) -> Notice:
        """What ``as_dict`` made. Raises KeyError, TypeError."""
        return Notice(**{name: value for name, value in said.items() if name != "key"})


@dataclass(frozen=True)
class Task:
    """A declared task."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    takes_options: bool = False
    """A built-in one, which is called with its entry of the configuration, too."""

    def __call__(self, *args: Any) -> Any:
        """The function itself."""
        return self.function(*args)


@overload
def task(function: Callable[..., Any], /) -> Task: ...


@overload
def task() -> Callable[[Callable[..., Any]], Task]: ...


def task(function: Callable[..., Any] | None = None, /) -> Any:
    """Declare a task: ``def f(notice)`` or ``async def f(notice)``, see ``Notice``.

    Raises:
        TypeError: it is no function of one argument, or it yields.
    """
    if function is None:
        return task
    if not inspect.isfunction(function):
        raise TypeError(f"@corec.task goes on a function, found a {type(function).__name__}")
    name = f"{function.__module__}:{function.__qualname__}"
    arguments = list(signature_of(function).parameters.values())
    fixed = all(a.kind is a.POSITIONAL_OR_KEYWORD for a in arguments)
    if not fixed or len(arguments) != 1:
        raise TypeError(f"{name}: a task takes (notice), this one {signature_of(function)}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name}: a task returns its answers, this one yields; return a list")
    return Task(name, function, inspect.iscoroutinefunction(function))


def load_task(name: str, search: Iterable[Path] = ()) -> Task:
    """The task called ``name``: a built-in one, or ``package.module:attribute``.

    ``search`` are folders in which modules are looked for beside ``sys.path``.

    Raises:
        TaskError: naming what is missing, or what its import raised.
    """
    module, colon, attribute = BUILT_IN.get(name, name).partition(":")
    if not colon or not module or not attribute:
        raise TaskError(f"no task of this name is built in; there are {', '.join(BUILT_IN)}")
    try:
        found = getattr(imported(module, tuple(search)), attribute)
    except (Exception, SystemExit) as error:
        raise TaskError(f"{type(error).__name__}: {error}") from error
    if not isinstance(found, Task):
        raise TaskError(f"it is a {type(found).__name__}, no function with @corec.task")
    return found
