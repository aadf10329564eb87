"""What two runs left behind, compared: digest, rows, messages."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import redis

from corec.embedded.postgres import EmbeddedPostgres
from corec.embedded.valkey import EmbeddedValkey

MESSAGE = struct.Struct("!Ibf?")
ROWS = (
    "SELECT id, canal, tick, num_entidades, activas, errores, reparadas, carga, umbral, fitness, "
    "media, desviacion, mensajes FROM bloques WHERE instance_id = %s"
)


class Ledger:
    """Rows and messages of one stopped instance, read from its own servers."""

    def __init__(self, state: Path, runtime: Path, instance_id: str, canales: list[int]) -> None:
        data = state / instance_id
        postgres = EmbeddedPostgres(data / "postgres", runtime / "ledger-pg")
        valkey = EmbeddedValkey(data / "valkey", runtime / "ledger-redis")
        try:
            postgres.start()
            valkey.start()
            with psycopg.connect(postgres.dsn) as connection:
                self.rows = Counter(connection.execute(ROWS, (instance_id,)).fetchall())
                self.sent_by_rows: dict[int, int] = dict(
                    connection.execute(
                        "SELECT canal, sum(mensajes)::bigint FROM bloques WHERE instance_id = %s "
                        "GROUP BY canal",
                        (instance_id,),
                    ).fetchall()
                )
            self.messages = {canal: _messages(valkey.url, instance_id, canal) for canal in canales}
        finally:
            valkey.stop()
            postgres.stop()


def _messages(url: str, instance_id: str, canal: int) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    with redis.Redis.from_url(url) as client:
        start = "-"
        while True:
            entries: Any = client.xrange(f"corec:{{{instance_id}}}:out:{canal}", start, "+", 1000)
            for _, fields in entries:
                tick = int(fields[b"t"])
                found.update((tick, *m) for m in MESSAGE.iter_unpack(fields[b"m"]))
            if len(entries) < 1000:
                return found
            start = "(" + entries[-1][0].decode()


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
    keys = {(row[0], row[2]) for row in chaos.rows}
    calm_keys = {(row[0], row[2]) for row in calm.rows}
    if keys != calm_keys:
        found.append(f"rows: {len(calm_keys ^ keys)} (block, tick) differ")
    for canal, messages in chaos.messages.items():
        if canal in paced_canales:
            sent = chaos.sent_by_rows.get(canal, 0)
            if sum(messages.values()) != sent:
                found.append(
                    f"messages of canal {canal}: {sum(messages.values())}, rows say {sent}"
                )
        elif messages != calm.messages[canal]:
            missing = sum((calm.messages[canal] - messages).values())
            extra = sum((messages - calm.messages[canal]).values())
            found.append(f"messages of canal {canal}: {missing} missing, {extra} too many")
    return found
