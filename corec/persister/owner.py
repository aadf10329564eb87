"""Who holds an instance_id in a database: one row of ``corec_owners`` for each, that runs out.

As ``broker.owner`` does it on Redis: a start claims the row before it touches anything, the
persister of that instance renews it; ``until`` is of the server's clock. The same id (of a state
folder) is always let in, another one once the row has run out, or by wish. Whoever finds that
another id holds it is fenced: it leaves. What is written stays the matter of ``offsets``' epochs.
"""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg

from corec.persister.offsets import Fenced
from corec.process.runtime import LEASE_SECONDS, RENEW_SECONDS, Owner

_LOOK_SECONDS: Final = 0.2

_THERE: Final = "SELECT to_regclass('corec_owners') IS NOT NULL"
_HOLDER: Final = "SELECT id, who, until::text FROM corec_owners WHERE instance_id = %s"
_CLAIM: Final = """
    INSERT INTO corec_owners AS o (instance_id, id, who, until)
    VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))
    ON CONFLICT (instance_id) DO UPDATE
       SET id = excluded.id, who = excluded.who, until = excluded.until
     WHERE o.id = excluded.id OR o.until < clock_timestamp() OR %s
"""
_RELEASE: Final = "DELETE FROM corec_owners WHERE instance_id = %s AND id = %s"


class HeldElsewhere(Exception):
    """Another live instance holds this instance_id; nothing was changed. The text: who it is."""


def _values(instance_id: str, owner: Owner, take_over: bool) -> tuple[Any, ...]:
    return (instance_id, owner.id, owner.who, LEASE_SECONDS, take_over)


def claim(
    connection: psycopg.Connection[Any], instance_id: str, owner: Owner, *, take_over: bool
) -> None:
    """Claim the row for ``owner``; waits while a holder may be dead. Commits.

    Raises HeldElsewhere for a live one (unless ``take_over``), psycopg.Error.
    """
    connection.commit()
    connection.autocommit = True
    there = connection.execute(_THERE).fetchone()
    if there is None or not there[0]:
        return  # nobody ever wrote here
    began = time.monotonic()
    first: str | None = None
    while not connection.execute(_CLAIM, _values(instance_id, owner, take_over)).rowcount:
        row = connection.execute(_HOLDER, (instance_id,)).fetchone()
        _, who, until = row or ("", "an instance that is just leaving", "")
        first = first or until
        if row and (until != first or time.monotonic() - began > LEASE_SECONDS + 1):
            raise HeldElsewhere(who)
        time.sleep(_LOOK_SECONDS)


class Lease:
    """The persister's side: keeps the row."""

    def __init__(self, instance_id: str, owner: Owner | None) -> None:
        """``owner`` None: there is nobody to tell apart, and no row."""
        self._instance_id = instance_id
        self._owner = owner
        self._due = 0.0
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def begin(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Claim it on a new connection, the tables being there. Raises as ``keep``."""
        self._connection, self._due = connection, 0.0
        await self.keep()

    async def keep(self) -> None:
        """Renew it if it is due. Raises Fenced, psycopg.Error."""
        if self._owner is None or time.monotonic() < self._due:
            return
        execute = self._begun().execute
        cursor = await execute(_CLAIM, _values(self._instance_id, self._owner, False))
        if not cursor.rowcount:
            cursor = await execute(_HOLDER, (self._instance_id,))
            row = await cursor.fetchone()
            raise Fenced(f"another instance has taken {self._instance_id} over: "
                         f"{row[1] if row else 'unknown'}")  # fmt: skip
        self._due = time.monotonic() + RENEW_SECONDS

    async def release(self) -> None:
        """Give it back. Raises psycopg.Error."""
        if self._owner is not None:
            await self._begun().execute(_RELEASE, (self._instance_id, self._owner.id))

    def _begun(self) -> psycopg.AsyncConnection[Any]:
        assert self._connection is not None, "begin comes first"
        return self._connection
