"""Who holds an instance_id on a server: a lease in the hash ``corec:{<instance>}:owner``.

Fields: ``id`` (the holder's, see ``Owner``), ``who`` (for people), ``beat`` (changed at each
renewal). The key expires by the server's clock LEASE_SECONDS after its last renewal.

Who writes: a start claims it before it touches anything, then the broker of that instance renews
it. Each write is a MULTI behind the fence of ``link``, and a claim changes the fence's token, so a
holder that was replaced can renew no more: it finds another ``id`` and leaves (``TakenOver``).

Who is alive: the same id is always let in (its state folder is locked by one supervisor, and a
restart after a crash need not wait). Another id is watched: a ``beat`` that changes is a live
holder; a key that goes is a dead one. A clean end gives the key back. No lease decides what is
written: that is the fence's and the epoch's matter; it tells two starts apart before one begins.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Final

from corec.broker.link import Command, Link
from corec.broker.positions import Keys
from corec.process.runtime import LEASE_SECONDS, Owner

_LOOK_SECONDS: Final = 0.2


class TakenOver(Exception):
    """Another instance holds the streams now; this process must leave them alone."""


class HeldElsewhere(Exception):
    """Another live instance holds this instance_id; nothing was changed."""


def claim_commands(keys: Keys, owner: Owner) -> list[Command]:
    """Make ``owner`` the holder, for LEASE_SECONDS."""
    beat = secrets.token_hex(6)
    return [
        ("HSET", keys.owner, "id", owner.id, "who", owner.who, "beat", beat),
        ("EXPIRE", keys.owner, LEASE_SECONDS),
    ]


def release_commands(keys: Keys) -> list[Command]:
    """Give the lease back."""
    return [("HDEL", keys.owner, "id", "who", "beat")]


def is_another(fields: Mapping[bytes, bytes], owner: Owner) -> bool:
    """Whether the lease is somebody else's."""
    return bool(fields) and fields.get(b"id") != owner.id.encode()


def holder(fields: Mapping[bytes, bytes]) -> str:
    """Who holds the lease, in words."""
    return fields.get(b"who", b"an instance that says nothing of itself").decode("utf-8", "replace")


async def _fields(link: Link, keys: Keys) -> dict[bytes, bytes]:
    (found,) = await link.checked([("HGETALL", keys.owner)])
    return dict(found)


async def claim(link: Link, keys: Keys, owner: Owner, *, take_over: bool) -> None:
    """Claim the lease for ``owner``, on a connected link; waits while a holder may be dead.

    Raises HeldElsewhere for a live one (unless ``take_over``), SinkAway.
    """
    began = time.monotonic()
    first: bytes | None = None
    while is_another(fields := await _fields(link, keys), owner) and not take_over:
        first = first or fields.get(b"beat", b"")
        waited = time.monotonic() - began
        if fields.get(b"beat", b"") != first or waited > LEASE_SECONDS + 1:
            raise HeldElsewhere(holder(fields))
        await asyncio.sleep(_LOOK_SECONDS)
    await link.take_over()
    found = await _fields(link, keys)
    if is_another(found, owner) and found != fields:
        raise HeldElsewhere(holder(found))
    await link.transact((), claim_commands(keys, owner))
