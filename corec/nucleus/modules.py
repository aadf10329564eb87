"""The modules every nucleus runs: the control socket, the HTTP server, checkpoints."""

from __future__ import annotations

import asyncio
import socket

from corec.http.app import make_app
from corec.http.metrics import InstanceCollector, make_registry
from corec.http.server import HttpServer
from corec.log import get_logger
from corec.modules.base import ModuloBase, Nucleus
from corec.modules.ejecucion import ModuloCargaDevuelta
from corec.nucleus.checkpoints import Checkpointer, ModuloCheckpoint
from corec.nucleus.collector import Collector, ModuloCollect
from corec.nucleus.commands import Commands
from corec.nucleus.loadable import load_class
from corec.nucleus.socket_server import SocketServer
from corec.nucleus.views import Views

log = get_logger(__name__)


class ModuloControl(ModuloBase):
    """The control socket."""

    nombre = "control"

    def __init__(self, nucleus: Nucleus, commands: Commands) -> None:
        super().__init__(nucleus)
        self._commands = commands

    async def inicializar(self) -> None:
        self.server = SocketServer(self.nucleus.rt.folder, self._commands.handle)
        await self.server.start()

    async def ejecutar(self) -> None:
        await asyncio.Event().wait()

    async def detener(self) -> None:
        if hasattr(self, "server"):
            await self.server.stop()


class ModuloHttp(ModuloBase):
    """``/metrics``, ``/healthz``, ``/readyz``, ``/`` on the socket the supervisor reserved."""

    nombre = "http"

    def __init__(self, nucleus: Nucleus, views: Views) -> None:
        super().__init__(nucleus)
        self._views = views

    async def inicializar(self) -> None:
        views = self._views
        listener = self.nucleus.rt.info.get("http_socket")
        assert isinstance(listener, socket.socket)
        collector = InstanceCollector(
            self.nucleus.rt, views.about, views.totals, views.pace, views.by_canal
        )
        registry = make_registry(collector)
        http = self.nucleus.rt.config.http
        hosts = (http.host, *http.hosts)
        app = make_app(views.status, views.not_ready, registry, hosts)
        self.server = HttpServer(app, listener)

    async def ejecutar(self) -> None:
        await self.server.serve()

    async def detener(self) -> None:
        if hasattr(self, "server"):
            await self.server.stop()


def load_modules(
    nucleus: Nucleus, commands: Commands, views: Views, checkpoints: Checkpointer,
    collector: Collector,
) -> list[ModuloBase]:
    """The modules of this nucleus: the built-in ones, then those the configuration names.

    They could be loaded when the configuration was checked; one that can't any more is logged and
    left out.
    """
    loaded: list[ModuloBase] = [
        ModuloControl(nucleus, commands), ModuloCheckpoint(nucleus, checkpoints)
    ]  # fmt: skip
    if collector.wanted:
        loaded.append(ModuloCollect(nucleus, collector, checkpoints.disk))
    if isinstance(nucleus.rt.info.get("http_socket"), socket.socket):
        loaded.append(ModuloHttp(nucleus, views))
    for name in nucleus.rt.config.modules:
        try:
            loaded.append(load_class(name, nucleus.rt.config)(nucleus))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - must not stop the nucleus
            log.error("a module cannot be loaded", module=name, error=repr(error))
    if "ejecucion" not in nucleus.rt.config.modules:
        loaded.append(ModuloCargaDevuelta(nucleus))
    return loaded
