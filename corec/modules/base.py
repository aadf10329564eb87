"""``ModuloBase``: what the nucleus runs, and what a user's own module derives from.

The life of a module: ``inicializar`` once, ``ejecutar`` until it returns or is cancelled,
``detener`` once. A module lives on the nucleus' event loop: it must not block it (a long
computation belongs in ``asyncio.to_thread``). A module that raises is logged, becomes an event and
is started again after a pause that doubles up to a minute; the other modules do not notice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corec.nucleus.process import CoreCNucleus


class ModuloBase(ABC):
    """One module of the nucleus."""

    nombre: str = ""
    """Short name in logs; the class name when empty."""

    def __init__(self, nucleus: CoreCNucleus) -> None:
        self.nucleus = nucleus
        self.nombre = self.nombre or type(self).__name__

    async def inicializar(self) -> None:  # noqa: B027 - a module without preparation is fine
        """Prepare; called before ``ejecutar``, again after a failure."""

    @abstractmethod
    async def ejecutar(self) -> None:
        """Do the module's work; returning means the work is over."""

    async def detener(self) -> None:  # noqa: B027 - a module that holds nothing is fine
        """Let go of everything; called after ``ejecutar`` ended, whatever ended it."""
