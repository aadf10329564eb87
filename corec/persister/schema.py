"""The tables: ``bloques`` and ``eventos``, partitioned by range of ``timestamp``, and beside them.

Any number of instances share them.  They are made by whoever comes first, under an advisory lock
(``CREATE TABLE IF NOT EXISTS`` alone fails when two sessions run it at once), and in the first
schema of the role's ``search_path``; afterwards only looked at, as even a needless
``CREATE INDEX IF NOT EXISTS`` would wait for every running COPY.

``mundos_bloques`` and ``mundos_eventos`` hold the rows of worlds that were set aside, and
``corec_mundos`` says which those are (``worlds``).  A database of an older CoreC lacks the three:
they are added, and its partitions that hold no row yet go, so that those of now take their place.
Its partitions with rows stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import sql

from corec.log import get_logger
from corec.persister import periods
from corec.persister.reasons import ForeignSchema
from corec.persister.views import ensure_views

log = get_logger("corec.persister")
Connection = psycopg.AsyncConnection[Any]
Found = dict[str, tuple[str, str, dict[str, str]]]
"""Of the tables that are there: relkind, schema, column → type."""

LOCK_DDL: Final = 0x636F_7265_6320_7361  # pg_advisory_xact_lock of everybody who changes the tables
PARTITIONED: Final = ("bloques", "eventos")
BASE: Final = (*PARTITIONED, "corec_offsets")
ASIDE: Final = {table: f"mundos_{table}" for table in PARTITIONED}
"""Where the rows of worlds that were set aside are; see ``worlds``."""

CREATE: Final = (
    """
    CREATE TABLE bloques (
        instance_id text NOT NULL,
        id text NOT NULL,
        canal smallint NOT NULL,
        tick bigint NOT NULL,
        "timestamp" timestamptz NOT NULL,
        num_entidades integer NOT NULL,
        activas integer NOT NULL,
        errores integer NOT NULL,
        reparadas integer NOT NULL,
        carga double precision NOT NULL,
        umbral double precision NOT NULL,
        fitness double precision NOT NULL,
        media double precision NOT NULL,
        desviacion double precision NOT NULL,
        mensajes bigint NOT NULL,
        payload bytea
    ) PARTITION BY RANGE ("timestamp")
    """,
    "ALTER TABLE bloques ALTER COLUMN payload SET STORAGE EXTERNAL",
    'CREATE INDEX bloques_canal_timestamp ON bloques (canal, "timestamp" DESC)',
    """
    CREATE TABLE eventos (
        instance_id text NOT NULL,
        "timestamp" timestamptz NOT NULL,
        tick bigint NOT NULL,
        tipo text NOT NULL,
        bloque text,
        entidad bigint,
        detalle jsonb NOT NULL
    ) PARTITION BY RANGE ("timestamp")
    """,
    'CREATE INDEX eventos_tipo_timestamp ON eventos (tipo, "timestamp" DESC)',
    """
    CREATE TABLE corec_offsets (
        instance_id text NOT NULL,
        lane text NOT NULL,
        epoch bigint NOT NULL,
        made bigint NOT NULL,
        position bigint NOT NULL,
        tick bigint NOT NULL,
        block bigint NOT NULL,
        step integer NOT NULL,
        count bigint NOT NULL,
        overlap_tick bigint NOT NULL,
        PRIMARY KEY (instance_id, lane)
    ) WITH (fillfactor = 50)
    """,
    "COMMENT ON TABLE bloques IS 'CoreC: one row per block every so many ticks; payload: zstd'",
    "COMMENT ON TABLE eventos IS 'CoreC: repairs, fusions, restarts, overloads, gaps'",
    "COMMENT ON TABLE corec_offsets IS 'CoreC: how far each lane is written; do not change'",
)
_ADD: Final = {
    "mundos_bloques": "CREATE TABLE {} (LIKE bloques, mundo text NOT NULL)",
    "mundos_eventos": "CREATE TABLE {} (LIKE eventos, mundo text NOT NULL)",
    "corec_mundos": """
        CREATE TABLE {} (
            instance_id text NOT NULL,
            epoch bigint NOT NULL,
            clave text NOT NULL,
            mundo text,
            desde timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (instance_id, epoch)
        )
    """,
    "corec_owners": """
        CREATE TABLE {} (
            instance_id text PRIMARY KEY,
            id text NOT NULL,
            who text NOT NULL,
            until timestamptz NOT NULL
        )
    """,
}
"""What came after the first three tables; {}: the name, with its schema."""
_ADDED_COMMENT: Final = {
    "mundos_bloques": "CoreC: bloques of worlds that were set aside; mundo: which",
    "mundos_eventos": "CoreC: eventos of worlds that were set aside; mundo: which",
    "corec_mundos": "CoreC: the worlds that wrote here; mundo: name since one was set aside",
    "corec_owners": "CoreC: which living instance holds an instance_id",
}

# Of each partition by itself: a unique index of the whole table would have to hold the partition
# key, and (instance_id, id, tick) is unique without it.
PARTITION_INDEX: Final = {
    "bloques": sql.SQL("CREATE UNIQUE INDEX {name} ON {table} (instance_id, id, tick)"),
    "eventos": sql.SQL("CREATE INDEX {name} ON {table} (instance_id, tick)"),
}
# Of what holds rows, a leaf above all: who came into a place last, which block took over another
# (``corec.control.births``). Events of other kinds are not in them, and cost nothing.
ROW_INDEXES: Final = {
    "lineage": sql.SQL("CREATE INDEX ON {} (entidad, tick) WHERE tipo = 'lineage'"),
    "fusion": sql.SQL("CREATE INDEX ON {} (bloque, tick) WHERE tipo IN ('fusion', 'division')"),
}
"""Of ``eventos``, by a kind that each is of."""

_COLUMNS: Final = {
    "bloques": {
        "instance_id": "text", "id": "text", "canal": "int2", "tick": "int8",
        "timestamp": "timestamptz", "num_entidades": "int4", "activas": "int4", "errores": "int4",
        "reparadas": "int4", "carga": "float8", "umbral": "float8", "fitness": "float8",
        "media": "float8", "desviacion": "float8", "mensajes": "int8", "payload": "bytea",
    },
    "eventos": {
        "instance_id": "text", "timestamp": "timestamptz", "tick": "int8", "tipo": "text",
        "bloque": "text", "entidad": "int8", "detalle": "jsonb",
    },
    "corec_offsets": {
        "instance_id": "text", "lane": "text", "epoch": "int8", "made": "int8",
        "position": "int8", "tick": "int8", "block": "int8", "step": "int4", "count": "int8",
        "overlap_tick": "int8",
    },
    "corec_mundos": {
        "instance_id": "text", "epoch": "int8", "clave": "text", "mundo": "text",
        "desde": "timestamptz",
    },
    "corec_owners": {"instance_id": "text", "id": "text", "who": "text", "until": "timestamptz"},
}  # fmt: skip
_COLUMNS.update({ASIDE[table]: {**_COLUMNS[table], "mundo": "text"} for table in PARTITIONED})

FOUND: Final = """
    SELECT c.relname, c.relkind::text, n.nspname,
           (SELECT jsonb_object_agg(a.attname, t.typname) FROM pg_attribute a
              JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
"""
_PLAIN: Final = """
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = %s::regclass AND c.relkind = 'r'
"""


async def ensure_schema(connection: Connection, *, ours: bool = False) -> str:
    """Make the tables where they are missing; returns the name of the schema that holds them.

    One that is missing while others are there may have been renamed for a while, in a database that
    others look after: it is waited for. In one that is CoreC's alone (``ours``) it was dropped, and
    is made anew.

    Raises ForeignSchema when a table of one of the names is not CoreC's, psycopg.Error else.
    """
    found = await _found(connection)
    if len(found) < len(_COLUMNS):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_DDL,))
            found = await _found(connection)
            if not any(name in found for name in BASE):
                for statement in CREATE:
                    await connection.execute(statement)
                found = await _found(connection)
            elif ours and "corec_offsets" in found:
                for table in sorted(set(PARTITIONED) - found.keys()):
                    log.warning("a table was dropped, and its rows: it is made anew", table=table)
                    for statement in _of(table):
                        await connection.execute(statement)
                found = await _found(connection)
            if all(name in found for name in BASE):
                await _add(connection, found)
        found = await _found(connection)
    schema = judge_schema(found)
    await ensure_views(connection, schema, LOCK_DDL)
    return schema


def _of(table: str) -> Iterator[str]:
    """The statements that make one of the first three tables."""
    return (text for text in CREATE if re.search(rf"\b(TABLE|ON) {table}\b", text))


def known_tables() -> list[str]:
    """The names of all tables of CoreC."""
    return list(_COLUMNS)


def judge_schema(found: Found) -> str:
    """The schema of the tables that were ``found``.  Raises ForeignSchema when they do not fit."""
    schemas = set()
    for name, (kind, schema, types) in sorted(found.items()):
        schemas.add(schema)
        if kind != ("p" if name in PARTITIONED else "r"):
            raise ForeignSchema(
                f"{schema}.{name} is not a table as CoreC makes it; rename it, or give CoreC "
                "another database"
            )
        wrong = [f"{c} {t}" for c, t in _COLUMNS[name].items() if types.get(c) != t]
        if wrong:
            raise ForeignSchema(
                f"{schema}.{name} lacks {', '.join(wrong)}; rename it, or give CoreC another "
                "database"
            )
    missing = sorted(set(BASE) - found.keys())
    if missing:
        raise ForeignSchema(
            f"the table {missing[0]} is missing while {', '.join(sorted(found))} is there; put it "
            "back, or drop or rename the others, too, or give CoreC another database"
        )
    if len(schemas) > 1:
        raise ForeignSchema(f"CoreC's tables are in several schemas: {', '.join(sorted(schemas))}")
    return str(schemas.pop())


async def _add(connection: Connection, found: Found) -> None:
    """The tables that a database of an older CoreC lacks; hold ``LOCK_DDL``."""
    schema = found["bloques"][1]
    for name, text in _ADD.items():
        if name in found:
            continue
        fresh = sql.Identifier(schema, name)
        await connection.execute(sql.SQL(text).format(fresh))
        comment = sql.SQL("COMMENT ON TABLE {} IS {}")
        await connection.execute(comment.format(fresh, sql.Literal(_ADDED_COMMENT[name])))
    if "corec_mundos" in found:
        return
    for table in PARTITIONED:
        cursor = await connection.execute(_PLAIN, (table,))
        for (name,) in await cursor.fetchall():
            if periods.is_name(table, name):
                await _drop_if_empty(connection, table, sql.Identifier(schema, name))


async def _drop_if_empty(connection: Connection, table: str, child: sql.Identifier) -> None:
    """Drop a partition without a row, unless somebody is in it or needs it."""
    try:
        async with connection.transaction():
            await connection.execute(sql.SQL("SET LOCAL lock_timeout = '1s'"))
            cursor = await connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(child))
            if await cursor.fetchone() is None:
                parent = sql.Identifier(table)
                detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
                await connection.execute(detach.format(parent, child))
                await connection.execute(sql.SQL("DROP TABLE {}").format(child))
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.DependentObjectsStillExist,
        psycopg.errors.InsufficientPrivilege,
    ):
        return  # it goes on being used, as one with rows does


async def _found(connection: Connection) -> Found:
    cursor = await connection.execute(FOUND, (known_tables(),))
    return {name: (kind, schema, types) for name, kind, schema, types in await cursor.fetchall()}


def without_nul(value: Any) -> Any:
    """``value``, text or what JSON holds, as PostgreSQL's text and jsonb can hold it: every
    character but NUL, which becomes U+FFFD. A row with one would be refused for ever."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {without_nul(name): without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_nul(inner) for inner in value]
    return value
