"""``ModuloRegistro``: which swarms there are; an event when one comes, grows, or is left by all.

What it knows of a world is in ``registro.json`` in the state folder, so each thing is told once of
a world however often the nucleus or the instance is started. Order of the stores for one event:

    file: what is known, and ``telling``: the event, and where the nucleus' lane stands
    the event, into its lane
    file: what is known by then, and no ``telling``

A successor that finds ``telling`` knows by its lane whether the event is in it. A file that a power
cut has taken, or that can't be written, has the events told again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from corec.log import get_logger
from corec.modules.base import ModuloBase

log = get_logger(__name__)

LOOK_SECONDS: Final = 1.0
FILE: Final = "registro.json"


class Known(NamedTuple):
    """A swarm, as it was told of."""

    entidades: int
    bloques: int
    retired: bool


class News(NamedTuple):
    """An event, and what is known of its swarm behind it. ``tipo`` None: nothing to be told."""

    tipo: str | None
    swarm: str
    detail: dict[str, Any]
    known: Known


def news(known: Mapping[str, Known], swarms: Sequence[Mapping[str, Any]]) -> Iterator[News]:
    """What is to be told of ``swarms`` (id, canal, entidades, bloques, activas)."""
    for swarm in swarms:
        name, empty = str(swarm["id"]), swarm["activas"] == 0
        now = Known(int(swarm["entidades"]), int(swarm["bloques"]), empty)
        before = known.get(name)
        detail = {"swarm": name, "canal": swarm["canal"], "entidades": now.entidades,
                  "bloques": now.bloques}  # fmt: skip
        if before is None:
            yield News("swarm_registered", name, detail, now._replace(retired=False))
            before = now._replace(retired=False)
        if now.entidades > before.entidades:
            what = detail | {"before": before.entidades}
            yield News("swarm_grown", name, what, now._replace(retired=before.retired))
        elif now.entidades < before.entidades:  # an older checkpoint was restored
            yield News(None, name, {}, now._replace(retired=before.retired))
        if empty and not before.retired:
            yield News("swarm_retired", name, detail, now)
        elif before.retired and not empty:
            yield News("swarm_registered", name, detail | {"again": True}, now)


class Book:
    """The file."""

    def __init__(self, path: Path, epoch: int) -> None:
        self._path, self._epoch = path, f"{epoch:016x}"
        self.known: dict[str, Known] = {}
        self._failed = False

    def open(self, head: int) -> None:
        """Read it; ``head``: where the lane of events stands."""
        try:
            found = orjson.loads(self._path.read_bytes())
            if found["epoch"] != self._epoch:
                return  # another world's
            self.known = {name: Known(*one) for name, one in found["swarms"].items()}
            telling = found["telling"]
            if telling is not None and telling["head"] < head:
                self.known[telling["swarm"]] = Known(*telling["known"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the register can't be read, and begins anew", reason=repr(error))

    def tells(self, one: News, head: int) -> None:
        """An event is about to be told."""
        self._write({"swarm": one.swarm, "known": list(one.known), "head": head})

    def told(self, one: News) -> None:
        """It is."""
        self.known[one.swarm] = one.known
        self._write(None)

    def _write(self, telling: Mapping[str, Any] | None) -> None:
        half = self._path.with_suffix(".half")
        known = {name: list(one) for name, one in self.known.items()}
        whole = {"epoch": self._epoch, "swarms": known, "telling": telling}
        try:
            half.write_bytes(orjson.dumps(whole))
            os.replace(half, self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("the register can't be written", reason=str(error))
            self._failed = True


class ModuloRegistro(ModuloBase):
    """Events ``swarm_registered``, ``swarm_grown``, ``swarm_retired``."""

    nombre = "registro"

    async def inicializar(self) -> None:
        rt = self.nucleus.rt
        self._book = Book(rt.config.state_folder / FILE, rt.epoch)
        self._book.open(self.nucleus.events.lane.head)
        self._empty: set[str] = set()

    async def ejecutar(self) -> None:
        while True:
            self.look(self.nucleus.views.totals.read().get("swarms", []))
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, swarms: Sequence[Mapping[str, Any]]) -> None:
        """Tell what is new. A swarm is left by all when two looks on end found it so."""
        empty = {str(one["id"]) for one in swarms if one["activas"] == 0}
        seen = [{**one, "activas": 1} if one["id"] in empty - self._empty and not self._retired(one)
                else one for one in swarms]  # fmt: skip
        self._empty = empty
        lane = self.nucleus.events.lane
        for one in [*news(self._book.known, seen)]:
            if one.tipo is not None:
                self._book.tells(one, lane.head)
                log.info(one.tipo.replace("_", " "), **one.detail)
                self.nucleus.events.emit(one.tipo, one.detail)
            self._book.told(one)

    def _retired(self, one: Mapping[str, Any]) -> bool:
        known = self._book.known.get(str(one["id"]))
        return known is not None and known.retired
