"""A module that fails twice, in each way there is, and then does its work."""

from __future__ import annotations

from typing import ClassVar

from corec.modules.base import ModuloBase


class Clumsy(ModuloBase):
    """Counts its lives."""

    lives: ClassVar[list[str]] = []

    async def inicializar(self) -> None:
        self.lives.append("begun")
        if len(self.lives) == 1:
            raise RuntimeError("not prepared")

    async def ejecutar(self) -> None:
        if len(self.lives) == 2:
            raise SystemError("half way")
        self.nucleus.events.emit("clumsy", {"lives": len(self.lives)})

    async def detener(self) -> None:
        raise RuntimeError("nor can it be stopped")
