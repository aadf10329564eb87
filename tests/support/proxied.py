"""Fixture ``proxied``: the test's database behind a proxy that the test can close and freeze."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from corec.lab.chaos.proxy import Proxy


class Proxied(NamedTuple):
    """Two ways to one database."""

    dsn: str
    """Through the proxy, and ``url`` the same."""
    direct: str
    proxy: Proxy

    @property
    def url(self) -> str:
        """Through the proxy, as COREC_DB_URL takes it."""
        parts = conninfo_to_dict(self.direct)
        return f"postgresql://{parts['user']}@127.0.0.1:{self.proxy.port}/{parts['dbname']}"


@pytest.fixture
def proxied(pg_dsn: str) -> Iterator[Proxied]:
    """The test's database, directly and behind a proxy."""
    parts = conninfo_to_dict(pg_dsn)
    with Proxy(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy:
        dsn = make_conninfo(pg_dsn, host="127.0.0.1", port=proxy.port)
        yield Proxied(dsn, pg_dsn, proxy)
