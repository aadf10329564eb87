"""The embedded PostgreSQL: life cycle, crashes, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from corec.embedded import EmbeddedPostgres, EmbeddedServerError
from tests.support.processes import command_of, parent_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


def _server(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", directory / "run")


def _put(dsn: str, number: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def _kept(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def test_starts_as_our_child_keeps_data_and_leaves_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run", progress=told.append)
    server.start()
    assert server.alive()
    assert server.pid is not None
    assert parent_of(server.pid) == os.getpid()
    _put(server.dsn, 1)
    server.stop()
    assert told == ["creating the PostgreSQL database files", "starting PostgreSQL"]
    assert not server.alive()
    assert server.pid is None
    assert not (tmp_path / "run").exists()
    with pytest.raises(EmbeddedServerError, match="has not been started"):
        _ = server.dsn

    again = _server(tmp_path)
    again.start()
    assert _kept(again.dsn) == [1]
    again.stop()
    again.stop()


def test_is_set_up_for_this_use(tmp_path: Path) -> None:
    server = _server(tmp_path)  # the session's waits for no disk
    server.start()
    with psycopg.connect(server.dsn) as connection:
        for name, value in {
            "wal_level": "minimal",
            "synchronous_commit": "on",
            "fsync": "on",
            "jit": "off",
            "max_wal_size": "4GB",
            "listen_addresses": "",
            "server_encoding": "UTF8",
        }.items():
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert row == (value,), name
    server.stop()


@pytest.mark.parametrize("immediate", [False, True])
def test_restart_keeps_committed_data(tmp_path: Path, immediate: bool) -> None:
    server = _server(tmp_path)
    server.start()
    _put(server.dsn, 1)
    before = server.pid
    server.restart(immediate=immediate)
    assert server.pid != before
    assert _kept(server.dsn) == [1]
    server.stop()


def test_killed_server_comes_back_with_committed_data(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    for round_number in range(3):
        _put(server.dsn, round_number)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive(), "the kill is seen")
        server.start()
    assert _kept(server.dsn) == [0, 1, 2]
    server.stop()


def test_frozen_server_is_stopped_and_cleaned_up(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert not (tmp_path / "run").exists()


def test_stale_pid_file_naming_a_living_process_does_not_stop_a_start(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    assert server.pid is not None
    pid_file = tmp_path / "data" / "pgdata" / "postmaster.pid"
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), "the kill is seen")
    server.stop()
    _, rest = pid_file.read_text().split("\n", 1)
    pid_file.write_text(f"{os.getppid()}\n{rest}")
    server.start()
    server.stop()


def test_stopping_after_a_kill_removes_its_shared_memory(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    assert server.pid is not None
    pid_file = tmp_path / "data" / "pgdata" / "postmaster.pid"
    _key, number = pid_file.read_text().splitlines()[6].split()
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), "the kill is seen")
    server.stop()
    rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    assert number not in {row.split()[1] for row in rows}


def test_a_killed_initdb_is_done_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "data" / "pgdata.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = _server(tmp_path)
    server.start()
    _put(server.dsn, 1)
    server.stop()
    assert not unfinished.exists()


def test_second_start_on_the_same_data_is_refused_and_harmless(tmp_path: Path) -> None:
    first = _server(tmp_path)
    first.start()
    second = _server(tmp_path)
    with pytest.raises(EmbeddedServerError, match="already in use by this process"):
        second.start()
    _put(first.dsn, 1)
    assert _kept(first.dsn) == [1]
    first.stop()


def test_another_server_in_the_same_socket_directory_is_refused(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "a", tmp_path / "run")
    second = EmbeddedPostgres(tmp_path / "b", tmp_path / "run")
    first.start()
    with pytest.raises(EmbeddedServerError, match="already listens"):
        second.start()
    _put(first.dsn, 1)
    assert _kept(first.dsn) == [1]
    first.stop()


def test_error_ends_with_the_servers_log(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    server.stop()
    (tmp_path / "data" / "custom.conf").write_text("shared_buffers = nonsense\n")
    with pytest.raises(EmbeddedServerError) as caught:
        server.start()
    assert "did not start" in str(caught.value)
    assert 'invalid value for parameter "shared_buffers"' in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "data" / "custom.conf").unlink()
    server.start()
    server.stop()


def test_a_path_too_long_for_a_socket_still_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    server = EmbeddedPostgres(tmp_path / "data", deep)
    server.start()
    _put(server.dsn, 1)
    with psycopg.connect(server.dsn) as connection:
        short = Path(connection.info.host)
    server.stop()
    assert not short.exists()
    assert not short.parent.exists()


def test_no_secret_and_no_environment_of_ours_reaches_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    server = _server(tmp_path)
    server.start()
    assert server.pid is not None
    assert "hunter2" not in command_of(server.pid) + server.dsn
    if os.geteuid() != 0 or _may_read_anybody(server.pid):
        assert b"hunter2" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    server.stop()


def _may_read_anybody(pid: int) -> bool:
    try:
        Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_wants_the_password_in_its_file_and_the_socket_does_not(tmp_path: Path) -> None:
    port = _free_port()
    told: list[str] = []
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run", port=port, progress=told.append)
    server.start()
    password = (tmp_path / "data" / "password").read_text(encoding="ascii").strip()
    by_port = f"host=127.0.0.1 port={port} user=corec dbname=corec"
    with psycopg.connect(f"{by_port} password={password}") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("corec",)
    for refused in (by_port, f"{by_port} password=wrong", by_port.replace("dbname=corec", "")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(refused)
    assert password not in server.dsn
    assert password not in server.log_path.read_text(encoding="utf-8")
    with psycopg.connect(server.dsn) as connection:
        stored = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'corec'")
        assert str(stored.fetchone()).startswith("('SCRAM-SHA-256$")

    server.restart()
    with psycopg.connect(f"{by_port} password={password}"):
        pass
    before = server.dsn
    assert server.pid is not None
    os.kill(server.pid, signal.SIGQUIT)
    wait_until(lambda: not server.alive(), "it ends")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        server.start()  # it goes on, on its socket alone
        assert server.dsn == before
        with psycopg.connect(server.dsn):
            pass
        server.stop()
        with pytest.raises(EmbeddedServerError, match=f"127.0.0.1:{port} is in use; give another"):
            server.start()
    assert any(f"127.0.0.1:{port} is in use" in line for line in told)


def test_data_of_a_cluster_that_trusted_everybody_is_taken_over(tmp_path: Path) -> None:
    """Who may log in is written anew at each start, whatever an earlier version left."""
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "run")
    server.start()
    server.stop()
    for name in ("pg_hba.conf", "pgdata/pg_hba.conf"):
        (tmp_path / "data" / name).write_text("local all all trust\nhost all all all trust\n")
    server.start()
    with psycopg.connect(server.dsn) as connection:
        rules = connection.execute("SELECT type, auth_method FROM pg_hba_file_rules").fetchall()
    assert rules == [("local", "peer")]
    server.stop()
