"""``corec-ctl sql`` and ``corec-ctl redis``: ask an instance's two servers without their clients.

The embedded servers listen where nobody would guess, and the machine may have no ``psql`` and no
``redis-cli``. Each command makes one connection of its own; the instance is not involved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from corec.config import Config, ConfigError, load_config
from corec.control.discover import Instance, Starting, redis_address
from corec.libpq import shielded
from corec.log import mask
from corec.terminal import harmless

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 5
CELL_MAX = 60
CELL_MAX_PIPED = 1 << 20
LINE_MAX = 1000


class AskFailed(Exception):
    """A server refused or can't be reached; the text holds no password."""


class Away(AskFailed):
    """It can't be reached."""


def _config(instance: Instance, address: str) -> Config | None:
    """What says the password of the server at ``address``; None: it needs none, being embedded.

    Somebody may just be writing the file: an embedded server is asked all the same.
    """
    try:
        return load_config(Path(instance.config_path)) if instance.config_path else None
    except ConfigError:
        if instance.folder in unquote(address):
            return None
        raise


@contextmanager
def database(instance: Instance) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the instance's database; what is done in it is committed at its end.

    Raises:
        AskFailed: what PostgreSQL answered.
        ConfigError: the instance's configuration file, which has the password, can't be read.
        Starting: it has no database yet.
    """
    import psycopg  # a client's import takes longer than most commands: at its use

    config = _config(instance, instance.db)
    embedded = config is None or config.db.embedded
    if embedded and not instance.db:
        raise Starting(instance)  # to libpq, no address is any server of this machine
    conninfo = instance.db if config is None or config.db.embedded else config.db.conninfo()
    try:
        with shielded(embedded=embedded):
            opened = psycopg.connect(conninfo, connect_timeout=CONNECT_SECONDS)
    except psycopg.Error as error:  # in one line: libpq writes several for one fault
        raise AskFailed(mask(" ".join(str(error).split()))) from None
    try:
        with opened as connection:
            yield connection
    except psycopg.Error as error:
        raise AskFailed(mask(str(error).strip())) from None


def sql(instance: Instance, query: str) -> list[dict[str, Any]]:
    """Run ``query`` in the instance's database: columns, rows and status of each statement.

    Several statements run in one transaction, committed at the end. Raises as ``database``.
    """
    import psycopg  # as in ``database``

    with database(instance) as connection:
        try:
            cursor = connection.execute(query.encode())
        except psycopg.ProgrammingError:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                raise
            connection.close()  # a COPY is open, which only closing ends
            raise AskFailed(
                "found a COPY from or to the client, expected a query; use psql, or corec export"
            ) from None
        found = [_result(cursor)]
        while cursor.nextset():
            found.append(_result(cursor))
        return found


def _result(cursor: psycopg.Cursor[Any]) -> dict[str, Any]:
    columns = [column.name for column in cursor.description or ()]
    rows = [[_plain(value) for value in row] for row in cursor] if columns else []
    return {"columns": columns, "rows": rows, "status": cursor.statusmessage}


def ask_redis(instance: Instance, words: list[str]) -> Any:
    """Send one command to the instance's Redis or Valkey; its answer as JSON data.

    ``\\xHH`` in a word is one byte, as in ``redis-cli``.

    Raises:
        AskFailed: what the server answered.
        ConfigError: as for ``sql``.
    """
    with streams(instance) as client:
        return _plain(client.execute_command(*(to_bytes(word) for word in words)))


def redis_url(instance: Instance) -> str:
    """Where its Redis or Valkey is, password included. Raises ConfigError, Starting as
    ``database``."""
    config = _config(instance, instance.redis_url)
    external = config is not None and not config.redis.embedded
    return config.redis.connection_url() if config and external else redis_address(instance)


@contextmanager
def streams(instance: Instance) -> Iterator[Any]:
    """A client of the instance's Redis or Valkey (a ``redis.Redis`` or ``redis.RedisCluster``).

    Raises:
        Away: the server can't be reached, or goes away. AskFailed: what else it answered.
        ConfigError, Starting: as for ``database``.
    """
    with client_of(redis_url(instance)) as client:
        yield client


@contextmanager
def client_of(url: str) -> Iterator[Any]:
    """A client of the Redis or Valkey at ``url``. Raises as ``streams``."""
    import redis  # as for ``database``

    cluster = url.startswith(("redis+cluster://", "rediss+cluster://"))
    kind = redis.RedisCluster if cluster else redis.Redis
    try:
        with kind.from_url(
            url.replace("+cluster", "", 1), socket_connect_timeout=CONNECT_SECONDS
        ) as client:
            yield client
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Away(mask(str(error).strip())) from None
    except redis.RedisError as error:
        raise AskFailed(mask(str(error).strip())) from None


def to_bytes(word: str) -> bytes:
    """The bytes that ``word`` stands for, ``\\xHH`` read as one; raises ``AskFailed``."""
    head, *escaped = word.split("\\x")
    data = head.encode()
    for part in escaped:
        try:
            data += bytes([int(part[:2], 16)]) + part[2:].encode()
        except ValueError:
            raise AskFailed(f"\\x{part[:2]}: expected two hexadecimal digits") from None
    return data


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it; bytes that are no printable text become ``\\xHH``."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (bytes, memoryview)):
        data = bytes(value)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        return text if text.isprintable() else "".join(f"\\x{byte:02x}" for byte in data)
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")  # as in to_json
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def sql_tables(results: list[dict[str, Any]], cell_max: int = CELL_MAX) -> RenderableType:
    """The answers of statements for human eyes; values longer than ``cell_max`` are cut."""
    return Group(*(_sql_table(one, cell_max) for one in results))


def _sql_table(data: dict[str, Any], cell_max: int) -> RenderableType:
    if not data["columns"]:
        return Text(data["status"] or "")  # an empty query has none
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in data["columns"]:
        table.add_column(column, no_wrap=True)
    for row in data["rows"]:
        table.add_row(*(_cut(value, cell_max) for value in row))
    return table


def redis_text(data: Any, indent: str = "") -> Text:
    """An answer for human eyes: one line for each item, nested ones indented."""
    if isinstance(data, dict):
        data = [item for pair in data.items() for item in pair]
    if not isinstance(data, list):
        return Text(indent + harmless(_cut(data, LINE_MAX)))
    deeper = indent + "  "
    return Text("\n").join(
        redis_text(one, deeper if isinstance(one, (list, dict)) else indent) for one in data
    )


def _cut(value: Any, most: int) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
