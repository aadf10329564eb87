"""``carga`` of the living world: changed between two ticks, and told of with the tick it counts in.

So a replay follows: who sets the same values after the same ticks has the same world. The order of
the stores, and what a kill leaves, is in ``corec.world.settings``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from corec import layout as L
from corec.log import get_logger
from corec.nucleus.hold import Holder, HoldTimeout
from corec.nucleus.journaled import durable, write_down
from corec.nucleus.setting import OF_CARGA
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime, float_to_word, word_to_float
from corec.world.settings import EJECUCION, OPERATOR, carga_since
from shm.killpoint import kill_point, register

log = get_logger(__name__)
Once = Callable[[int, Mapping[str, Any], int], None]
_BY: Final = {EJECUCION: "ejecucion"}
register("carga.asked")
register("carga.counts")


class Carga:
    """Changes of carga by one nucleus; ``once`` is its ``Setter``'s, which looks at a
    predecessor's events first."""

    def __init__(self, rt: Runtime, holder: Holder, once: Once) -> None:
        self.rt, self.holder, self._once = rt, holder, once
        self._one = asyncio.Lock()
        if rt.get(L.C_CARGA_BEFORE) == rt.get(L.C_CARGA):
            rt.set(L.C_CARGA_TOLD, rt.get(L.C_CARGA_SINCE))  # a predecessor did not come to it
        self._tell()

    @property
    def value(self) -> float:
        """What counts."""
        return word_to_float(self.rt.get(L.C_CARGA))

    @property
    def asked(self) -> float:
        """What an operator or the configuration wants: more than counts while it is lowered."""
        return word_to_float(self.rt.get(L.C_CARGA_ASKED)) or self.value

    async def ask(self, value: float) -> dict[str, Any]:
        """An operator's wish; the tick after which it counts. Raises HoldTimeout: it does not."""
        tick, asked = await self._change(value, lambda: value, OPERATOR)
        return {"after_tick": tick, **await durable(self.rt, asked)}

    async def adjust(self, value: float) -> None:
        """The module's, for the time being: what was asked for is kept."""
        try:
            await self._change(value, lambda: self.asked, EJECUCION)
        except HoldTimeout as error:
            log.info("carga stays as it is", wanted=value, reason=str(error))

    async def _change(
        self, value: float, asked: Callable[[], float], by: int
    ) -> tuple[int, int]:  # fmt: skip
        rt = self.rt
        async with self._one:
            async with self.holder.held():
                # what the journal says counts first, in a world that runs a stretch again
                tick = max(committed_tick(rt.get), rt.get(L.C_FOLLOW))
                before, wanted = self.value, asked()
                if by == EJECUCION:
                    value = min(value, wanted)  # an operator was faster
                rt.set(L.C_CARGA_BEFORE, float_to_word(before))
                rt.set(L.C_CARGA_SINCE, carga_since(tick + 1, by))
                rt.set(L.C_CARGA_ASKED, float_to_word(wanted))
                kill_point("carga.asked")
                rt.set(L.C_CARGA, float_to_word(value))
                kill_point("carga.counts")
                if value == wanted:
                    rt.set(L.C_CARGA_ASKED, 0)
                number = write_down(rt)
            self._tell()
        log.info("set", path="carga", value=value, before=before, after_tick=tick,
                 by=_BY.get(by, "operator"))  # fmt: skip
        return tick, number

    def _tell(self) -> None:
        since = self.rt.get(L.C_CARGA_SINCE)
        if since == self.rt.get(L.C_CARGA_TOLD):
            return
        tick, by = (since >> 2) - 1, since & 3
        detail = {"path": "carga", "value": self.value, "after_tick": tick,
                  "before": word_to_float(self.rt.get(L.C_CARGA_BEFORE))}  # fmt: skip
        if by in _BY:
            detail["by"] = _BY[by]
        self._once(OF_CARGA | since, detail, tick)
        self.rt.set(L.C_CARGA_TOLD, since)
