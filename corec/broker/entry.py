"""What a start asks of the configured Redis before it touches anything: is it fit, is it ours?

Run by the supervisor, on a loop of its own that is gone before anything is forked. The commands are
those that the broker needs anyway, and ``INFO``: a user that may not ask it is let in unexamined.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from corec.broker.link import Link, SinkAway, sort_error
from corec.broker.owner import claim
from corec.broker.positions import Keys
from corec.process.runtime import Owner

OLDEST: Final = {"redis": (7, 0), "valkey": (8, 0)}
_FIELD: Final = re.compile(rb"^([a-z_]+):(.*?)\r?$", re.MULTILINE)


class Unfit(Exception):
    """This server can't be used as it is; the text says why and what to do."""


def judge(info: Mapping[str, str], *, cluster: bool) -> str | None:
    """Why a server that says ``info`` of itself is no use; None when it is fine."""
    kind = "valkey" if "valkey_version" in info else "redis"
    version = info.get(f"{kind}_version", "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        return f"found {kind.capitalize()} {version}, expected {oldest} or newer; upgrade it"
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys-"):
        return (
            f"found maxmemory-policy {policy}, which deletes streams that nobody has read and the "
            "positions beside them; expected noeviction (or volatile-…): CONFIG SET "
            "maxmemory-policy noeviction, and streams.max_mb bounds what CoreC keeps"
        )
    if info.get("role") == "slave" and not cluster:
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        return f"found a read-only replica of {primary}, expected a primary; configure that one"
    return None


def parse_info(text: bytes) -> dict[str, str]:
    """The fields of the reply to INFO."""
    return {name.decode(): value.decode("utf-8", "replace") for name, value in _FIELD.findall(text)}


async def _enter(url: str, keys: Keys, cluster: bool, owner: Owner | None, take_over: bool) -> None:
    link = Link(url, keys.pos, cluster)
    await link.connect()
    try:
        hash_reply, info = await link.call([("HGETALL", keys.pos), ("INFO",)])
        if not isinstance(info, Exception):
            text = info if isinstance(info, bytes) else bytes(info)
            reason = judge(parse_info(text), cluster=cluster)
            if reason is not None:
                raise Unfit(reason)
        if isinstance(hash_reply, Exception):
            raise sort_error(hash_reply, keys.pos)
        if owner is not None:
            await claim(link, keys, owner, take_over=take_over)
    finally:
        await link.close()


def enter(
    url: str, instance_id: str, *, cluster: bool, owner: Owner | None = None,
    take_over: bool = False,
) -> None:  # fmt: skip
    """Reach the server, see whether it can be used, and claim the lease for ``owner``.

    Raises:
        SinkAway: it can't be reached, or refuses. Unfit: it must not be used as it is.
        HeldElsewhere: another live instance holds this instance_id.
    """
    asyncio.run(_enter(url, Keys(instance_id), cluster, owner, take_over))


__all__ = ["SinkAway", "Unfit", "enter", "judge", "parse_info"]
