"""The processes of an instance, one row for each kind, and the counters that they keep.

Whoever lists processes, sinks or counters reads these tables: the supervisor who it forks and in
which stage of a stop each leaves, ``status`` and ``/metrics`` what there is to show, a checkpoint
whose positions it waits for, chaos whom it kills. A new kind of process is a row here, its slot in
``corec.layout`` and its ``run`` in ``supervisor.processes``. Nothing here decides or writes.

Functions take ``get``, an acquire-load of a control word: of a ``Runtime``, or of the segment that
``corec-ctl`` has mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from corec import layout as L
from corec.config import Config

Get = Callable[[int], int]

FROZEN_SECONDS: Final = 5.0
"""A process without a sign of life for so long is shown as frozen …"""
KILLED_SECONDS: Final = 10.0
"""… and for so long is killed, and started again."""


class Addresses(Protocol):
    """Where this instance's servers are, as anybody may read it."""

    @property
    def db(self) -> str: ...
    @property
    def redis_url(self) -> str: ...


class Sink(NamedTuple):
    """What takes what ticks produced, a server or not: all that others have to know of it."""

    key: str
    """In data: ``status``, labels of metrics."""
    title: str
    """In sentences."""
    address: Callable[[Addresses], str]
    """What ``status`` shows of where it is."""
    takes: tuple[str, ...] = ()
    """The lanes (by ``Runtime.lanes_by_kind``) that it empties: what is in them it has not got."""
    moves: tuple[str, ...] = ()
    """The ``COUNTERS`` that change while it gets on and its lanes stand still."""
    keeps: str | None = None
    """The one of the bytes that wait out of the lanes, safe from the end of the world in memory."""


class Condition(NamedTuple):
    """When there is a process of a kind at all."""

    word: int
    """The control word in which the supervisor says so …"""
    asked: Callable[[Config], bool]
    """… and what it asks."""


class Role(NamedTuple):
    """One kind of process."""

    name: str
    slot: int
    """Its process slot; the first of its slots where there are many of it."""
    leaves: int
    """The ``L.STOP_*`` at which it leaves for good."""
    sink: Sink | None = None
    """Whose position is its ``S_TICK``, and whose trouble its ``S_ERROR``."""
    tells: bool = False
    """It has an event lane."""
    where: Condition | None = None
    """None: it is there always."""


@dataclass(frozen=True)
class Process:
    """One process and its slot."""

    role: str
    index: int
    slot: int


SUPERVISOR: Final = "supervisor"
"""The parent of all, in no slot's row: it has a lane for events, too."""
NUCLEUS: Final = Role("nucleus", L.SLOT_NUCLEUS, L.STOP_NUCLEUS, tells=True)
PERSISTER: Final = Role("persister", L.SLOT_PERSISTER, L.STOP_SINKS, sink=Sink(
    "postgresql", "PostgreSQL", lambda at: at.db, takes=("rows", "events"),
    moves=("transactions",), keeps="spool_bytes",
))  # fmt: skip
BROKER: Final = Role("broker", L.SLOT_BROKER, L.STOP_SINKS, tells=True, sink=Sink(
    "redis", "Redis", lambda at: at.redis_url, takes=("out",),
))  # fmt: skip
TASKS: Final = Role(
    "tasks", L.SLOT_TASKS, L.STOP_SINKS, where=Condition(L.C_ACTS, lambda config: config.acts)
)
"""There where the configuration says what becomes of an alert."""
WORKER: Final = Role("worker", L.SLOT_WORKER0, L.STOP_TICKS)

SINGLE: Final = (NUCLEUS, PERSISTER, BROKER, TASKS)
"""One process of each; the workers come behind them."""
ROLES: Final = (*SINGLE, WORKER)
NAMES: Final = tuple(role.name for role in ROLES)
EVENT_LANES: Final = (SUPERVISOR, *(role.name for role in SINGLE if role.tells))


COUNTERS: Final[dict[str, tuple[Role, int]]] = {
    "rows_persisted": (PERSISTER, L.P_ROWS),
    "rows_dropped": (PERSISTER, L.P_DROPPED),
    "spool_bytes": (PERSISTER, L.P_SPOOL_BYTES),
    "transactions": (PERSISTER, L.P_TRANSACTIONS),
    "messages_out": (BROKER, L.B_MESSAGES_OUT),
    "messages_in": (BROKER, L.B_MESSAGES_IN),
    "messages_dead": (BROKER, L.B_DEAD),
    "messages_dropped": (BROKER, L.B_DROPPED),
    "input_lost": (BROKER, L.B_UNREAD_LOST),
    "alerts_raised": (TASKS, L.T_RAISED),
    "alerts_open": (TASKS, L.T_OPEN),
    "tasks_done": (TASKS, L.T_DONE),
    "task_retries": (TASKS, L.T_RETRIED),
    "tasks_failed": (TASKS, L.T_FAILED),
    "tasks_waiting": (TASKS, L.T_WAITING),
}
"""What one process counts and others show, under the name that ``status`` has for it."""


def slot_word(get: Get, slot: int, word: int) -> int:
    """Word ``word`` of process slot ``slot``."""
    return get(L.slot_base(slot) + word)


def counted(get: Get, name: str) -> int:
    """The counter ``name`` of ``COUNTERS``."""
    role, word = COUNTERS[name]
    return slot_word(get, role.slot, L.S_COUNT0 + word)


def _there(get: Get) -> list[Role]:
    return [role for role in SINGLE if role.where is None or get(role.where.word)]


def sinks(get: Get) -> list[tuple[Role, Sink]]:
    """Every sink of this instance, with whose it is."""
    return [(role, role.sink) for role in _there(get) if role.sink is not None]


def members(workers: int, get: Get) -> list[Process]:
    """Every process but the supervisor, with so many workers."""
    single = [Process(role.name, 0, role.slot) for role in _there(get)]
    return single + [Process(WORKER.name, k, WORKER.slot + k) for k in range(workers)]


def processes(get: Get) -> list[Process]:
    """Every process of this instance but the supervisor."""
    return members(get(L.C_WORKERS), get)


def committed_tick(get: Get) -> int:
    """The last tick that every worker has committed: its frames are all in the lanes."""
    workers = get(L.C_WORKERS) or get(L.C_LANES)
    return min((slot_word(get, WORKER.slot + k, L.S_TICK) for k in range(workers)), default=0)


def reason_text(code: int) -> str | None:
    """What a process' ``S_ERROR`` says, in words; None when it is fine."""
    if not code:
        return None
    return L.REASON_NAMES.get(code, f"reason {code}")


def sink_troubles(get: Get) -> list[str]:
    """Why sinks take nothing, a sentence for each that says so."""
    found = []
    for role, sink in sinks(get):
        if reason := reason_text(slot_word(get, role.slot, L.S_ERROR)):
            found.append(f"{sink.title}: {reason}")
    return found
