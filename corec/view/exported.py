"""``corec export --table``: the rows of one instance out of its database, as a file.

Read through a cursor of the server's, so memory holds one batch of rows however many there are, and
in one transaction, so the file is the table at one moment. ``mensajes`` is no table: it is the
messages in the payloads of ``bloques``, a row for each; how many are in no payload is told.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from corec.control import console
from corec.control.discover import Instance
from corec.persister.read import decode_payload
from corec.view.frame import library, written_whole

BATCH_ROWS: Final = 20_000
MESSAGES: Final = "mensajes"
ORDER: Final = {
    "bloques": ("tick", "id"),
    "eventos": ("tick", "timestamp"),
    MESSAGES: ("tick", "id"),
    "estadisticas": ("tick", "bloque", "medida"),
    "estadisticas_enjambre": ("tick", "enjambre", "medida"),
    "generaciones": ("tick", "bloque"),
    "linaje": ("tick", "bloque", "hijo"),
    "alertas": ("timestamp", "id"),
    "tareas_fallidas": ("timestamp", "entrada"),
}
"""What can be had, and by which columns it is put in order."""
_OF_PAYLOAD: Final = ("instance_id", "bloque", "canal", "fila", "tick", "entidad", "valor")
_ARROW: Final = {
    "bool": "bool", "int2": "int16", "int4": "int32", "int8": "int64", "float4": "float32",
    "float8": "float64", "bytea": "binary",
}  # fmt: skip
_MESSAGE_TYPES: Final = ("text", "text", "int2", "int8", "int8", "int8", "float4")

Rows = Iterator[list[tuple[Any, ...]]]


def export_table(instance: Instance, table: str, out: Path) -> dict[str, int]:
    """Write all rows that ``instance`` has in ``table`` to ``out``, a .csv or a .parquet file,
    whole or not at all; how many they are (``rows``), and of ``mensajes`` how many more its blocks
    sent that are in no payload (``omitidos``).

    Raises:
        ValueError: there is no such table. AskFailed: what the database answered.
        ImportError: no pyarrow. OSError.
    """
    if table not in ORDER:
        raise ValueError(f"table: found {table!r:.80}, expected one of {', '.join(ORDER)}")
    write = _to_parquet if out.suffix == ".parquet" else _to_csv
    if write is _to_parquet:
        library("pyarrow.parquet")
    with console.database(instance) as connection, connection.cursor(name="export") as cursor:
        source = "bloques" if table == MESSAGES else table
        chosen = sql.SQL("id, canal, tick, mensajes, payload" if table == MESSAGES else "*")
        more = sql.SQL("AND mensajes > 0" if table == MESSAGES else "")
        told: dict[str, int] = {}
        order = sql.SQL(", ").join(map(sql.Identifier, ORDER[table]))
        query = sql.SQL("SELECT {} FROM {} WHERE instance_id = %s {} ORDER BY {}")
        cursor.itersize = BATCH_ROWS
        try:
            cursor.execute(
                query.format(chosen, sql.Identifier(source), more, order), (instance.instance_id,)
            )
        except psycopg.errors.UndefinedTable:
            raise ValueError(f"table: {table}: this instance has written none yet") from None
        if table == MESSAGES:
            names, types = list(_OF_PAYLOAD), list(_MESSAGE_TYPES)
            told["omitidos"] = 0
            rows = _messages(instance.instance_id, _batches(cursor), told)
        else:
            columns = cursor.description or []
            names = [column.name for column in columns]
            types = [_type(connection, column.type_code) for column in columns]
            rows = _batches(cursor)
        with written_whole(out) as half:
            return {"rows": write(half, names, types, rows), **told}


def _type(connection: psycopg.Connection[Any], oid: int) -> str:
    found = connection.adapters.types.get(oid)
    return found.name if found is not None else "text"


def _batches(cursor: psycopg.ServerCursor[Any]) -> Rows:
    while rows := cursor.fetchmany(BATCH_ROWS):
        yield rows


def _messages(instance: str, batches: Rows, told: dict[str, int]) -> Rows:
    for rows in batches:
        found: list[tuple[Any, ...]] = []
        for block, canal, row_tick, count, payload in rows:
            told["omitidos"] += count
            if payload is None:
                continue
            held = decode_payload(payload)["mensajes"]
            told["omitidos"] -= len(held["id"])
            found += [
                (instance, block, canal, row_tick, tick, entity, value)
                for entity, tick, value in zip(held["id"], held["tick"], held["valor"], strict=True)
            ]
        if found:
            yield found


def _to_csv(path: Path, names: list[str], types: list[str], batches: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for rows in batches:
            count += len(rows)
            writer.writerows([_as_text(value) for value in row] for row in rows)
    return count


def _as_text(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _to_parquet(path: Path, names: list[str], types: list[str], batches: Rows) -> int:
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")

    def arrow_type(name: str) -> Any:
        if name == "timestamptz":
            return arrow.timestamp("us", tz="UTC")
        return getattr(arrow, _ARROW.get(name, "string"))()

    schema = arrow.schema(list(zip(names, map(arrow_type, types), strict=True)))
    plain: list[Callable[[Any], Any]] = [
        _as_text if str(field.type) == "string" else _same for field in schema
    ]
    count = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in batches:
            count += len(rows)
            columns = [
                arrow.array([to_plain(row[k]) for row in rows], field.type)
                for k, (field, to_plain) in enumerate(zip(schema, plain, strict=True))
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
    return count


def _same(value: Any) -> Any:
    return value
