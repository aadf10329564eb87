"""``ModuloBase``: what the nucleus runs, and what a user's own module derives from.

The life of a module: ``inicializar`` once, ``ejecutar`` until it returns or is cancelled,
``detener`` once. A module lives on the nucleus' event loop: it must not block it (a long
computation belongs in ``asyncio.to_thread``). A module that raises is logged, becomes an event and
is started again after a pause that doubles up to a minute; the other modules do not notice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from corec.control.status import About

if TYPE_CHECKING:  # they bring Numba along, and a start reads the modules' names before that
    from corec.plan import Plan
    from corec.process.runtime import Runtime
    from shm.lane import Lane


class Events(Protocol):
    """Where a module tells what happened (``corec.nucleus.events``)."""

    @property
    def lane(self) -> Lane: ...

    def emit(
        self, tipo: str, detalle: dict[str, Any], *, bloque: str | None = None,
        entidad: int | None = None, tick: int | None = None,
    ) -> bool: ...  # fmt: skip


class Totals(Protocol):
    """What all blocks add up to (``corec.nucleus.totals``)."""

    def read(self) -> dict[str, Any]: ...


class Views(Protocol):
    """What there is to be seen of the instance (``corec.nucleus.views``)."""

    @property
    def about(self) -> About: ...

    @property
    def totals(self) -> Totals: ...


class Carga(Protocol):
    """How much of the world runs in a tick (``corec.nucleus.carga``)."""

    @property
    def value(self) -> float: ...

    @property
    def asked(self) -> float: ...

    async def adjust(self, value: float) -> None: ...


class Settings(Protocol):
    """What was set (``corec.nucleus.setting``)."""

    def plan_now(self) -> Plan: ...


class Commands(Protocol):
    """What a module may change (``corec.nucleus.commands``), and what counts by now."""

    @property
    def carga(self) -> Carga: ...

    @property
    def settings(self) -> Settings: ...


class Nucleus(Protocol):
    """The nucleus as its modules see it (``corec.nucleus.process``)."""

    @property
    def rt(self) -> Runtime: ...

    @property
    def events(self) -> Events: ...

    @property
    def views(self) -> Views: ...

    @property
    def commands(self) -> Commands: ...


class ModuloBase(ABC):
    """One module of the nucleus."""

    nombre: str = ""
    """Short name in logs; the class name when empty."""

    def __init__(self, nucleus: Nucleus) -> None:
        self.nucleus = nucleus
        self.nombre = self.nombre or type(self).__name__

    async def inicializar(self) -> None:  # noqa: B027 - a module without preparation is fine
        """Prepare; called before ``ejecutar``, again after a failure."""

    @abstractmethod
    async def ejecutar(self) -> None:
        """Do the module's work; returning means the work is over."""

    async def detener(self) -> None:  # noqa: B027 - a module that holds nothing is fine
        """Let go of everything; called after ``ejecutar`` ended, whatever ended it."""
