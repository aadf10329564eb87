"""Which of libpq's environment variables reach CoreC's connections to PostgreSQL.

libpq fills whatever a connection string leaves open from some forty variables of the environment:
`PGHOSTADDR` alone sends every connection to another server, `PGOPTIONS` or `PGCLIENTENCODING`
change what a session does. Where the server is and how a session behaves is the configuration's
affair, so CoreC connects as if they were not set:

* to an embedded server, all of them;
* to a server that the configuration names, all but `HONOURED`: how to prove who one is, and TLS.

The variables are taken out for the time of one connect and put back: the process's own environment,
and what it hands on to the user's code, stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HONOURED: Final = frozenset({
    "PGPASSWORD", "PGPASSFILE", "PGREQUIREAUTH", "PGCHANNELBINDING",
    "PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLCERT", "PGSSLKEY", "PGSSLCERTMODE", "PGSSLROOTCERT",
    "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION",
    "PGGSSENCMODE", "PGKRBSRVNAME", "PGGSSLIB", "PGGSSDELEGATION", "PGSERVICEFILE", "PGSYSCONFDIR",
})  # fmt: skip
"""With a server that the configuration names; the last two matter only to a URL with `service=`."""
PREFIX: Final = "PG"


@contextmanager
def shielded(*, embedded: bool) -> Iterator[None]:
    """While it lasts, libpq does not see the variables it must not: wrap the connect alone."""
    kept = frozenset() if embedded else HONOURED
    taken = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and name not in kept
    }
    for name in taken:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(taken)


def forget() -> None:
    """Take all of them out for good: in a process that speaks to servers of its own alone."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
