"""Group ``rows``: rows of ``bloques`` per second into one PostgreSQL.

CoreC's figure is a running server's, from the request for the ticks to the commit of their last
row: tick, lane, JSON and Zstandard of each payload, COPY, positions, commit. ``psql \\copy`` then
loads the same bytes, exported from the server's own table, into a table with the same columns,
partitioning and indexes in the same database; ``executemany`` inserts some of the same rows there.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.providers import postgres_for
from corec.lab.bench.check import blocks_of, verify
from corec.lab.bench.results import Check, Table
from corec.lab.bench.rounds import Contender, Effort, interleave, wait_until
from corec.lab.bench.server import Server
from corec.lab.bench.world import sensors
from corec.lab.instance import LabFailed
from corec.persister.encode import ROW_COLUMNS

COLUMNS = ", ".join(f'"{name}"' for name in ROW_COLUMNS)
MAKE = (
    "DROP SCHEMA IF EXISTS rival CASCADE",
    "CREATE SCHEMA rival",
    """CREATE TABLE rival.bloques (LIKE public.bloques INCLUDING ALL)
       PARTITION BY RANGE ("timestamp")""",
    """CREATE TABLE rival.all_time PARTITION OF rival.bloques
       FOR VALUES FROM (MINVALUE) TO (MAXVALUE)""",
    "CREATE UNIQUE INDEX ON rival.all_time (instance_id, id, tick)",
)
STREAM_ENTRIES = 100
MU_10_PERCENT = 0.402
"""A mean of the sensor at which a tenth emits: umbral settles at 0.53, σ is 0.1."""


class Rival:
    """The table ``rival.bloques``, filled by others with what the server wrote."""

    def __init__(self, server: Server, file: Path) -> None:
        self.dsn, self.file = server.address("db"), file
        self.exported = 0
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in MAKE:
                connection.execute(statement)

    def export(self, rows: int) -> None:
        """``rows`` rows of the server's table as a binary COPY stream in the file."""
        query = f"SELECT {COLUMNS} FROM public.bloques ORDER BY tick DESC, id LIMIT {int(rows)}"
        order = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
        with (
            psycopg.connect(self.dsn) as connection,
            open(self.file, "wb") as file,
            connection.cursor() as cursor,
        ):
            with cursor.copy(order) as copy:
                file.writelines(copy)
            self.exported = cursor.rowcount

    def _empty(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("TRUNCATE rival.bloques")

    def _count(self, wanted: int) -> None:
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute("SELECT count(*) FROM rival.bloques").fetchone()
        if found != (wanted,):
            raise LabFailed(f"rival.bloques has {found} rows, expected {wanted}")

    def psql_copy(self) -> float:
        """Rows per second of ``psql -c '\\copy …'``."""
        self._empty()
        order = f"\\copy rival.bloques({COLUMNS}) from '{self.file}' (format binary)"
        command = [str(postgres_for().program("psql")), "-X", "-q", self.dsn, "-c", order]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        took = time.perf_counter() - began
        self._count(self.exported)
        return self.exported / took

    def psycopg_copy(self) -> float:
        """Rows per second of psycopg writing the file's bytes, where there is no psql."""
        self._empty()
        data = self.file.read_bytes()
        began = time.perf_counter()
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            order = f"COPY rival.bloques({COLUMNS}) FROM STDIN (FORMAT binary)"
            with cursor.copy(order.encode()) as copy:
                for at in range(0, len(data), 1 << 17):
                    copy.write(data[at : at + (1 << 17)])
        took = time.perf_counter() - began
        self._count(self.exported)
        return self.exported / took

    def executemany(self, rows: int) -> float:
        """Rows per second of psycopg's ``executemany``, one transaction, pipelined."""
        self._empty()
        marks = ", ".join(["%s"] * len(ROW_COLUMNS))
        order = f"INSERT INTO rival.bloques ({COLUMNS}) VALUES ({marks})".encode()
        with psycopg.connect(self.dsn) as connection:
            query = f"SELECT {COLUMNS} FROM public.bloques ORDER BY tick DESC, id LIMIT {int(rows)}"
            given: list[tuple[Any, ...]] = connection.execute(query.encode()).fetchall()
            with connection.cursor() as cursor:
                began = time.perf_counter()
                cursor.executemany(order, given)
                connection.commit()
                took = time.perf_counter() - began
        self._count(len(given))
        return len(given) / took


def measure(effort: Effort) -> list[Table]:
    """A table for rows of about 10 messages, and one for rows of about 100."""
    tables = [_measure(effort, "rows", 10, {})]
    if not effort.quick:
        tables.append(_measure(effort, "rows-100", 100, {"parametros": {"mu": MU_10_PERCENT}}))
    return tables


def _measure(effort: Effort, name: str, messages: int, bloque: dict[str, Any]) -> Table:
    n = effort.pick(1_000_000, 100_000)
    table = Table(name, f"Rows into PostgreSQL, about {messages} messages in each", "rows/s")
    config = sensors(
        n, bloque=bloque, persist={"every_ticks": 1}, streams={"maxlen": STREAM_ENTRIES}
    )
    ticks = effort.pick(100, 60)
    rows = ticks * blocks_of(config)
    with Server(config) as server:
        server.start()
        wait_until(lambda: server.rows >= server.tick * blocks_of(config), "rows are in", 60.0)

        def ours() -> float:
            target = server.rows + rows
            began = time.perf_counter()
            server.step(ticks)
            wait_until(lambda: server.rows >= target, f"{target} rows are committed", 120.0)
            return rows / (time.perf_counter() - began)

        contenders = [Contender("CoreC, running server", ours, True, f"{rows:,} rows a sample")]
        ours()
        rival = Rival(server, server.home / "rows.copy")
        rival.export(rows)
        size = rival.file.stat().st_size
        try:
            postgres_for().program("psql")
            contenders.append(Contender(r"psql \copy", rival.psql_copy, False, "the same bytes"))
        except EmbeddedServerError:
            note = "the wheel has no psql: COPY of the same bytes by psycopg"
            contenders.append(Contender("COPY, psycopg", rival.psycopg_copy, False, note))
        few = min(rows, effort.pick(5_000, 500))
        contenders.append(
            Contender("psycopg executemany", lambda: rival.executemany(few), False, f"{few:,} rows")
        )
        table.rows = interleave(contenders, effort.rounds)
        table.notes.append(f"{size / rival.exported:,.0f} bytes of COPY stream a row")
        share = table.rows[0].over(table.rows[1])
        table.notes.append(f"CoreC is at {share:.2f} of {table.rows[1].name}")
        table.checks.append(Check("rivals' rows were counted in every sample", True))
        table.checks += verify(name, server)
    return table
