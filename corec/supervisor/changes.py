"""Changes to a living instance: more or fewer workers, another configuration, newer code."""

from __future__ import annotations

import socket
import time
from typing import Any

import orjson

from corec import layout as L
from corec.config import Config, ConfigError
from corec.control.outcome import write_change
from corec.embedded.errors import EmbeddedServerError
from corec.log import get_logger
from corec.runtime import Runtime
from corec.supervisor import regroup, segments
from corec.supervisor.processes import Group
from corec.supervisor.servers import Servers
from corec.supervisor.upgrade import exec_again, refusal
from corec.supervisor.wishes import Wishes, worker_count
from shm.owner import OwnerLock

log = get_logger("corec.supervisor")


def raise_event(rt: Runtime, tipo: str, detalle: dict[str, Any]) -> None:
    """An event of the supervisor, for the table ``eventos``."""
    event = {"unix_ns": time.time_ns(), "tick": segments.world_tick(rt), "tipo": tipo,
             "bloque": None, "entidad": None, "detalle": detalle}  # fmt: skip
    if not rt.events["supervisor"].push(L.KIND_EVENT_FRAME, orjson.dumps(event)):
        log.warning("an event found its lane full", tipo=tipo)


class Changes:
    """The changes the supervisor makes to its group between two ticks."""

    def __init__(self, config: Config, wishes: Wishes, rt: Runtime, group: Group) -> None:
        self.config, self.wishes, self.rt, self.group = config, wishes, rt, group

    def _go_on(self, workers: int) -> None:
        """Fork a new group at the boundary where the old one came to rest."""
        segments.regroup_words(self.rt, workers)
        self.group.reform(workers)
        segments.start_words(self.rt, keep_control=True)
        self.group.start_all()
        self.rt.set(L.C_STATE, L.STATE_RUNNING)

    def _no_room(self, workers: int) -> str | None:
        """Make the lanes that so many workers need, before anybody rests; why that fails, else
        None."""
        try:
            segments.more_lanes(self.rt, workers)
        except OSError as error:
            return error.strerror or str(error)
        return None

    def resize(self, workers: int) -> None:
        """Go on with another number of workers, blocks moved, no tick lost."""
        wanted, before = min(workers, self.rt.plan.n_blocks), self.group.workers
        if wanted == before:
            return
        if reason := self._no_room(wanted):
            log.error("no room for more workers; their number stays", workers=before, reason=reason)
            raise_event(self.rt, "trabajadores", {"antes": before, "ahora": before,
                                                  "pedidos": wanted, "motivo": reason})  # fmt: skip
            return
        if not regroup.rest(self.rt, self.group):
            log.error("workers did not come to rest; their number stays", workers=before)
            return
        self._go_on(wanted)
        log.info("number of workers changed", before=before, now=wanted)
        raise_event(self.rt, "trabajadores", {"antes": before, "ahora": wanted})

    def reload(self) -> Config:
        """SIGHUP: take over what may change under a living world, or keep the old and say why.

        Returns the configuration that holds from now on.
        """
        try:
            fresh = regroup.reloaded(self.config, self.wishes)
        except ConfigError as error:
            log.error("reload refused, the old configuration stays", reason=str(error))
            write_change(self.rt.folder, "reload", False, str(error))
            raise_event(self.rt, "recarga", {"aceptada": False, "motivo": str(error)})
            return self.config
        if fresh is None:
            log.info("reload: nothing changed")
            write_change(self.rt.folder, "reload", True, "nothing has changed")
            return self.config
        workers = min(worker_count(fresh), self.rt.plan.n_blocks)
        reason = self._no_room(workers)
        if reason is None and not regroup.rest(self.rt, self.group):
            reason = "the workers did not come to rest"
        if reason is not None:
            reason = f"{reason}; the old configuration stays"
            log.error(reason)
            write_change(self.rt.folder, "reload", False, reason)
            return self.config
        regroup.apply(self.rt, fresh, self.group.tables)
        self._go_on(workers)
        log.info("configuration reloaded")
        write_change(self.rt.folder, "reload", True, None)
        raise_event(self.rt, "recarga", {"aceptada": True})
        return fresh

    def upgrade(self, lock: OwnerLock, listener: socket.socket, servers: Servers) -> None:
        """SIGUSR2: become the current code; the processes tick on while it is imported.

        Returns only when that is refused.
        """
        reason = refusal(self.wishes)
        if reason is None:
            try:
                exec_again(self.wishes, lock, listener, self.group, servers)
            except EmbeddedServerError as error:
                reason = str(error)
        log.error("upgrade refused, the running code stays", reason=reason)
        write_change(self.rt.folder, "upgrade", False, reason)
        raise_event(self.rt, "actualizacion", {"aceptada": False, "motivo": reason})
