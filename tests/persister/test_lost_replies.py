"""The reply to COMMIT is lost, again and again: committed or not, each row is there once."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from corec import layout as L
from tests.persister.small_world import expected_keys, keys_of, small_world
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

DROP_EVERY = 7  # a connection needs three to get going


class CommitDropper:
    """A proxy that closes the client's connection instead of passing on some replies to COMMIT.

    With ``forward`` the server got the COMMIT and carried it out; else it never saw it.
    """

    def __init__(self, listener: socket.socket, server: str, forward: bool) -> None:
        self.listener = listener
        self.server = server
        self.forward = forward
        self.commits = 0
        self.dropped = 0
        self.closing = False

    def run(self) -> None:
        """Serve one connection after the other until told to end."""
        while not self.closing:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            client, _ = self.listener.accept()
            with client, socket.socket(socket.AF_UNIX) as upstream:
                upstream.connect(self.server)
                with contextlib.suppress(OSError):
                    self._serve(client, upstream)

    def _serve(self, client: socket.socket, upstream: socket.socket) -> None:
        while not self.closing:
            readable, _, _ = select.select([client, upstream], [], [], 0.05)
            for end in readable:
                data = end.recv(1 << 16)
                if not data:
                    return
                if end is upstream:
                    client.sendall(data)
                    continue
                commit = b"COMMIT\0" in data
                self.commits += commit
                if commit and self.commits % DROP_EVERY == 0:
                    self.dropped += 1
                    if self.forward:
                        upstream.sendall(data)
                        upstream.recv(1 << 16)
                    return
                upstream.sendall(data)


@pytest.fixture
def listener(servers_dir: Path) -> Iterator[socket.socket]:
    folder = servers_dir / "proxy"
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / ".s.PGSQL.5432"))
        listening.listen()
        yield listening
    (folder / ".s.PGSQL.5432").unlink()


@pytest.mark.parametrize("forward", [True, False])
def test_lost_replies(forward: bool, shm_dir: Path, pg_dsn: str, listener: socket.socket) -> None:
    parts = conninfo_to_dict(pg_dsn)
    folder = Path(listener.getsockname()).parent
    proxied = make_conninfo(pg_dsn, host=str(folder))
    proxy = CommitDropper(listener, f"{parts['host']}/.s.PGSQL.{parts['port']}", forward)
    with small_world(shm_dir, proxied, capacity=1 << 13) as world:
        pid = world.start()
        thread = threading.Thread(target=proxy.run)  # after the fork
        thread.start()
        try:
            world.publish_ticks(1, 200, repairs=1)
            # a stop waits a few seconds for a server that fails, and no longer
            wait_until(lambda: world.word(L.S_TICK) == 200, "everything is durable", 120)
            assert world.stop(pid) == 0
        finally:
            proxy.closing = True
            thread.join()
        assert proxy.dropped >= 3
        assert keys_of(pg_dsn) == expected_keys(world)
        assert world.count(L.P_ROWS) == len(world.sent) == 1200
    with psycopg.connect(pg_dsn) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT (tick, entidad)) FROM eventos")
        assert row.fetchone() == (1200, 1200)
