"""What is done for the tables beside writing: partitions and indexes made, old ones dropped.

None of it may keep a row from being written.  What the server refuses is told, once for each table:
in the log, as an event (``partition_kept``, ``partitions_not_made``), and in ``persister.json``,
which ``corec-ctl doctor`` reads.  It is tried again every round, and told when it is over.

Writer of ``persister.json``: the persister alone, whole or not at all; reader: the nucleus.  It is
there from the first connection on, and goes with the instance's other files::

    {"server_version": 180006, "troubles": [{"what": "bloques_2026_01_01", "reason": "…"}]}
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import orjson
import psycopg

from corec.control.folders import PERSISTER_FILE
from corec.log import get_logger
from corec.persister.retention import Retention
from corec.persister.writer import Writer
from corec.process.events import PARTITION_KEPT, PARTITIONS_NOT_MADE, REASON
from corec.process.shown_file import ShownFile

AHEAD: Final = "partitions ahead"
PATIENCE_ROUNDS: Final = 3
"""A table that somebody holds a lock on is told after so many rounds; anything else at once."""

log = get_logger("corec.persister")


class Upkeep:
    """Keeps the partitions of one instance; over any number of connections."""

    def __init__(self, folder: Path, instance_id: str, keep: timedelta | None) -> None:
        """``folder``: for ``persister.json``; ``keep``: the retention."""
        self._file = ShownFile(folder, PERSISTER_FILE)
        self._instance_id = instance_id
        self._keep = keep
        self._locked: dict[str, int] = {}
        self._troubles: dict[str, str] = {}
        self._server_version = 0

    def connected(self, server_version: int) -> None:
        """There is a connection, to a server of this version (180006 is 18.6)."""
        if server_version != self._server_version:
            self._server_version = server_version
            self._show()

    async def round(self, writer: Writer) -> None:
        """Look once.  Raises psycopg.Error when the connection is gone."""
        now = datetime.now(UTC)
        found: dict[str, str] = {}
        try:
            made = await writer.partitions.make_ahead(now)
            if made:
                log.info("made partitions", partitions=" ".join(made))
            for name in await writer.partitions.index_rows():
                log.info("made an index that lineages need", partition=name)
        except psycopg.Error as error:
            if writer.broken:
                raise
            found[AHEAD] = " ".join(str(error).split())
        if self._keep is not None:
            retention = Retention(
                writer.connection, writer.partitions, self._instance_id, self._keep
            )
            done = await retention.round(now)
            if done.names:
                log.info("dropped partitions", partitions=" ".join(done.names))
            found |= self._patient(done.kept, done.locked)
        await self._tell(writer, found)

    def _patient(self, kept: dict[str, str], locked: set[str]) -> dict[str, str]:
        self._locked = {name: self._locked.get(name, 0) + 1 for name in locked}
        return {
            name: why
            for name, why in kept.items()
            if name not in locked or self._locked[name] >= PATIENCE_ROUNDS
        }

    async def _tell(self, writer: Writer, found: dict[str, str]) -> None:
        fresh = {name: why for name, why in found.items() if name not in self._troubles}
        for name in self._troubles.keys() - found.keys():
            log.info("a trouble with partitions is over", partition=name)
        self._troubles = found
        for name, why in fresh.items():
            if name == AHEAD:
                log.error("partitions cannot be made ahead", reason=why)
                tipo = PARTITIONS_NOT_MADE
            else:
                log.error("an old partition cannot be dropped", partition=name, reason=why)
                tipo = PARTITION_KEPT
            await writer.note_once(tipo, {"partition": name, REASON: why})
        self._show()

    def _show(self) -> None:
        troubles = [{"what": name, "reason": why} for name, why in self._troubles.items()]
        found = {"server_version": self._server_version, "troubles": troubles}
        self._file.write(orjson.dumps(found))
