"""When an alert is raised, goes on, and is over. Pure: messages and ticks in, notices out.

The rule (docs/tasks.md): an entity has at most one alert. The first message raises it. Further
messages belong to it while no more than ``clear_after`` ticks lie between two of them. It is
cleared at ``last + clear_after`` once the world is past that tick. So what is raised and cleared,
and when, depends on the ticks of the messages alone, however late they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from corec.digits import whole_number
from corec.notices import Notice

RAISED: Final = "raised"
REPEATED: Final = "repeated"
CLEARED: Final = "cleared"
ACKNOWLEDGED: Final = "acknowledged"
STATES: Final = (RAISED, ACKNOWLEDGED, CLEARED)
"""Of an alert in the table ``alertas``."""


@dataclass(frozen=True)
class Alert:
    """One alert of one entity."""

    entity: int
    first: int
    """The tick that raised it."""
    last: int
    """The latest tick with a message."""
    count: int
    canal: int
    procesador: str
    valor: float | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    raised_ms: int = 0
    """When its first message went into the stream, ms since 1970."""
    acknowledged: str | None = None
    """Who did, once somebody has."""
    cleared: int | None = None
    """The tick in which it was over."""

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.cleared is not None:
            return CLEARED
        return RAISED if self.acknowledged is None else ACKNOWLEDGED


@dataclass(frozen=True)
class Message:
    """What an entity emitted."""

    tick: int
    entity: int
    canal: int
    procesador: str
    valor: float | None
    fields: Mapping[str, Any]
    ms: int = 0


class Life:
    """The alerts of one world. ``changed`` gathers what the next transaction has to write."""

    def __init__(
        self, epoch: int, clear_after: int, still_open: Mapping[int, Alert], tick: int = 0
    ) -> None:
        """``still_open`` by entity; ``tick``: every message of a tick before it is known."""
        self.epoch, self.clear_after, self.tick = epoch, clear_after, tick
        self.open: dict[int, Alert] = dict(still_open)
        self.changed: dict[tuple[int, int], Alert] = {}
        self.notices: list[Notice] = []
        self.raised = 0
        self.repeats = False
        """Whether somebody is to be told of each further tick with a message."""

    def alert_id(self, alert: Alert) -> str:
        """The same for ever: world, tick, entity."""
        return f"{self.epoch:016x}-{alert.first}-{alert.entity}"

    def message(self, one: Message) -> None:
        """A message, in the order of ticks; one of a tick that has ``passed`` is known already."""
        if one.tick < self.tick:
            return
        found = self.open.get(one.entity)
        if found is not None and found.last >= one.tick:
            return  # the same tick again: a second message, or the stream was read anew
        if found is not None and one.tick - found.last > self.clear_after:
            self._clear(found)
            found = None
        if found is None:
            alert = Alert(one.entity, one.tick, one.tick, 1, one.canal, one.procesador, one.valor,
                          one.fields, one.ms)  # fmt: skip
            self.raised += 1
            self._keep(alert, RAISED)
            return
        self._keep(
            replace(found, last=one.tick, count=found.count + 1, valor=one.valor,
                    fields=one.fields),
            REPEATED if self.repeats else None,
        )  # fmt: skip

    def passed(self, tick: int) -> None:
        """All messages of ticks up to ``tick`` were seen. What was read says nothing of that: who
        else writes into the stream may name any tick."""
        self.tick = max(self.tick, tick)
        over = [a for a in self.open.values() if tick - a.last > self.clear_after]
        for alert in sorted(over, key=lambda a: (a.last, a.entity)):
            self._clear(alert)

    def acknowledge(self, alert_id: str, who: str) -> bool:
        """Somebody takes care of it; false when there is no such open alert, or it was before."""
        entity = whole_number(alert_id.rpartition("-")[2])
        found = None if entity is None else self.open.get(entity)
        if found is None or found.acknowledged is not None or self.alert_id(found) != alert_id:
            return False
        self._keep(replace(found, acknowledged=who), ACKNOWLEDGED)
        return True

    def written(self) -> None:
        """What was gathered is in the table."""
        self.changed.clear()
        self.notices.clear()

    def _clear(self, alert: Alert) -> None:
        del self.open[alert.entity]
        self._keep(replace(alert, cleared=alert.last + self.clear_after), CLEARED)

    def _keep(self, alert: Alert, event: str | None = None) -> None:
        if alert.cleared is None:
            self.open[alert.entity] = alert
        self.changed[alert.entity, alert.first] = alert
        if event is None:
            return
        tick = alert.first if event == RAISED else alert.cleared or alert.last
        # each repeat has a tick of its own in its id, and so a key of its own
        name = self.alert_id(replace(alert, first=tick) if event == REPEATED else alert)
        self.notices.append(
            Notice(name, event, tick, alert.entity, alert.canal, alert.procesador,
                   alert.valor, alert.fields, alert.count)
        )  # fmt: skip
