"""Where PostgreSQL and Redis are: an embedded server, a host with its keys, or a whole URL."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from corec.config.keys import Section, key

DB_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
DB_URL_ALLOWED = (
    "a URL such as postgresql://user:password@host:5432/dbname, special characters written as %XX"
)
REDIS_URL_ALLOWED = (
    "a URL of one node that starts with redis://, rediss://, unix://, redis+cluster:// or"
    " rediss+cluster://, special characters written as %XX, at most a database's number behind the"
    " host, and no options but db, username, password, client_name, health_check_interval, socket_…"
    " and ssl_… as redis-py has them"
)


def _digits(value: object) -> object:
    """The original's first file writes a port as a string of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        return int(value)
    return value


Port = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=65_535)],
    BeforeValidator(_digits, json_schema_input_type=int | str),
]
_PORT_ALLOWED = "an integer from 1 to 65535 (or its digits as a string, like the original)"
_REDIS_DATABASE = re.compile(r"/?|/\d{1,9}/?", re.ASCII)
_REDIS_OPTIONS = re.compile(
    "db|username|password|client_name|health_check_interval|(?:socket|ssl)_[a-z_]+"
)
_BARE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})|%00")
_TEXT = r"^[^\x00\r\n]*$"


def known_url(url: str, schemes: tuple[str, ...]) -> bool:
    """Whether ``url`` can be taken apart, has one of ``schemes`` and says where the server is.

    An ``@`` after the host is refused: it means a password with a bare ``/``, ``?`` or ``#`` in
    it, of which ``shown_url`` would show a part. What libpq would quote in its error is refused
    here, for PostgreSQL: a bare ``%`` (it shows the whole password) and a second ``@`` (it shows
    what follows the first as a host name).
    """
    try:
        parts = urlsplit(url)
        several = "," in parts.netloc and parts.scheme in DB_SCHEMES
        if not several and parts.port == 0:
            return False
    except ValueError:
        return False
    if parts.scheme not in schemes or any(char.isspace() or char < " " for char in url):
        return False
    if not url.startswith(f"{parts.scheme}://") or "@" in parts.path + parts.query + parts.fragment:
        return False
    if parts.scheme in DB_SCHEMES:
        return parts.netloc.count("@") <= 1 and not _BARE_PERCENT.search(url)
    if parts.scheme == "unix":
        return bool(parts.path) and options_known(url)
    at_one = "," not in parts.netloc and bool(parts.hostname)
    return at_one and bool(_REDIS_DATABASE.fullmatch(parts.path)) and options_known(url)


def options_known(url: str) -> bool:
    """Whether redis-py, which looks at the options of a URL when it connects, takes all that a
    Redis URL has."""
    query = urlsplit(url).query
    if not query:
        return True
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    if not names or not all(map(_REDIS_OPTIONS.fullmatch, names)):
        return False
    import redis  # no quick thing, and few URLs have options
    import redis.asyncio

    try:
        for pool in (redis.ConnectionPool, redis.asyncio.ConnectionPool):
            made: Any = pool.from_url(url.replace("+cluster", "", 1))
            made.make_connection()
    except (AttributeError, TypeError, ValueError, redis.RedisError):
        return False
    return True


def secrets_in(url: str) -> list[str]:
    """Every part of ``url`` that must not be shown, as written and with its ``%XX`` read."""
    parts = urlsplit(url)
    _user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = [password]
    for name, _, value in (pair.partition("=") for pair in parts.query.split("&")):
        if "password" in name.lower():
            found.append(value)
    return [text for one in found if one for text in {one, unquote(one)}]


def shown_url(url: str) -> str:
    """``url`` without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _quoted(value: str) -> str:
    """A value as libpq reads it in ``key='value'``."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


class DbConfig(Section):
    """PostgreSQL, version 14 or newer."""

    embedded: bool = key(
        "true or false",
        "True: start a PostgreSQL of CoreC's own, with its data in state_dir.",
        False,
        strict=True,
    )
    dbname: str | None = key(
        "a string of 1 to 63 characters",
        "Database name.",
        None,
        min_length=1,
        max_length=63,
        pattern=_TEXT,
    )
    user: str | None = key(
        "a string of 1 to 63 characters",
        "Role to connect as.",
        None,
        min_length=1,
        max_length=63,
        pattern=_TEXT,
    )
    password: SecretStr | None = key(
        "a string",
        "The role's password; better given by POSTGRES_PASSWORD or its file.",
        None,
        max_length=65_536,
    )
    host: str | None = key(
        "a host name, an address or the folder of a Unix socket",
        "Where the server is.",
        None,
        min_length=1,
        max_length=1024,
        pattern=_TEXT,
    )
    port: Port = key(
        _PORT_ALLOWED,
        "The server's TCP port; beside embedded: true, one of 127.0.0.1 to open with a password.",
        5432,
    )
    url: SecretStr | None = key(
        DB_URL_ALLOWED,
        "Everything in one URL, TLS options included; COREC_DB_URL sets this.",
        None,
    )

    @property
    def own_port(self) -> int | None:
        """The loopback port that the embedded server opens beside its socket; None: no port."""
        return self.port if self.embedded and "port" in self.model_fields_set else None

    def conninfo(self) -> str:
        """libpq's connection string, **password included**: hand it to psycopg, never print it.

        Raises ``ValueError`` for an embedded server, whose address is known once it runs.
        """
        if self.embedded:
            raise ValueError("an embedded PostgreSQL has no address before it was started")
        password = _reveal(self.password)
        url = _reveal(self.url)
        if url is not None:
            parts = urlsplit(url)
            user = parts.netloc.rpartition("@")[0]
            if password and ":" not in user and "password" not in dict(parse_qsl(parts.query)):
                url += ("&" if parts.query else "?") + "password=" + quote(password, safe="")
            return url
        values = {
            "host": self.host,
            "port": str(self.port),
            "dbname": self.dbname,
            "user": self.user,
            "password": password,
        }
        return " ".join(f"{name}={_quoted(value)}" for name, value in values.items() if value)

    def secrets(self) -> list[str]:
        """Every text that must never be shown."""
        return [*filter(None, [_reveal(self.password)]), *secrets_in(_reveal(self.url) or "")]

    def shown(self) -> str:
        """Where the server is, for logs and errors; never a secret."""
        if self.embedded:
            return "embedded PostgreSQL"
        url = _reveal(self.url)
        return shown_url(url) if url else f"{self.host}:{self.port}/{self.dbname}"


class RedisConfig(Section):
    """Redis 7 or Valkey 8, or newer; standalone or Cluster."""

    embedded: bool = key(
        "true or false",
        "True: start a Valkey of CoreC's own, with its data in state_dir.",
        False,
        strict=True,
    )
    host: str | None = key(
        "a host name, an address or the path of a Unix socket",
        "Where the server is.",
        None,
        min_length=1,
        max_length=1024,
        pattern=r"^[^\x00-\x20@]*$",
    )
    port: Port = key(
        _PORT_ALLOWED,
        "The server's TCP port; beside embedded: true, one of 127.0.0.1 to open with a password.",
        6379,
    )
    username: str | None = key(
        "a string of at most 256 characters",
        "ACL user; leave it out for the default user.",
        None,
        max_length=256,
        pattern=_TEXT,
    )
    password: SecretStr | None = key(
        "a string",
        "The user's password; better given by REDIS_PASSWORD or its file.",
        None,
        max_length=65_536,
    )
    url: SecretStr | None = key(
        REDIS_URL_ALLOWED,
        "Everything in one URL, TLS and Cluster included; COREC_REDIS_URL sets this.",
        None,
    )

    @property
    def own_port(self) -> int | None:
        """The loopback port that the embedded server opens beside its socket; None: no port."""
        return self.port if self.embedded and "port" in self.model_fields_set else None

    @property
    def cluster(self) -> bool:
        """True when the URL asks for a Redis Cluster client (``redis+cluster://``)."""
        url = _reveal(self.url)
        return url is not None and urlsplit(url).scheme.endswith("+cluster")

    def connection_url(self) -> str:
        """The URL for redis-py's ``from_url``, **password included**: never print it.

        ``redis+cluster://`` is given as ``redis://``; ask ``cluster`` which client to make.
        Raises ``ValueError`` for an embedded server, whose address is known once it runs.
        """
        if self.embedded:
            raise ValueError("an embedded Valkey has no address before it was started")
        password = _reveal(self.password)
        url = _reveal(self.url)
        if url is None:
            user = quote(self.username or "", safe="")
            host = self.host or "localhost"
            login = f"{user}:{quote(password, safe='')}@" if password else user and f"{user}@"
            if host.startswith("/"):
                return f"unix://{login}{quote(host)}"
            return f"redis://{login}{f'[{host}]' if ':' in host else host}:{self.port}"
        scheme, rest = url.split("://", 1)
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        if password and ":" not in user and "password" not in dict(parse_qsl(parts.query)):
            rest = f"{user}:{quote(password, safe='')}@" + rest.removeprefix(f"{user}@")
        return f"{scheme.removesuffix('+cluster')}://{rest}"

    def secrets(self) -> list[str]:
        """Every text that must never be shown."""
        return [*filter(None, [_reveal(self.password)]), *secrets_in(_reveal(self.url) or "")]

    def shown(self) -> str:
        """Where the server is, for logs and errors; never a secret."""
        if self.embedded:
            return "embedded Valkey"
        url = _reveal(self.url)
        return shown_url(url) if url else f"{self.host}:{self.port}"
