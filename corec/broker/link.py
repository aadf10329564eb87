"""One connection to Redis: pipelines without any retry, MULTI with a fence, errors sorted by kind.

redis-py makes the connection (URL, TLS, login, RESP3); commands go over it directly, because its
pipelines re-send themselves on errors and a re-sent XADD is a duplicate.

The fence.  A reply that is lost leaves a question: was the MULTI executed, is it still to be, in
some buffer on the way, or never?  Whoever connects writes a token of its own into the position
hash first.  Every MULTI is preceded by WATCH of that hash and a look at the token, both answered
before MULTI is sent.  So a MULTI that has not run when somebody else connects never will (WATCH),
and a connection that was replaced sends no other (token): what the hash says after the token was
written is final.  That fences a predecessor that was killed, a connection that timed out and a
broker that froze and woke up alike.

On a Cluster all keys share one slot: redis-py's cluster client finds the node that owns it, and an
ordinary connection goes there. MOVED, ASK or CLUSTERDOWN end that connection; the next one asks
again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from redis import exceptions as X
from redis.asyncio import ConnectionPool
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from corec import layout as L
from shm.killpoint import kill_point

CONNECT_SECONDS: Final = 5.0
REPLY_SECONDS: Final = 20.0
LAST_ID: Final = f"{2**64 - 1}-{2**64 - 1}"
"""The largest id of an entry: nothing can be added to a stream that ever had it."""
_BEFORE_LAST: Final = f"{2**64 - 1}-{2**64 - 2}"

Command = tuple[Any, ...]


class SinkAway(Exception):
    """Redis cannot be used now. ``reason`` is an ``L.REASON_*``; the text names no secret."""

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Fenced(SinkAway):
    """Another connection took over or the hash changed: nothing of the MULTI was executed."""

    def __init__(self) -> None:
        super().__init__(L.REASON_SERVER_ERROR, "somebody else wrote to the position hash")


class PartlyExecuted(SinkAway):
    """Commands of an executed MULTI failed: what they carried is not in the streams."""


def sort_error(error: BaseException, key: str | None = None) -> SinkAway:
    """``error`` of redis-py or of the operating system as a SinkAway; ``key``: of the command."""
    text = f"{type(error).__name__}: {error}"[:300] if str(error) else "no answer in time"
    code = str(error).partition(" ")[0]
    if code == "WRONGTYPE" and key is not None:
        text = f"{key} holds something else than CoreC keeps there, rename it; {text}"
    refused = (X.AuthenticationError, X.AuthorizationError, X.NoPermissionError)
    if isinstance(error, refused) or code in ("NOAUTH", "WRONGPASS", "NOPERM"):
        return SinkAway(L.REASON_REFUSED, text)
    if isinstance(error, X.OutOfMemoryError) or code in ("OOM", "MISCONF"):
        return SinkAway(L.REASON_FULL, text)
    if isinstance(error, (X.ResponseError, X.BusyLoadingError, X.RedisClusterException)):
        return SinkAway(L.REASON_SERVER_ERROR, text)
    return SinkAway(L.REASON_UNREACHABLE, text)


def at_its_end(key: str) -> SinkAway:
    """What is to be done about a stream with LAST_ID."""
    return SinkAway(
        L.REASON_SERVER_ERROR,
        f"{key} has had an entry with the last id there is, so nothing can be added; rename it",
    )


def key_of(command: Command) -> str | None:
    """The key that a command is about, ``one of …`` when there are several; None: it has none."""
    name, *words = command
    if name == "EVAL":
        keys = words[2 : 2 + int(words[1])]
    elif name in ("XREAD", "XREADGROUP"):
        keys = words[words.index("STREAMS") + 1 :]
        keys = keys[: len(keys) // 2]
    else:
        keys = words[1:2] if name in ("XINFO", "XGROUP") else words[:1]
    if len(keys) > 1:
        return f"one of {', '.join(map(str, keys))}"
    return str(keys[0]) if keys else None


class Link:
    """A connection to the server that owns ``key``'s slot. Every error closes it."""

    def __init__(self, url: str, key: str, cluster: bool = False) -> None:
        """``key``: the position hash, which the fence uses. ``url``: ``redis://…``,
        ``rediss://…`` or ``unix://…``; ``+cluster`` in its scheme asks for a Cluster, too."""
        scheme, rest = url.split("://", 1)
        self._cluster = cluster or scheme.endswith("+cluster")
        self._url = f"{scheme.removesuffix('+cluster')}://{rest}"
        self._key = key
        self._token = secrets.token_hex(8)
        self._connection: Any = None
        self._refusing: set[str] = set()
        """Streams that did not take an entry: they are asked whether they can."""

    @property
    def connected(self) -> bool:
        """Whether ``call`` can be used."""
        return self._connection is not None

    def shown(self) -> str:
        """Where the server is, without a secret."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def connect(self) -> None:
        """Connect and log in. Raises SinkAway."""
        await self.close()
        options: dict[str, Any] = {
            "protocol": 3,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": REPLY_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
        }
        if not self._url.startswith("unix"):
            options["socket_keepalive"] = True
        pool: Any = ConnectionPool.from_url(self._url, **options)
        try:
            if self._cluster:
                host, port = await self._owner()
                pool.connection_kwargs.update(host=host, port=port)
            connection = pool.make_connection()
            async with asyncio.timeout(CONNECT_SECONDS * 2):
                await connection.connect()
        except (X.RedisError, OSError) as error:
            raise sort_error(error) from None
        self._connection = connection

    async def close(self) -> None:
        """Drop the connection without waiting."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            except (X.RedisError, OSError):
                pass  # it was gone already

    async def call(
        self, commands: Sequence[Command], timeout_seconds: float = REPLY_SECONDS
    ) -> list[Any]:
        """Send ``commands`` in one go; their replies, an error reply as an exception object.

        Raises SinkAway when the connection fails or a reply does not come in time.
        """
        await self._send(commands)
        return await self._receive(len(commands), timeout_seconds)

    async def checked(
        self, commands: Sequence[Command], timeout_seconds: float = REPLY_SECONDS
    ) -> list[Any]:
        """Like ``call``, but an error reply closes the link and is raised as SinkAway."""
        replies = await self.call(commands, timeout_seconds)
        await self._raise_first(replies, commands)
        return replies

    async def take_over(self) -> dict[bytes, bytes]:
        """Put this connection's token into the hash ``key``; returns all its fields, final now.

        Raises SinkAway.
        """
        self._token = secrets.token_hex(8)
        _, fields = await self.checked(
            [("HSET", self._key, "writer", self._token), ("HGETALL", self._key)]
        )
        return dict(fields)

    async def transact(self, streams: Iterable[str], commands: Sequence[Command]) -> list[Any]:
        """Run ``commands`` in one MULTI; returns their replies once EXEC is confirmed.

        To be called after ``take_over``. ``streams`` must be streams or absent: a command that
        fails inside EXEC would not stop the others. Raises Fenced, PartlyExecuted or SinkAway.
        """
        await self._look_at(list(streams))
        await self._send([("MULTI",), *commands, ("EXEC",)])
        kill_point("broker.multi_sent")
        replies = await self._receive(len(commands) + 2, REPLY_SECONDS)
        done = replies[-1]
        if done is None:
            await self.close()
            raise Fenced
        await self._raise_first(replies)
        failed = [reply for reply in done if isinstance(reply, Exception)]
        if failed:
            await self.close()
            for command, reply in zip(commands, done, strict=True):
                if isinstance(reply, Exception) and (key := key_of(command)) is not None:
                    self._refusing.add(key)
            text = f"{len(failed)} of {len(done)} commands of a MULTI failed: {failed[0]}"
            raise PartlyExecuted(L.REASON_SERVER_ERROR, text)
        return list(done)

    async def _look_at(self, names: list[str]) -> None:
        """WATCH the hash; see that nobody else took over, and that ``names`` can take an entry.
        Raises Fenced, SinkAway."""
        looks: list[Command] = [("WATCH", self._key), ("HGET", self._key, "writer")]
        looks += [("TYPE", name) for name in names]
        sure = len(looks)
        if names:
            looks.append(("XREAD", "COUNT", 1, "STREAMS", *names, *[_BEFORE_LAST] * len(names)))
        refusing = sorted(self._refusing.intersection(names))
        looks += [("XINFO", "STREAM", name) for name in refusing]
        replies = await self.call(looks)
        await self._raise_first(replies[:sure], looks)
        if replies[1] != self._token.encode():
            await self.close()
            raise Fenced
        for name, kind in zip(names, replies[2:sure], strict=True):
            if kind not in (b"stream", b"none"):
                await self.close()
                found = kind.decode("ascii", "replace")
                raise SinkAway(
                    L.REASON_SERVER_ERROR, f"{name} holds a {found}, not a stream; rename it"
                )
        await self._raise_first(replies[sure : sure + 1], looks[sure:])
        ended = [bytes(name).decode() for found in replies[sure : sure + 1] for name in found or {}]
        for name, info in zip(refusing, replies[sure + 1 :], strict=True):
            if isinstance(info, dict) and info[b"last-generated-id"] == LAST_ID.encode():
                ended.append(name)
        if ended:
            await self.close()
            raise at_its_end(ended[0])
        self._refusing.difference_update(names)

    async def _raise_first(self, replies: list[Any], commands: Sequence[Command] = ()) -> None:
        for at, reply in enumerate(replies):
            if isinstance(reply, Exception):
                await self.close()
                key = key_of(commands[at]) if at < len(commands) else None
                raise sort_error(reply, key) from None

    async def _send(self, commands: Sequence[Command]) -> None:
        connection = self._connection
        if connection is None:
            raise SinkAway(L.REASON_UNREACHABLE, "not connected")
        try:
            await connection.send_packed_command(
                connection.pack_commands(commands), check_health=False
            )
        except (X.RedisError, OSError) as error:
            await self.close()
            raise sort_error(error) from None
        except BaseException:
            await self.close()
            raise

    async def _receive(self, count: int, timeout_seconds: float) -> list[Any]:
        replies: list[Any] = []
        try:
            async with asyncio.timeout(timeout_seconds):
                while len(replies) < count:
                    try:
                        replies.append(
                            await self._connection.read_response(
                                disable_decoding=True, disconnect_on_error=False
                            )
                        )
                    except X.ResponseError as error:
                        replies.append(error)
        except (X.RedisError, OSError) as error:
            await self.close()
            raise sort_error(error) from None
        except BaseException:
            await self.close()
            raise
        return replies

    async def _owner(self) -> tuple[str, int]:
        """Address of the node that owns the key's slot. Raises redis-py's errors."""
        async with asyncio.timeout(CONNECT_SECONDS * 2):
            client = RedisCluster.from_url(self._url, socket_connect_timeout=CONNECT_SECONDS)
            try:
                await client.initialize()
                node = client.get_node_from_key(self._key)
            finally:
                await client.aclose()
        if node is None:
            raise X.ClusterDownError(f"no node owns the slot of {self._key}")
        return str(node.host), int(node.port)
