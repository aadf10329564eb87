"""Wishes to change a living instance: more or fewer workers, another configuration, newer code.

A wish (a signal) waits its turn in a queue, and is a generator (``altering`` has most of them): it
yields while it waits for a child, the workers, a server. The watch loop takes a step of it at each
turn and meanwhile looks after everybody, so nothing an operator asks for can blind the supervisor,
and whatever fails in it ends the wish alone: ``step`` tells who asked, and ``Group.recover`` has
everybody wanted again.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from corec import layout as L
from corec import log as corec_log
from corec.command_line import text_of
from corec.config import Config, ConfigError
from corec.control.outcome import ChangeFile, shortened
from corec.embedded.errors import EmbeddedServerError
from corec.journal.past import Growth
from corec.log import get_logger
from corec.plan import Plan
from corec.process.backoff import Backoff
from corec.process.events import REASON
from corec.process.runtime import Runtime
from corec.supervisor import segments
from corec.supervisor.altering import Altering
from corec.supervisor.beside import Failed
from corec.supervisor.growing import CannotGrow
from corec.supervisor.processes import Group
from corec.supervisor.resting import Refused, Steps
from corec.supervisor.signals import MIGRATE, SET
from corec.supervisor.telling import answer, begun, raise_event
from corec.supervisor.upgrading import upgraded
from corec.supervisor.wishes import Wishes

log = get_logger("corec.supervisor")

GROW_AGAIN_SECONDS, GROW_SECONDS_MAX = 10.0, 600.0
UNASKED: Final = ("start", "reopen", "evening")
"""Changes that nobody waits for."""


class Hand(NamedTuple):
    """What of the supervisor the changes need and do not own."""

    stop_servers: Callable[[], Iterable[None]]
    keep_servers: Callable[[], None]
    become: Callable[[list[int], bool], None]
    """Exec the current code, with the signals that still wait and whether values of fields that are
    gone may go; returns never. Raises OSError."""
    answers: ChangeFile
    forgive: Callable[[], None]
    """Whoever waits for another try is tried now."""


class Changes:
    """The wishes of one instance, one after the other."""

    def __init__(
        self, config: Config, wishes: Wishes, rt: Runtime, group: Group, hand: Hand
    ) -> None:
        self.wishes, self.rt, self.group, self.hand = wishes, rt, group, hand
        self.altering = Altering(config, wishes, rt, group)
        self._waiting: deque[int] = deque()
        self._steps: Steps | None = None
        self._change = ""
        self._event = ""
        self._before, self._granted = 0, False
        self._grows: Growth | None = None
        self._grow_at = 0.0
        self._growing = Backoff(most_seconds=GROW_SECONDS_MAX, first_seconds=GROW_AGAIN_SECONDS)

    @property
    def config(self) -> Config:
        """What the processes have, as it is written."""
        return self.altering.config

    @property
    def busy(self) -> bool:
        """Whether a wish is being granted, or waits."""
        return self._steps is not None or bool(self._waiting)

    def ask(self, number: int) -> None:
        """A signal that changes the living instance."""
        self._waiting.append(number)

    def adopt(self, workers: int, grown: Plan | None) -> None:
        """An adopted world may come from another number of workers, or be one that is to have more
        entities: it finishes the tick it is in as it is, and changes over at the boundary."""
        if grown is not None:
            self.altering.lanes_for(workers)
            self._begin("start", "", self.altering.grown(grown, workers, self._done))
        elif workers != self.group.workers:
            self._begin("start", "trabajadores", self.altering.resized(workers, self._done))

    def grow_again(self) -> None:
        """Grow where the world grew when it ran these ticks for the first time, and what comes
        behind them: it has come there."""
        due = self.rt.growths
        come = due and not self._steps and segments.world_tick(self.rt) + 1 >= due[0].first_tick
        stops = self.rt.get(L.C_STATE) == L.STATE_DRAINING
        if not come or stops:
            return
        if first := due[0] is not self._grows:  # that it fails is told once
            self._grows, self._grow_at = due[0], 0.0
            self._growing.reset()
        if time.monotonic() >= self._grow_at:
            self._grow_at = time.monotonic() + self._growing.next_seconds()
            again = self.altering.grown(due[0].plan, self.group.workers, self._done)
            self._begin("start", "recarga" if first else "", again)

    def even_out(self) -> None:
        """Move blocks between workers, when one has computed much longer than the others; not
        while ticks wait, or somebody is to be started again, or is parked (a rest forgives)."""
        group = self.group
        if self.busy or group.sightings.held_up or not group.whole:
            return
        if (found := self.altering.evening.look()) is not None:
            self._begin("evening", "", self.altering.evened(found))

    def step(self) -> bool:
        """Go on until there is something to wait for; whether a wish has just ended."""
        if self._steps is None:
            if not self._waiting:
                return False
            self._begin_wish(self._waiting.popleft())
        assert self._steps is not None  # begun
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the instance
            self._steps = None
            self.group.recover()
            self._refuse(error)
            return True
        return False

    def abandon(self) -> None:
        """The instance stops: what was going on is called off, what waits is refused."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
            self.group.recover()
            if not self._granted:
                self._refuse(Refused("the instance stops"))
        while self._waiting:
            number = self._waiting.popleft()
            if number == signal.SIGUSR1:
                with contextlib.suppress(OSError):
                    corec_log.reopen()
                continue
            self._begin_wish(number)
            self._refuse(Refused("the instance stops"))
        self._steps = None

    def _begin(self, change: str, event: str, steps: Steps) -> None:
        self._change, self._event, self._steps = change, event, steps
        self._before, self._granted = self.group.workers, False
        if change not in UNASKED:
            begun(self.hand.answers, change)

    def _begin_wish(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._begin("reload", "recarga", self._reload())
        elif number == signal.SIGUSR2:
            self._begin("upgrade", "actualizacion", self._upgrade())
        elif number == signal.SIGUSR1:
            self._begin("reopen", "", self._reopen())
        elif number == MIGRATE:
            self._begin("upgrade", "actualizacion", self._upgrade(migrating=True))
        elif number == SET:
            self._begin("set", "", self.altering.settled(self._done))
        else:
            more = 1 if number == signal.SIGTTIN else -1
            wanted = self.group.workers + more
            self._begin("workers", "trabajadores", self.altering.resized(wanted, self._done))

    def _refuse(self, error: Exception) -> None:
        told = (Refused, Failed, CannotGrow, ConfigError, OSError, EmbeddedServerError)
        expected = isinstance(error, told)
        reason = text_of(error) if isinstance(error, OSError) else str(error) or repr(error)
        if not expected:
            log.error("a change failed for a reason that was not foreseen", exc_info=error)
            reason = repr(error)
        tell = log.info if expected and self._change == "evening" else log.error
        tell("refused; everything stays as it was", change=self._change, reason=shortened(reason))
        if self._change not in UNASKED:
            answer(self.hand.answers, self._change, reason)
        if self._event:
            same = {"antes": self._before, "ahora": self._before}
            about = same if self._event == "trabajadores" else {}
            raise_event(self.rt, self._event, {**about, "aceptada": False, REASON: reason})

    def _done(self, note: str | None, tick: int | None = None, **detalle: Any) -> None:
        self._granted = True
        if self._change not in UNASKED:
            answer(self.hand.answers, self._change, None, note, tick)
        if self._event and detalle:
            raise_event(self.rt, self._event, detalle)

    def _reload(self) -> Steps:
        self.group.forgive()
        self.hand.forgive()
        yield from self.altering.reloaded(self._done)

    def _reopen(self) -> Steps:
        corec_log.reopen()
        yield from ()

    def _upgrade(self, *, migrating: bool = False) -> Steps:
        """Become the current code; ``migrating``: values of fields that are gone may go."""
        try:
            yield from upgraded(
                self.rt, self.group, self.wishes, self.hand.stop_servers,
                lambda: self.hand.become(list(self._waiting), migrating), migrating=migrating,
            )  # fmt: skip
        finally:
            self.hand.keep_servers()
