"""``corec.attach``: a running instance, read from its memory and steered through its socket.

The world's segments are mapped read-only; columns are read between two ticks, the commit words
looked at before and after (``corec.world.columns``). A world that ticks too fast for that is held
for the copy (``corec.nucleus.lease``): a reader costs the ticks one copy, however large the frame
is. Each call looks first whether the instance still runs, and maps anew what a restart has made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, SupportsIndex

from corec import layout as L
from corec.control import console
from corec.control.births import Births
from corec.control.client import Client
from corec.control.discover import (
    Instance,
    NoInstance,
    SeveralInstances,
    find_instance,
    read_instance,
)
from corec.control.events import last_events
from corec.control.fallback import status_of
from corec.control.patient import ask_again
from corec.control.protocol import ControlError
from corec.control.setting import change_settings, grow, tick_told
from corec.control.waits import DIGEST_SECONDS, HELD_SECONDS, SNAPSHOT_SECONDS
from corec.control.writing import ask_write
from corec.plan import Plan
from corec.process.roles import committed_tick
from corec.process.runtime import word_to_float
from corec.view.alert import Alerts
from corec.view.alerts import Reader
from corec.view.mapped import Mapped
from corec.view.reading import (
    Columns,
    Digest,
    Part,
    Readable,
    Replaced,
    Words,
    seconds_of,
    whole,
)
from corec.view.settings import Asked, changes_of
from corec.view.writing import asked_to_write
from corec.world.ancestry import Told
from corec.world.columns import Apart, column_bytes, read_columns
from corec.world.edits import checked
from corec.world.writes import packed

TRY_SECONDS: Final = 0.03
"""So long a gap between two ticks is waited for, before the world is held."""
LOOK_SECONDS: Final = 0.0003
COPIED_PER_SECOND: Final = 2e9
"""Bytes of columns."""
GAP_TIMES_MAX: Final = 20.0
"""A copy that a gap between two ticks would hold so often is not worth waiting for the next one."""
HOLD_SECONDS: Final = (0.25, 1.0)


def waits_for_a_gap(seconds: float, hz: float) -> bool:
    """Whether a copy that takes ``seconds`` fits between two of ``hz`` ticks a second, but would
    often meet one: it had to be made again, and would slow that tick down."""
    return hz > 0.0 and seconds < 1.0 / hz < GAP_TIMES_MAX * seconds


def attach(name: str | None = None, *, config: str | Path | None = None) -> Attached:
    """The running instance with this ``instance_id`` (or of this ``config``); without any, the only
    one.

    Raises:
        NoInstance: none runs that fits. SeveralInstances: more than one does. (LookupErrors.)
        Unreachable: it has not made its world yet, or is run by another version.
    """
    try:
        found = find_instance(name, None if config is None else Path(config))
    except SeveralInstances as error:
        names = ", ".join(f"{one.instance_id} ({one.folder})" for one in error.found)
        raise SeveralInstances(
            error.found, f"several instances are running: {names}; name one: corec.attach('ID')"
        ) from None
    return Attached(found)


def _behind_a_tick(mapped: Mapped, seconds: float) -> None:
    """Wait for the next tick to be over, if ``waits_for_a_gap`` with a copy of ``seconds``."""
    hz = word_to_float(mapped.get(L.C_TICK_HZ))
    if mapped.get(L.C_PAUSED) or not waits_for_a_gap(seconds, hz):
        return
    tick, deadline = committed_tick(mapped.get), time.monotonic() + 2.0 / hz
    while committed_tick(mapped.get) == tick and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _holds(mapped: Mapped) -> tuple[int, int]:
    """How many holds were asked for, and how many are over: within one, somebody may write."""
    return mapped.get(L.C_HOLD_REQUEST), mapped.get(L.C_HOLD_RELEASE)


class Attached(Readable):
    """A running instance; made by ``corec.attach``."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._memory: Mapped | None = Mapped(instance.path)

    @property
    def instance_id(self) -> str:
        """Its name."""
        return self._instance.instance_id

    def _running(self) -> Instance:
        """The instance as it is now. Raises NoInstance, ValueError after ``close``."""
        if self._memory is None:
            raise ValueError(f"this attachment to {self.instance_id} is closed")
        found = read_instance(self._instance.path)
        if found is None:
            raise NoInstance(f"{self.instance_id} does not run any more (or is just starting)")
        self._instance = found
        return found

    def _mapped(self) -> Mapped:
        """Its memory as it is now. Raises NoInstance, Unreachable."""
        folder = self._running().path
        assert self._memory is not None
        if not self._memory.is_still(folder):
            self._memory = Mapped(folder)  # what was mapped goes with the last who reads it
        return self._memory

    def _world(self) -> tuple[Plan, Words]:
        mapped = self._mapped()
        return mapped.plan, mapped.words

    def _read(self, plan: Plan, parts: Sequence[Part]) -> list[Columns]:
        """Out of one mapping from the first look to the last, whatever is mapped meanwhile."""
        mapped = self._mapped()
        if mapped.plan is not plan:
            raise Replaced
        words = mapped.words  # they stay, also when another thread lets go of them

        def copied() -> list[Columns]:
            found = [read_columns(plan, words, p.swarm, p.names, p.blocks) for p in parts]
            if any(tick != found[0][0] for tick, _ in found):
                raise Apart
            return found

        size = sum(column_bytes(plan, p.swarm, p.names, p.blocks) for p in parts)
        _behind_a_tick(mapped, size / COPIED_PER_SECOND)
        deadline = time.monotonic() + TRY_SECONDS
        while time.monotonic() < deadline:
            held = _holds(mapped)
            with suppress(Apart):
                found = copied()
                if held == (held[0], held[0]) == _holds(mapped):
                    return found
            time.sleep(LOOK_SECONDS)
        for seconds in HOLD_SECONDS:
            with suppress(Apart):
                still, found = self._while_held(seconds, mapped, copied)
                if still:
                    return found
        raise TimeoutError(
            f"{self.instance_id}: the columns could not be copied within {HOLD_SECONDS[-1]:g} s, "
            "for which the world was held; ask for fewer columns or ids"
        )

    def _while_held(
        self, seconds: float, mapped: Mapped, read: Callable[[], list[Columns]]
    ) -> tuple[bool, list[Columns]]:
        """What ``read`` gives of ``mapped`` while the world is held, and whether it was so to the
        end, ``seconds`` at most. Raises Apart, Replaced: another memory is held."""
        with Client(Path(self._running().socket)) as client:
            number = client.ask("hold", {"seconds": seconds}, HELD_SECONDS)["hold"]
            try:
                if self._mapped() is not mapped:
                    raise Replaced
                found = read()
            except BaseException:
                client.ask("release", {"hold": number})
                raise
            return bool(client.ask("release", {"hold": number})["released"]), found

    @property
    def _plan_shown(self) -> Plan | None:
        return None if self._memory is None else self._memory.plan

    @property
    def ticks(self) -> int:
        """The number of the last tick that all of the world has run."""
        return committed_tick(self._mapped().get)

    def status(self) -> dict[str, Any]:
        """What ``corec-ctl status --json`` shows."""
        return status_of(self._running())

    def digest(self) -> Digest:
        """The hash of all entities' state, and the ``tick`` it is of; the ticks go on meanwhile.

        Raises:
            ControlError, Unreachable: the instance stops, or has no room for the copy.
        """
        found = ask_again(self._running(), "digest", DIGEST_SECONDS)
        return Digest(found["digest"], int(found["tick"]))

    def events(
        self, tipo: str | None = None, *, since: int = 0, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """The last events in the table ``eventos``, oldest first, each with its timestamp.

        Args:
            tipo: of this kind only, such as ``repair``.
            since: from this tick on.
            limit: so many at most.

        Raises:
            AskFailed: the database can't be reached, or what it answered.
        """
        first, most = whole("since", since), whole("limit", limit, least=0)
        return last_events(self._running(), tipo, first, most)

    def alerts(
        self,
        group: str,
        *,
        consumer: str = "python",
        timeout: float | None = None,
        from_now: bool = False,
    ) -> Alerts:
        """The alerts of processors with ``alerts=True``, one after the other, as they come.

        Each is handed over to a ``group`` at least once: an entry of the stream is acknowledged
        when the loop asks for what follows it, and what was not is handed over again when a program
        with the same ``group`` and ``consumer`` begins anew. A server that is away is waited for.

        Args:
            group: a name; each group gets all alerts. Its first reader makes it.
            consumer: a name in the group, for programs that share its alerts among them.
            timeout: end when none came for so many seconds; None goes on for ever (``list`` of it
                does not end), 0 takes what is there.
            from_now: a group that is made now begins with what comes from now on; else with the
                oldest alert that the stream still has.

        Raises:
            NoInstance: it has stopped. AskFailed: what its server refused.
        """
        reader = Reader(console.streams, self._running, group, consumer, not from_now)
        return reader.read(None if timeout is None else seconds_of("timeout", timeout))

    def evolution(self) -> list[dict[str, Any]]:
        """How swarms with genes evolve, as ``corec-ctl evolution``."""
        found: list[dict[str, Any]] = self._ask("evolution")["swarms"]
        return found

    @contextmanager
    def _ancestry(self) -> Iterator[Told]:
        instance = self._running()
        with console.database(instance) as connection:
            yield Births(connection, instance.instance_id)

    def errors(self) -> list[dict[str, Any]]:
        """What processors raised, as ``corec-ctl errors --json``, the latest kind first."""
        found: list[dict[str, Any]] = self._ask("errors")["errors"]
        return found

    def set(self, path: Asked = None, value: Any = None, /, **named: Any) -> int:
        """Change a setting of the running instance, as ``corec-ctl set``, in any form that ``set``
        of ``corec.World`` takes; several count after one tick, ``carga`` and ``tick_hz`` among them
        right behind the others. Returns the tick after which all do, with a warning if a lost
        machine would lose it.

        Raises:
            ValueError: it can't be changed live, or the value is impossible. ControlError,
            Unreachable: the instance stops, or does not answer.
        """
        plan = self._mapped().plan
        return change_settings(self._running(), changes_of(plan, path, value, named))

    def write(
        self, swarm: str | Mapping[str, Any] | None = None,
        which: Iterable[int] | Mapping[str, Any] | None = None, /,
        ids: Iterable[int] | None = None, **fields: Any,
    ) -> int:  # fmt: skip
        """Write state between two ticks, in any form that ``write`` of ``corec.World`` takes. It is
        seen at once, and part of the world: in its journal, so that a restore and a replay do it
        again after the same tick. Returns the tick after which it counts.

        Raises:
            ValueError: there is no such swarm, field or id, or a value does not fit its field.
            ControlError, Unreachable: there is no room, the instance stops, or does not answer.
        """
        name, chosen, values = asked_to_write(swarm, which, ids, fields)
        edit = checked(self._mapped().plan, name, chosen, values)
        return tick_told(ask_write(self._running(), packed(edit)))

    def grow(self, swarm: str, more: SupportsIndex) -> int:
        """Give a bloque so many more entities, as ``corec-ctl grow``: their ids come after all that
        exist. Returns the tick after which they are there.

        Raises:
            ValueError: there is no such bloque, or its entities can't become more. ControlError,
            Unreachable: there is no room, the instance stops, or does not answer.
        """
        return grow(self._running(), swarm, whole("more", more))

    def snapshot(self, timeout: float = SNAPSHOT_SECONDS) -> Path:
        """Make a checkpoint, as ``corec-ctl snapshot``; its file, which ``corec.World(config,
        checkpoint=…)`` begins at. Raises ControlError: it can't be made, or not in time;
        ValueError: ``timeout`` is none."""
        seconds = seconds_of("timeout", timeout)
        found = ask_again(
            self._running(), "snapshot", seconds + HELD_SECONDS, timeout_seconds=seconds
        )
        return Path(found["path"])

    @property
    def config_path(self) -> Path | None:
        """The file that the instance was started with."""
        return None if self._instance.config_path is None else Path(self._instance.config_path)

    def pause(self) -> int:
        """No further tick begins; returns the last one."""
        return int(self._ask("pause")["tick"])

    def resume(self) -> int:
        """Go on; returns the last tick before."""
        return int(self._ask("resume")["tick"])

    def step(self, ticks: SupportsIndex = 1) -> int:
        """Run so many ticks while paused; returns the last one. Raises ControlError: not paused;
        ValueError: ``ticks`` is no number of ticks."""
        return int(self._ask("step", ticks=whole("ticks", ticks, least=1))["tick"])

    def _ask(self, op: str, **args: Any) -> Any:
        with Client(Path(self._running().socket)) as client:
            try:
                return client.ask(op, args, HELD_SECONDS)
            except ControlError as error:
                if error.code != "bad_request":
                    raise
                raise ValueError(str(error)) from None

    def close(self) -> None:
        """Give the mapping up; the instance goes on. Closing twice changes nothing."""
        mapped, self._memory = self._memory, None
        if mapped is not None:
            mapped.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._memory is None:
            return f"<{self.instance_id}: closed>"
        tick, entities = committed_tick(self._memory.get), self._memory.plan.entidades
        return f"<{self.instance_id}: {entities:,} entities, tick {tick}>"
