"""Views over ``eventos`` that show as tables what evolution and ``collect`` tell of.

Made by whoever comes first, beside the tables and under the same lock. A view of an older version
is replaced: what the server says of its query is held against what it says of ours. A table or view
of that name that is somebody else's stays as it is; a role that may make none goes on without. So
does everybody where the function is another's, or somebody reads the view for longer than a moment
(a replacement needs it alone): rows do not wait for a view.

They read ``eventos`` through a function, whose text PostgreSQL looks at when it is called: a view
of the table itself would keep anybody from dropping or replacing it. A plain SQL function is put
into the query that calls it, so conditions reach the table and its indexes all the same.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from corec.log import get_logger

log = get_logger("corec.persister")

FUNCTION: Final = "corec_eventos_de"
_FUNCTION: Final = """
    CREATE OR REPLACE FUNCTION {}(kind text) RETURNS TABLE (
        instance_id text, "timestamp" timestamptz, tick bigint, bloque text, entidad bigint,
        detalle jsonb
    ) LANGUAGE sql STABLE AS {}
"""
_BODY: Final = """
    SELECT e.instance_id, e."timestamp", e.tick, e.bloque, e.entidad, e.detalle
      FROM {} AS e WHERE e.tipo = kind
"""
VIEWS: Final = {
    "generaciones": """
        SELECT instance_id, "timestamp", tick, bloque, split_part(bloque, ':', 1) AS enjambre,
               (detalle->>'generacion')::bigint AS generacion,
               (detalle->>'mejor')::float8 AS mejor, (detalle->>'media')::float8 AS media,
               (detalle->>'peor')::float8 AS peor, (detalle->>'diversidad')::float8 AS diversidad,
               (detalle->>'activas')::bigint AS activas, (detalle->>'hijos')::bigint AS hijos,
               (detalle->>'mejor_id')::bigint AS mejor_id, detalle->'genes' AS genes
          FROM {}('generation')
    """,
    "linaje": """
        SELECT instance_id, "timestamp", tick, bloque, entidad AS hijo,
               (detalle->>'madre')::bigint AS madre, (detalle->>'padre')::bigint AS padre,
               (detalle->>'generacion')::bigint AS generacion, detalle->>'how' AS how,
               detalle->'genes' AS genes
          FROM {}('lineage')
    """,
    "estadisticas": """
        SELECT e.instance_id, e."timestamp", e.tick, e.bloque,
               split_part(e.bloque, ':', 1) AS enjambre, v.key AS medida, v.value::float8 AS valor,
               (e.detalle->>'entidades')::bigint AS entidades
          FROM {}('statistics') AS e, jsonb_each_text(e.detalle->'values') AS v
    """,
    "estadisticas_enjambre": """
        WITH told AS (
            SELECT e.instance_id, e."timestamp", e.tick, split_part(e.bloque, ':', 1) AS enjambre,
                   v.key AS medida, substring(v.key FROM '\\w+') AS how, v.value::float8 AS valor,
                   (e.detalle->>'entidades')::bigint AS n,
                   (e.detalle->'means'->>v.key)::float8 AS media
              FROM {}('statistics') AS e, jsonb_each_text(e.detalle->'values') AS v
        ), sized AS (
            SELECT told.*,
                   CASE WHEN max(greatest(abs(valor), abs(media))) OVER w > 1e100 THEN 1e-200
                        WHEN max(greatest(abs(valor), abs(media))) OVER w < 1e-100 THEN 1e200
                        ELSE 1.0 END::float8 AS scale
              FROM told
            WINDOW w AS (PARTITION BY instance_id, tick, enjambre, medida)
        ), scaled AS (
            SELECT sized.*,
                   CASE WHEN abs(valor) < floor THEN 0.0 ELSE valor * scale END AS v,
                   CASE WHEN abs(media) < floor THEN 0.0 ELSE media * scale END AS m
              FROM sized,
                   LATERAL (SELECT CASE WHEN scale < 1 THEN 1e50 WHEN scale = 1 THEN 1e-150
                                        ELSE 0.0 END::float8 AS floor) AS f
        ), centred AS (
            SELECT scaled.*, sum(n * m) FILTER (WHERE v IS NOT NULL) OVER w
                   / sum(n) FILTER (WHERE v IS NOT NULL AND m IS NOT NULL) OVER w AS centro
              FROM scaled
            WINDOW w AS (PARTITION BY instance_id, tick, enjambre, medida)
        ), found AS (
            SELECT instance_id, max("timestamp") AS "timestamp", tick, enjambre, medida, how, scale,
                   min(valor) AS least, max(valor) AS largest, sum(n)::bigint AS entidades,
                   CASE how
                       WHEN 'mean' THEN sum(n * v) / sum(n) FILTER (WHERE v IS NOT NULL)
                       WHEN 'std' THEN
                           sqrt(sum(n * (v ^ 2 + CASE WHEN abs(m - centro) < 1e-150 THEN 0.0
                                                      ELSE (m - centro) ^ 2 END))
                                / sum(n) FILTER (WHERE v IS NOT NULL AND m IS NOT NULL))
                       WHEN 'sum' THEN sum(v)
                       WHEN 'count' THEN sum(v)
                   END AS number
              FROM centred
             GROUP BY instance_id, tick, enjambre, medida, how, scale
        )
        SELECT instance_id, "timestamp", tick, enjambre, medida,
               CASE WHEN how = 'min' THEN least
                    WHEN how = 'max' THEN largest
                    WHEN scale < 1 AND abs(number) > 1.797e108 THEN NULL
                    WHEN scale > 1 AND abs(number) < 3e-124 THEN 0.0
                    ELSE number / scale
               END AS valor,
               entidades
          FROM found
    """,
}


_LOOK: Final = "corec_look"
_LOCK_WAIT: Final = "1s"
_IS_OURS: Final = f"{FUNCTION}("


async def ensure_views(connection: psycopg.AsyncConnection[Any], schema: str, lock: int) -> None:
    """Make the views that are missing, and anew those of an older version.  Raises psycopg.Error
    but for a lack of rights, columns that a replacement can't change, or somebody's lock."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        for name in VIEWS:
            await _ensure(connection, schema, name)


async def _ensure(connection: psycopg.AsyncConnection[Any], schema: str, name: str) -> None:
    """One of them, or a warning: within a transaction, which goes on."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            await _function(connection, schema)
            if await _is_wanted(connection, schema, name):
                await _make(connection, schema, "CREATE OR REPLACE VIEW", name, schema)
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning("a view can't be made", view=name, error=str(error).strip())
    except psycopg.errors.LockNotAvailable as error:
        told = str(error).strip()
        log.warning("a view of an older version stays for now: somebody reads it, and the next "
                    "connection tries again", view=name, error=told)  # fmt: skip
    except psycopg.errors.InvalidFunctionDefinition as error:
        told = str(error).strip()
        log.warning("a view can't be made: a function that is not CoreC's has the name of the "
                    "one it calls: rename it", view=name, error=told)  # fmt: skip
    except psycopg.errors.InvalidTableDefinition as error:
        told = str(error).strip()
        log.warning("a view of an older version stays: drop it", view=name, error=told)


async def _is_wanted(
    connection: psycopg.AsyncConnection[Any], schema: str, name: str
) -> bool:  # fmt: skip
    """Whether nothing has the name, or a view of ours with another query than it is to have."""
    place = sql.Identifier(schema, name).as_string(connection)
    cursor = await connection.execute(
        "SELECT to_regclass(%s) IS NULL, pg_get_viewdef(to_regclass(%s))", (name, place)
    )
    missing, there = await cursor.fetchone() or (False, None)
    if missing or there is None or _IS_OURS not in there:
        return bool(missing)
    try:
        async with connection.transaction():
            await _make(connection, schema, "CREATE TEMPORARY VIEW", name)
            found = await connection.execute(
                "SELECT pg_get_viewdef(%s::regclass)", (f"pg_temp.{_LOOK}",)
            )
            wanted = await found.fetchone()
            await connection.execute(sql.SQL("DROP VIEW pg_temp.{}").format(sql.Identifier(_LOOK)))
    except psycopg.errors.InsufficientPrivilege:
        return False  # it may make no temporary ones: what is there stays
    return wanted != (there,)


async def _make(
    connection: psycopg.AsyncConnection[Any], schema: str, how: str, name: str,
    within: str | None = None,
) -> None:  # fmt: skip
    place = sql.Identifier(_LOOK) if within is None else sql.Identifier(within, name)
    query = sql.SQL(VIEWS[name]).format(sql.Identifier(schema, FUNCTION))
    await connection.execute(sql.SQL("{} {} AS {}").format(sql.SQL(how), place, query))


async def _function(connection: psycopg.AsyncConnection[Any], schema: str) -> None:
    """What the views call, unless it is there as it is to be."""
    name = sql.Identifier(schema, FUNCTION)
    cursor = await connection.execute(
        "SELECT p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND p.proname = %s",
        (schema, FUNCTION),
    )
    body = sql.SQL(_BODY).format(sql.Identifier(schema, "eventos")).as_string(connection)
    if await cursor.fetchone() != (body,):
        await connection.execute(sql.SQL(_FUNCTION).format(name, sql.Literal(body)))
