"""``ModuloEjecucion``: in an overload fewer entities run in a tick, until there is time again.

``carga`` is lowered when ticks have come late for seconds on end *and* computing is what takes the
time: a world whose workers wait for a sink, were killed or share their cores with somebody else
would gain nothing by running fewer entities. It comes back step by step, each step only when what
it costs now says that the next one fits. So it neither swings nor touches a world that keeps pace.

Each change is a setting with its tick (``corec.nucleus.carga``): the same world is had again by
setting the same values after the same ticks. The module remembers nothing that the world needs:
what carga comes back to lies in the world, and counts when the module is started anew.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

from corec import layout as L
from corec.control.status import as_float
from corec.modules.base import ModuloBase
from corec.process.roles import committed_tick

LOOK_SECONDS: Final = 1.0
LATE_SHARE: Final = 0.2
"""So many of the ticks that were due came late: an overload, if …"""
DEMAND: Final = 0.5
"""… computing takes so much of the time that a tick has."""
STOOD_STILL: Final = 4.0
"""Who computed for less than one in so many seconds stood still."""
WAITED_SHARE: Final = 0.1
OVERLOADED_SECONDS: Final = 5.0
"""So long on end before carga is lowered."""
AIM: Final = 0.75
"""What computing is to take of a tick's time."""
STEP_DOWN_MIN, STEP_DOWN_MAX = 0.5, 0.9
STEP_UP: Final = 1.25
CALM_SECONDS: Final = 10.0
"""So long without a late tick before carga is raised; twice as long after each relapse."""
CALM_SECONDS_MAX: Final = 640.0
RELAPSE_SECONDS: Final = 60.0
LEAST_SHARE: Final = 0.1
"""Of what was asked for: carga is not lowered below that."""


class Look(NamedTuple):
    """What happened since the last look."""

    seconds: float
    hz: float
    ticks: int
    late: int
    """Deadlines that were missed."""
    busy_seconds: float
    """CPU time of the busiest worker."""
    waited: bool
    """A worker waited for a sink, and not for a moment only."""

    @property
    def demand(self) -> float:
        """Share of a tick's time that computing takes; above 1: it does not fit."""
        return self.busy_seconds * self.hz / self.ticks

    @property
    def computed_seconds(self) -> float:
        """How long it counts as an overload: who stood still most of the time (stopped, held,
        killed) was not overloaded for as long as that, though every tick of it was late."""
        return min(self.seconds, max(LOOK_SECONDS, STOOD_STILL * self.busy_seconds))

    @property
    def overloaded(self) -> bool:
        """Ticks are late, and computing is why."""
        late = self.late >= LATE_SHARE * self.seconds * self.hz
        return late and not self.waited and self.demand >= DEMAND


class Balance:
    """Decides about carga from looks alone; does nothing."""

    def __init__(self) -> None:
        self._over = self._calm = 0.0
        self._wait, self._since_raise = CALM_SECONDS, RELAPSE_SECONDS

    def rest(self) -> None:
        """The world stands still or goes flat out: nothing is late."""
        self._over = self._calm = 0.0

    def decide(self, look: Look, carga: float, asked: float) -> float | None:
        """Another carga, or None: it is as it should be. ``asked``: what it may rise to."""
        if carga > asked:
            return asked
        self._since_raise += look.seconds
        if look.overloaded:
            self._over, self._calm = self._over + look.computed_seconds, 0.0
            return self._lowered(look, carga, asked) if self._over >= OVERLOADED_SECONDS else None
        self._over = 0.0
        if carga == asked:
            return None
        wanted = min(asked, _rounded(carga * STEP_UP))
        fits = look.late == 0 and look.demand * wanted / carga <= AIM
        self._calm = self._calm + look.seconds if fits else 0.0
        if self._calm < self._wait:
            return None
        self._calm = self._since_raise = 0.0
        return wanted

    def _lowered(self, look: Look, carga: float, asked: float) -> float | None:
        self._over = 0.0
        if self._since_raise < RELAPSE_SECONDS:
            self._wait = min(2.0 * self._wait, CALM_SECONDS_MAX)
        elif carga == asked:
            self._wait = CALM_SECONDS
        due = max(look.demand, look.seconds * look.hz / look.ticks)
        share = min(max(AIM / due, STEP_DOWN_MIN), STEP_DOWN_MAX)
        wanted = max(_rounded(carga * share), _rounded(LEAST_SHARE * asked))
        return wanted if wanted < carga else None


def _rounded(carga: float) -> float:
    """To three digits, which is how people read it."""
    return float(f"{carga:.3g}")


class ModuloEjecucion(ModuloBase):
    """Lowers and restores ``carga``; events ``setting_changed`` with ``by`` ``ejecucion``."""

    nombre = "ejecucion"

    async def inicializar(self) -> None:
        self._balance = Balance()
        self._before = self._words()
        # a Celu entity runs when something arrives for it, whatever carga is
        self._of_use = any(s.processor.kind == "micro" for s in self.nucleus.rt.plan.swarms)

    async def ejecutar(self) -> None:
        while self._of_use:
            await asyncio.sleep(LOOK_SECONDS)
            look = self.look()
            carga = self.nucleus.commands.carga
            wanted = look and self._balance.decide(look, carga.value, carga.asked)
            if wanted:
                await carga.adjust(wanted)
                self._before = self._words()  # the hold made a tick late

    def look(self) -> Look | None:
        """Since the last one that was one; None: there is nothing to be said."""
        get = self.nucleus.rt.get
        hz = as_float(get(L.C_TICK_HZ))
        words = self._words()
        still = get(L.C_STOP) or get(L.C_PAUSED) or get(L.C_STATE) == L.STATE_STARTING
        still = still or words.tick < get(L.C_FOLLOW)  # it runs as it ran
        if still or hz <= 0.0 or hz != self._before.hz or words.slots != self._before.slots:
            self._balance.rest()
            self._before = words
            return None
        ticks = words.tick - self._before.tick
        if ticks <= 0:
            return None  # a tick takes longer than that, or there are none to run
        before, self._before = self._before, words
        seconds = words.now - before.now
        busy = max(a - b for a, b in zip(words.busy, before.busy, strict=True)) / 1e9
        waited = max(a - b for a, b in zip(words.waited, before.waited, strict=True)) / 1e9
        return Look(
            seconds, hz, ticks, words.late - before.late, busy,
            words.stuck or before.stuck or waited >= WAITED_SHARE * seconds,
        )  # fmt: skip

    def _words(self) -> _Words:
        get = self.nucleus.rt.get
        slots = [L.slot_base(L.SLOT_WORKER0 + k) for k in range(get(L.C_WORKERS))]
        return _Words(
            time.monotonic(), as_float(get(L.C_TICK_HZ)), committed_tick(get), get(L.C_OVERRUNS),
            [get(slot + L.S_BUSY_NS) for slot in slots],
            [get(slot + L.S_WAIT_SINK_NS) for slot in slots],
            any(get(slot + L.S_STATE) == L.PROC_WAITING_SINK for slot in slots), slots,
        )  # fmt: skip


class _Words(NamedTuple):
    now: float
    hz: float
    tick: int
    late: int
    busy: list[int]
    waited: list[int]
    stuck: bool
    slots: list[int]


class ModuloCargaDevuelta(ModuloBase):
    """In the place of ``ModuloEjecucion`` when it is switched off: what it lowered comes back."""

    nombre = "carga devuelta"

    async def ejecutar(self) -> None:
        carga = self.nucleus.commands.carga
        if carga.value != carga.asked:
            await carga.adjust(carga.asked)
