"""Rows through PgBouncer, where it is installed: by sessions and by transactions, and killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from corec import layout as L
from tests.broker.test_servers import free_port
from tests.persister.small_world import expected_keys, keys_of, small_world
from tests.support.processes import listening, wait_until
from tests.support.proxied import Proxied

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed"),
]


@contextmanager
def pooling(folder: Path, port: int) -> Iterator[None]:
    """PgBouncer with the configuration in ``folder``, never as root: it refuses that."""
    user = "nobody" if os.geteuid() == 0 else None
    words = ["pgbouncer", "-q", str(folder / "pgbouncer.ini")]
    with subprocess.Popen(words, user=user) as process:
        try:
            wait_until(lambda: port in listening([process.pid]), "PgBouncer listens")
            yield
        finally:
            process.kill()


@contextmanager
def configured(server: Proxied, port: int, mode: str) -> Iterator[Path]:
    """A folder with its configuration: everybody is trusted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            "[databases]", f"* = host=127.0.0.1 port={server.proxy.port}", "[pgbouncer]",
            f"listen_port = {port}", "listen_addr = 127.0.0.1", "unix_socket_dir =",
            "auth_type = trust", f"auth_file = {folder / 'users.txt'}", f"pool_mode = {mode}",
        ]  # fmt: skip
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
        user = conninfo_to_dict(server.direct)["user"]
        (folder / "users.txt").write_text(f'"{user}" ""\n', encoding="utf-8")
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_every_row_is_there_once(shm_dir: Path, proxied: Proxied, mode: str) -> None:
    port = free_port()
    dsn = make_conninfo(proxied.direct, host="127.0.0.1", port=port)
    with configured(proxied, port, mode) as folder, small_world(shm_dir, dsn) as world:
        with pooling(folder, port):
            pid = world.start()
            world.publish_ticks(1, 3)
            wait_until(lambda: world.word(L.S_TICK) == 3, "the first rows are durable")
        world.publish_ticks(4, 5)
        wait_until(lambda: world.word(L.S_ERROR) != L.REASON_NONE, "it is told that it is away")
        with pooling(folder, port):
            wait_until(lambda: world.word(L.S_TICK) == 5, "the others are durable")
            assert world.stop(pid) == 0
        assert keys_of(proxied.direct) == expected_keys(world)
