"""One connection that appends batches of entries to a stream, each batch exactly once.

Theory. A batch is one transaction, MULTI · XADD… · SET marker n · EXEC, where the marker is a key
of this replay alone, in the stream's hash slot, that holds the number of the last batch the
server applied. It is written only here, and watched from before the batch is sent (WATCH is
armed on connecting and again in the same write as each batch, after its EXEC). So:

- The reply is lost (server or network gone after EXEC): on the next connection the marker says n,
  and the batch is not sent again.
- The request is lost: the marker says n-1, and the batch is sent again.
- The request is delayed (a frozen server has it in a socket buffer while we reconnect): either it
  is executed before we read the marker, and we see n; or after our read but before our EXEC,
  which then aborts because the marker changed; or after our EXEC, and then it aborts itself,
  because its own connection watched the marker, too.
- The server loses its data (no persistence): stream and marker go together, since both were
  written by the same EXEC, and `Wire.recover` says so.

Entry ids are the server's ('*'), so any other writer may use the same stream at the same time.
Explicit ids would not do: a writer with a faster clock makes ours too small, and a refused id
cannot be told from one that was applied and trimmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from corec.config.servers import options_known
from corec.replay.lead import StreamId, parse_stream_id
from corec.replay.series import ReplayInputError

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 30.0
MARKER_TTL_S = 24 * 3600
"""The marker of a replay that was killed disappears after this long."""

CLUSTER_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
SCHEMES = ("redis", "rediss", "unix", *CLUSTER_SCHEMES)

FAULTS = (RedisError, RedisClusterException, OSError)

# Refusals that pass: the server loads, fails over, moves a slot, is out of memory or disk.
PASSING = (
    "LOADING", "READONLY", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN",
    "NOREPLICAS", "OOM", "MISCONF", "BUSY", "EXECABORT",
)  # fmt: skip


URL_EXPECTED = (
    "the Redis URL cannot be read; expected redis://[user:password@]host:port[/db],"
    " rediss://…, unix:///path or redis+cluster://… (percent-encode the password)"
)


class ReplayError(RuntimeError):
    """Publishing failed for good; the message is one line without secrets."""


class Outage(Exception):
    """The server cannot take a batch now, and may later."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the reading instance stands.

    `exists` says whether it has ever stored a position; `applied` is 0-0 until it has applied an
    entry of this stream.
    """

    exists: bool
    applied: StreamId


@dataclass(frozen=True, slots=True)
class Names:
    """The keys of one replay; all in the hash slot of the instance."""

    stream: str
    position: str
    position_field: str
    marker: str
    message_field: str = "m"
    """Of an entry: ``m``, or ``v`` for readings of several values."""


def names_for(instance_id: str, canal: int, token: str, message_field: str = "m") -> Names:
    prefix = f"corec:{{{instance_id}}}"
    return Names(
        f"{prefix}:in:{canal}", f"{prefix}:pos", f"in:{canal}", f"{prefix}:replay:{token}",
        message_field,
    )  # fmt: skip


def describe_url(url: str) -> str:
    """host:port or the socket path: what may be shown. Raises ReplayInputError for a bad URL,
    without quoting it (a password with a stray / can look like a port)."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not options_known(url):
            raise ValueError
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    except ValueError:
        raise ReplayInputError(URL_EXPECTED) from None


class Wire:
    """Opens on construction. Raises Outage when the server cannot be reached or refuses for now,
    ReplayError when it refuses for good. After either, throw the wire away."""

    def __init__(self, url: str, names: Names) -> None:
        self.where = describe_url(url)
        self._names = names
        self.resumed = False  # whether the marker must be read before the next batch
        self._client: Any = None
        try:
            self._client, pool = _open_pool(url, names.stream)
            self._connection: Any = pool.get_connection()
            self._call(("WATCH", names.marker))
        except FAULTS as error:
            self.close()
            raise self._judge(error) from None

    def close(self) -> None:
        if self._client is not None:
            connection = getattr(self, "_connection", None)
            if connection is not None:
                connection.disconnect()
            self._client.close()
            self._client = None

    def batches_applied(self) -> int | None:
        """The marker: how many batches the server holds, None if it knows none."""
        reply = self._ask(("GET", self._names.marker))
        return None if reply is None else int(reply)

    def append(
        self, number: int, frames: Sequence[bytes]
    ) -> tuple[list[StreamId] | None, Position]:
        """Send batch `number`: (the ids of its entries, or None when the marker was changed by an
        earlier attempt and nothing was written; the reader's position)."""
        names = self._names
        commands: list[tuple[Any, ...]] = [("MULTI",)]
        commands += [("XADD", names.stream, "*", names.message_field, frame) for frame in frames]
        commands += [
            ("SET", names.marker, number, "EX", MARKER_TTL_S),
            ("EXEC",),
            ("WATCH", names.marker),
            *self._position_commands(),
        ]
        replies = self._exchange(commands)
        done = replies[len(frames) + 2]
        written = done if isinstance(done, list) else []
        for reply in (*replies, *written):
            if isinstance(reply, Exception):
                raise self._judge(reply)
        position = _position(replies[-2:])
        if done is None:
            return None, position
        return [parse_stream_id(entry) for entry in done[:-1]], position

    def position(self) -> Position:
        replies = self._exchange(list(self._position_commands()))
        for reply in replies:
            if isinstance(reply, Exception):
                raise self._judge(reply)
        return _position(replies)

    def last_id(self) -> StreamId:
        """The newest id of the stream, whoever wrote it; 0-0 when there is none."""
        reply = self._ask(("XREVRANGE", self._names.stream, "+", "-", "COUNT", 1))
        return parse_stream_id(reply[0][0]) if reply else (0, 0)

    def stream_bytes(self) -> int:
        """The server's memory for the stream (sampled by it), 0 when there is none."""
        return int(self._ask(("MEMORY", "USAGE", self._names.stream)) or 0)

    def forget_marker(self) -> None:
        self._ask(("DEL", self._names.marker))

    def _position_commands(self) -> tuple[tuple[Any, ...], ...]:
        names = self._names
        return ("HGET", names.position, names.position_field), ("EXISTS", names.position)

    def _call(self, command: tuple[Any, ...]) -> Any:
        (reply,) = self._exchange_raw([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _ask(self, command: tuple[Any, ...]) -> Any:
        try:
            return self._call(command)
        except FAULTS as error:
            raise self._judge(error) from None

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        try:
            return self._exchange_raw(commands)
        except FAULTS as error:
            raise self._judge(error) from None

    def _exchange_raw(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """One write, all replies; an error reply is an item, a broken connection raises."""
        connection = self._connection
        connection.send_packed_command(connection.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except ResponseError as error:
                replies.append(error)
        return replies

    def _judge(self, error: Exception) -> Exception:
        reason = " ".join(str(error).split()) or type(error).__name__
        line = f"Redis at {self.where}: {reason}"
        if isinstance(error, (AuthenticationError, AuthorizationError)):
            return ReplayError(line)
        if isinstance(error, ResponseError):
            code = getattr(error, "status_code", None) or reason.partition(" ")[0]
            return Outage(line) if code in PASSING else ReplayError(line)
        return Outage(line)


def _open_pool(url: str, stream: str) -> tuple[Any, Any]:
    """(the client to close, the connection pool of the server that holds `stream`)."""
    # redis-py would repeat a whole pipeline on its own and lose the WATCH: retries are ours.
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": REPLY_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
    }
    scheme, separator, rest = url.partition("://")
    if scheme in CLUSTER_SCHEMES:
        cluster: Any = RedisCluster.from_url(CLUSTER_SCHEMES[scheme] + separator + rest, **options)
        node = cluster.get_node_from_key(stream)
        if node is None:
            cluster.close()
            raise redis.ConnectionError("no node of the cluster serves the instance's hash slot")
        return cluster, cluster.get_redis_connection(node).connection_pool
    try:
        client = redis.Redis.from_url(url, **options)
    except ValueError:
        raise ReplayInputError(URL_EXPECTED) from None
    return client, client.connection_pool


def _position(replies: Sequence[Any]) -> Position:
    applied, exists = replies
    return Position(bool(exists), parse_stream_id(applied) if applied else (0, 0))
