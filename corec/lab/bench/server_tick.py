"""The tick inside a running instance, paused between samples so that it leaves others alone."""

from __future__ import annotations

from corec.lab.bench.check import verify
from corec.lab.bench.results import Check
from corec.lab.bench.rounds import Contender, Effort
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.world import sensors

SILENT = {"mu": -10.0}
"""Parameters of a sensor that never exceeds umbral (at least 0.1): no messages."""


class ServerTick:
    """One worker; ``sinks`` False: no rows and no messages, everything else as always."""

    def __init__(self, entidades: int, sinks: bool = False) -> None:
        self.entidades = entidades
        bloque = {} if sinks else {"parametros": SILENT}
        every = {} if sinks else {"persist": {"every_ticks": NEVER}}
        self.server = Server(sensors(entidades, bloque=bloque, **every))
        self._ticks = 0

    def __enter__(self) -> ServerTick:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    def sample(self, seconds: float) -> float:
        """Million updates per second of the CPU time that the worker spent in ticks."""
        if not self._ticks:
            self._ticks = max(1, round(seconds * 20 / max(self.server.step(20), 1e-4)))
        before = self.server.busy_seconds
        self.server.step(self._ticks)
        return self.entidades * self._ticks / (self.server.busy_seconds - before) / 1e6

    def contender(self, effort: Effort) -> Contender:
        """As a contender of a table of million updates per second and core."""
        note = f"{self.entidades:,} entities; per CPU second of the worker; no rows, no messages"
        return Contender(
            "CoreC, running server", lambda: self.sample(effort.sample_seconds), True, note
        )

    def checks(self) -> list[Check]:
        """Stop it; its digest, rows and messages against the reference."""
        return verify("running server", self.server)
