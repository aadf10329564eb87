"""A stop: stage by stage, never for long, and always with a world that can be gone on with.

    ticks    the workers leave at a tick boundary, input ends
    sinks    persister and broker empty the lanes and leave; so do the tasks, whose rest waits in
             their stream
    nucleus  the digest and the checkpoint

A stage ends early when it has stood still for ``STILL_SECONDS`` (a server that is away, refuses or
hangs, a disk that is full): what waits for it does not come. Still means that no lane was emptied
by a byte, nothing of the spool was committed, no file of columns made and nobody who was waited for
left; a sink that is slow and works has ``STAGE_SECONDS``. What is not delivered then stays in the
lanes, the world in memory with it, and the next start delivers it; each sink knows how far it came,
so nothing is lost and nothing comes twice. The checkpoint is made all the same, for the case that
the machine goes before that start.

The longest stop: ``STAGE_SECONDS`` for ticks and sinks each, and for the checkpoint what its bytes
take on a slow disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from corec import layout as L
from corec.log import get_logger
from corec.process.roles import ROLES, counted, sink_troubles, sinks
from corec.process.runtime import Runtime
from corec.supervisor.processes import Group, Member
from corec.world.collected import parts_in

log = get_logger("corec.supervisor")

STILL_SECONDS: Final = 8.0
STAGE_SECONDS: Final = 60.0
SLOW_DISK_BYTES_PER_SECOND: Final = 20e6
NUCLEUS_DEATHS_MAX: Final = 3
"""A checkpoint that failed so often does not succeed now."""


@dataclass(frozen=True)
class Stage:
    """One part of a stop."""

    stop: int

    @property
    def roles(self) -> tuple[str, ...]:
        """Who leaves for good in it."""
        return tuple(role.name for role in ROLES if role.leaves == self.stop)


TICKS: Final = Stage(L.STOP_TICKS)
SINKS: Final = Stage(L.STOP_SINKS)
NUCLEUS: Final = Stage(L.STOP_NUCLEUS)


@dataclass
class Drained:
    """How a stop went."""

    at_boundary: bool = False
    checkpoint: bool = False
    waiting_bytes: dict[str, int] = field(default_factory=dict)
    """By sink, what is in the lanes still: lost with the world in memory."""
    kept_bytes: dict[str, int] = field(default_factory=dict)
    """By sink, what is on disk, and is delivered whatever world the next start begins with."""

    @property
    def delivered(self) -> bool:
        """Whether the lanes are empty, so that the world need not stay in memory."""
        return not any(self.waiting_bytes.values())

    @property
    def undelivered_bytes(self) -> dict[str, int]:
        """By sink, what it has not got, wherever that waits."""
        return {
            key: waiting + self.kept_bytes.get(key, 0)
            for key, waiting in self.waiting_bytes.items()
        }


class Drain:
    """The stop of one group. ``look`` reaps and restarts, and says nothing; see ``run``."""

    def __init__(self, rt: Runtime, group: Group) -> None:
        self.rt, self.group = rt, group

    def run(self, turn: Callable[[Callable[[Member, int], bool]], bool]) -> Drained | None:
        """Stop; None when ``turn`` says that it is to be cut short.

        ``turn(finished)`` is one turn of the watch loop, ``finished(member, code)`` what it asks of
        every death: whether that member has left for good.
        """
        found = Drained()
        self.group.rest()
        for stage in (TICKS, SINKS, NUCLEUS):
            if stage is SINKS:
                found.at_boundary = self._all_left(TICKS)
                if not found.at_boundary:
                    break
            if not self._stage(stage, turn):
                return None
        found.waiting_bytes, found.kept_bytes = self._undelivered(), self._kept()
        found.checkpoint = self.rt.get(L.C_DIGEST_VALID) != 0
        self._tell(found)
        return found

    def _stage(self, stage: Stage, turn: Callable[[Callable[[Member, int], bool]], bool]) -> bool:
        """One stage to its end, or until it stands still; false: cut short."""
        self.rt.set(L.C_STOP, stage.stop)
        for bell in self.rt.doorbells:
            bell.wake()
        deaths = 0

        def finished(member: Member, code: int) -> bool:
            nonlocal deaths
            if stage is NUCLEUS and member.role in stage.roles and code != 0:
                deaths += 1
            return code == 0 and member.role in self._leaving(stage)

        deadline = time.monotonic() + self._seconds(stage)
        moved, moved_at = self._moved(stage), time.monotonic()
        while not self._all_left(stage):
            if not turn(finished):
                return False
            now = time.monotonic()
            if (latest := self._moved(stage)) != moved or not self._may_be_stuck(stage):
                moved, moved_at = latest, now
            if now - moved_at > STILL_SECONDS or now > deadline or deaths >= NUCLEUS_DEATHS_MAX:
                self._give_up(stage)
                return True
        return True

    def _leaving(self, stage: Stage) -> set[str]:
        """Who may leave for good by now."""
        return {role.name for role in ROLES if role.leaves <= stage.stop}

    def _all_left(self, stage: Stage) -> bool:
        return all(m.finished for m in self.group.members if m.role in stage.roles)

    def _seconds(self, stage: Stage) -> float:
        if stage is NUCLEUS:
            return STAGE_SECONDS + self.rt.plan.world_bytes / SLOW_DISK_BYTES_PER_SECOND
        return STAGE_SECONDS

    def _moved(self, stage: Stage) -> list[int]:
        """Figures that change while the stage gets on."""
        rt = self.rt
        found = [lane.tail for lanes in rt.lanes_by_kind().values() for lane in lanes]
        found += [int(m.finished) for m in self.group.members]
        found.append(self._parts())  # a collector on a slow disk
        # what the persister writes out of the spool moves no lane
        found += [counted(rt.get, name) for _role, sink in sinks(rt.get) for name in sink.moves]
        if stage is TICKS:
            found += [rt.slot(m.slot).get(L.S_TICK) for m in self.group.members]
        return found

    def _parts(self) -> int:
        """How many parts of columns wait; without a descriptor to look, the other figures say
        whether the stage gets on."""
        try:
            return len(parts_in(self.rt.folder))
        except OSError:
            return -1

    def _may_be_stuck(self, stage: Stage) -> bool:
        """Whether standing still says something: a tick that computes, and a checkpoint that is
        written, move no lane. One worker that waits is enough: the others wait for that one."""
        if stage is not TICKS:
            return stage is SINKS
        states = [
            self.rt.slot(m.slot).get(L.S_STATE)
            for m in self.group.members
            if m.role in stage.roles and not m.finished
        ]
        return any(state in (L.PROC_WAITING_SINK, L.PROC_PARKED) for state in states)

    def _give_up(self, stage: Stage) -> None:
        waiting = [m for m in self.group.members if m.role in stage.roles and not m.finished]
        log.error("the stop does not wait any longer", waiting_for=[m.name for m in waiting],
                  reason=self._reasons())  # fmt: skip
        if stage is SINKS:
            self.group.call_off(waiting)
            for member in waiting:
                member.finished = True

    def _reasons(self) -> str:
        return "; ".join(sink_troubles(self.rt.get)) or "no server says why"

    def _undelivered(self) -> dict[str, int]:
        lanes = self.rt.lanes_by_kind()
        return {
            sink.key: sum(lane.used for kind in sink.takes for lane in lanes[kind])
            for _role, sink in sinks(self.rt.get)
        }

    def _kept(self) -> dict[str, int]:
        get = self.rt.get
        return {sink.key: counted(get, sink.keeps) for _role, sink in sinks(get) if sink.keeps}

    def _tell(self, found: Drained) -> None:
        if not found.at_boundary:
            log.error("stopped within a tick: it could not be finished; the world stays in memory, "
                      "and the next start finishes it", folder=str(self.rt.folder))  # fmt: skip
        for sink, count in found.waiting_bytes.items():
            if count:
                log.error("not everything was delivered; it stays with the world in memory, and "
                          "the next start delivers it; a reboot before that loses it", sink=sink,
                          bytes=count, folder=str(self.rt.folder))  # fmt: skip
        if found.at_boundary and not found.checkpoint:
            log.error("no checkpoint was made; the world stays in memory",
                      folder=str(self.rt.folder))  # fmt: skip
