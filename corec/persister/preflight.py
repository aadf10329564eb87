"""Whether CoreC can write into a database, asked once at the start, before anything ticks.

What is found here would not pass by itself: ticks would run and no row would ever come. So the
start is refused with the reason. What may pass (a server that is away, a full disk, a role whose
rights are taken away later) is not looked for: the spool is for that.
"""

from __future__ import annotations

from typing import Any

import psycopg

from corec.persister.reasons import ForeignSchema
from corec.persister.schema import BASE, FOUND, Found, judge_schema, known_tables

VERSION_MIN = 14
ENCODING = "UTF8"

_SESSION = """
    SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
           current_schema()::text, current_user::text, current_database()::text,
           current_setting('search_path')
"""
_MAY_CREATE = "SELECT has_schema_privilege(%s, 'CREATE')"
_OWNERS = """
    SELECT c.relname::text, pg_get_userbyid(c.relowner)::text,
           pg_has_role(c.relowner, 'USAGE'),
           has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
      FROM pg_class c
     WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
     ORDER BY 1
"""
_GIVE = "give CoreC a role that may create tables there, or another database"


def unfit(connection: psycopg.Connection[Any]) -> str | None:
    """Why no row could be written over ``connection``, and what to do; None: nothing is wrong.

    Raises psycopg.Error: the server did not answer these questions.
    """
    version = connection.info.server_version
    if version < VERSION_MIN * 10_000:
        return f"found version {version // 10_000}, expected {VERSION_MIN} or newer"
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        return (
            f"the database's encoding is {encoding}, expected {ENCODING}: "
            f"CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0"
        )
    row = connection.execute(_SESSION).fetchone()
    assert row is not None  # one row of settings
    standby, read_only, schema, user, database, path = row
    if standby:
        return (
            "it is a standby and takes no rows: name the primary, or several hosts with "
            "target_session_attrs=read-write"
        )
    if read_only:
        return (
            f"transactions of role {user} in database {database} are read-only: set "
            "default_transaction_read_only = off for them"
        )
    return _unfit_tables(connection, schema, user, path)


def _unfit_tables(
    connection: psycopg.Connection[Any], schema: str | None, user: str, path: str
) -> str | None:
    rows = connection.execute(FOUND, (known_tables(),)).fetchall()
    found: Found = {name: (kind, place, types) for name, kind, place, types in rows}
    try:
        schema = judge_schema(found) if any(name in found for name in BASE) else schema
    except ForeignSchema as error:
        return str(error)
    if schema is None:
        return f"none of the schemas in search_path ({path}) is there: CREATE SCHEMA, or set it"
    may_create = connection.execute(_MAY_CREATE, (schema,)).fetchone()
    if may_create is None or not may_create[0]:
        return f"role {user} may not create tables in schema {schema}: GRANT CREATE, or {_GIVE}"
    for name, owner, owned, usable in connection.execute(_OWNERS, (list(found),)).fetchall():
        if not owned:
            return (
                f"table {schema}.{name} belongs to role {owner} and {user} cannot make partitions "
                f"of it: ALTER TABLE … OWNER TO {user}, or {_GIVE}"
            )
        if not usable:
            return f"role {user} may not read and write table {schema}.{name}: GRANT ALL"
    return None
