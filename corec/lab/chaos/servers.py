"""The two servers of a chaos run, and the proxies through which the instance reaches them.

They are children of this process, not of the instance: so they can be away for as long as the
schedule says, and stay when the supervisor is killed.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict

from corec.embedded.postgres import EmbeddedPostgres
from corec.embedded.valkey import EmbeddedValkey
from corec.lab.chaos.proxy import Proxy

NAMES: Final = ("postgres", "valkey")
END_SECONDS: Final = 20.0


class Servers:
    """``start`` them first, ``stop`` them last."""

    def __init__(self, data: Path, sockets: Path) -> None:
        self.postgres = EmbeddedPostgres(data / "postgres", sockets / "pg")
        self.valkey = EmbeddedValkey(data / "valkey", sockets / "redis")
        self.proxies: dict[str, Proxy] = {}

    def start(self) -> None:
        """Both servers and both proxies. Raises EmbeddedServerError."""
        self.postgres.start()
        self.valkey.start()
        parts: dict[str, Any] = conninfo_to_dict(self.postgres.dsn)
        self.proxies["postgres"] = Proxy(Path(parts["host"]) / f".s.PGSQL.{parts['port']}")
        self.proxies["valkey"] = Proxy(self.valkey.socket_path)

    def environment(self) -> dict[str, str]:
        """Where the instance finds them: through the proxies."""
        parts = conninfo_to_dict(self.postgres.dsn)
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        where = f"{parts['user']}@127.0.0.1:{ports['postgres']}/{parts['dbname']}"
        return {
            "COREC_DB_URL": f"postgresql://{where}",
            "COREC_REDIS_URL": f"redis://127.0.0.1:{ports['valkey']}/0",
        }

    def kill(self, name: str) -> None:
        """PostgreSQL stops at once and without a checkpoint, Valkey is killed."""
        server = self._server(name)
        if server.pid is not None:
            os.kill(server.pid, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)

    def revive(self, name: str) -> None:
        """Start a killed server again; returns when it takes connections."""
        server = self._server(name)
        deadline = time.monotonic() + END_SECONDS
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        server.start()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server."""
        pid = self._server(name).pid
        if pid is not None:
            os.kill(pid, number)

    def _server(self, name: str) -> EmbeddedPostgres | EmbeddedValkey:
        return self.postgres if name == "postgres" else self.valkey

    def stop(self) -> None:
        """End the proxies and the servers."""
        for proxy in self.proxies.values():
            proxy.close()
        self.proxies.clear()
        self.valkey.stop()
        self.postgres.stop()
