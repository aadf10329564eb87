"""What two runs left behind, compared: digest, rows, messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
import redis
from numpy.typing import NDArray

PACKED: Final = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("activo", "u1")])
PAGE_ENTRIES: Final = 1000
ROWS: Final = (
    "SELECT id, canal, tick, num_entidades, activas, errores, reparadas, carga, umbral, fitness, "
    "media, desviacion, mensajes, md5(payload) FROM bloques WHERE instance_id = %s"
)
SENT: Final = (
    "SELECT canal, sum(mensajes)::bigint FROM bloques WHERE instance_id = %s GROUP BY canal"
)
Messages = NDArray[np.uint64]
"""uint64[n, 2]: tick and id, then canal, bits of valor and activo; in stream order."""


class Ledger:
    """Rows and messages of one stopped instance."""

    def __init__(self, dsn: str, url: str, instance_id: str, canales: Sequence[int]) -> None:
        with psycopg.connect(dsn) as connection:
            self.rows = Counter(connection.execute(ROWS, (instance_id,)).fetchall())
            self.sent_by_rows: dict[int, int] = dict(
                connection.execute(SENT, (instance_id,)).fetchall()
            )
        self.messages = {canal: _messages(url, instance_id, canal) for canal in canales}

    @property
    def message_count(self) -> int:
        """Messages of all canales."""
        return sum(len(found) for found in self.messages.values())


def _messages(url: str, instance_id: str, canal: int) -> Messages:
    parts: list[Messages] = []
    with redis.Redis.from_url(url) as client:
        start = "-"
        while True:
            stream = f"corec:{{{instance_id}}}:out:{canal}"
            entries: Any = client.xrange(stream, start, "+", PAGE_ENTRIES)
            parts += [_unpacked(fields) for _, fields in entries]
            if len(entries) < PAGE_ENTRIES:
                return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint64)
            start = "(" + entries[-1][0].decode()


def _unpacked(fields: dict[bytes, bytes]) -> Messages:
    packed = np.frombuffer(fields[b"m"], PACKED)
    found = np.empty((packed.size, 2), np.uint64)
    found[:, 0] = packed["id"].astype(np.uint64) | np.uint64(int(fields[b"t"]) << 32)
    bits = packed["valor"].astype("<f4").view(np.uint32).astype(np.uint64)
    canal = packed["canal"].view(np.uint8).astype(np.uint64)
    found[:, 1] = canal << np.uint64(40) | bits << np.uint64(8) | packed["activo"]
    return found


def _sorted(messages: Messages) -> Messages:
    return messages[np.lexsort((messages[:, 1], messages[:, 0]))]


def _out_of_order(messages: Messages) -> int:
    """Messages that stand in the stream behind one of the same entity from a later tick."""
    number = messages[:, 0] & np.uint64(0xFFFFFFFF)
    order = np.argsort(number, kind="stable")
    ticks, number = (messages[:, 0] >> np.uint64(32))[order], number[order]
    return int(np.count_nonzero((number[1:] == number[:-1]) & (ticks[1:] < ticks[:-1])))


def _message_differences(canal: int, found: Messages, wanted: Messages) -> list[str]:
    if np.array_equal(_sorted(found), _sorted(wanted)):
        return []
    here, there = (Counter(map(tuple, m.tolist())) for m in (found, wanted))
    missing, extra = there - here, here - there
    ticks = sorted({key >> 32 for key, _ in (*missing, *extra)})
    counts = f"{missing.total()} missing, {extra.total()} too many"
    return [f"messages of canal {canal}: {counts}, first in ticks {ticks[:5]}"]


def differences(
    chaos: Ledger, calm: Ledger, digests: tuple[str, str], paced_canales: set[int]
) -> list[str]:
    """Each way in which the disturbed run differs from the undisturbed one; empty: none.

    On ``paced_canales`` the tick of a message depends on when readings arrived, so only their
    number is held against the rows of the same run.
    """
    found = []
    if digests[0] != digests[1]:
        found.append(f"digest: {digests[0]} disturbed, {digests[1]} undisturbed")
    doubled = sum(count - 1 for count in chaos.rows.values() if count > 1)
    if doubled:
        found.append(f"rows: {doubled} doubled")
    steady = {row for row in chaos.rows if row[1] not in paced_canales}
    wanted = {row for row in calm.rows if row[1] not in paced_canales}
    if steady != wanted:
        found.append(
            f"rows: {len(wanted - steady)} missing, {len(steady - wanted)} that should not be"
        )
    keys = Counter((row[0], row[2]) for row in chaos.rows.elements())
    calm_keys = Counter((row[0], row[2]) for row in calm.rows.elements())
    if keys != calm_keys:
        found.append(
            f"rows by (block, tick): {(calm_keys - keys).total()} missing, "
            f"{(keys - calm_keys).total()} too many"
        )
    for canal, messages in chaos.messages.items():
        if late := _out_of_order(messages):
            found.append(f"messages of canal {canal}: {late} out of their entity's tick order")
        if canal in paced_canales:
            sent = chaos.sent_by_rows.get(canal, 0)
            if len(messages) != sent:
                found.append(f"messages of canal {canal}: {len(messages)}, rows say {sent}")
        else:
            found += _message_differences(canal, messages, calm.messages[canal])
    return found
