"""The embedded Valkey: life cycle, crashes, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import pytest
import redis

from corec.embedded import EmbeddedServerError, EmbeddedValkey
from tests.support.processes import command_of, listening, parent_of, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


def _server(directory: Path) -> EmbeddedValkey:
    return EmbeddedValkey(directory / "data", directory / "run")


def _add(url: str, times: int = 1) -> None:
    with redis.Redis.from_url(url) as client:
        for _ in range(times):
            client.xadd("stream", {"m": b"x" * 10})


def _length(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.xlen("stream"))


def test_starts_as_our_child_keeps_data_and_place_and_leaves_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run", progress=told.append)
    server.start()
    assert server.pid is not None
    assert parent_of(server.pid) == os.getpid()
    first_url = server.url
    _add(first_url, 7)
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    server.stop()
    assert told == ["starting Valkey"]
    assert not (tmp_path / "run").exists()
    with pytest.raises(EmbeddedServerError, match="has not been started"):
        _ = server.url

    again = _server(tmp_path)
    again.start()
    assert again.url == first_url
    assert _length(again.url) == 7
    again.stop()
    again.stop()


def test_is_set_up_for_this_use(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        for name, value in {
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "auto-aof-rewrite-min-size": str(512 << 20),
            "auto-aof-rewrite-percentage": "100",
            "rdbcompression": "no",
            "maxmemory-policy": "noeviction",
        }.items():
            assert client.config_get(name)[name] == value


@pytest.mark.parametrize("immediate", [False, True])
def test_restart_keeps_acknowledged_writes(tmp_path: Path, immediate: bool) -> None:
    server = _server(tmp_path)
    server.start()
    before = server.url
    _add(before, 5)
    server.restart(immediate=immediate)
    assert server.url == before
    assert _length(server.url) == 5
    server.stop()


def test_killed_server_comes_back_with_acknowledged_writes(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    sent = 0
    for round_number in range(4):
        with redis.Redis.from_url(server.url) as client:
            for _ in range(20 + round_number):
                # large enough for the disk to be busy with it when the kill comes
                client.xadd("stream", {"m": b"x" * 200_000})
                sent += 1
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive(), "the kill is seen")
        server.start()
        assert _length(server.url) == sent
    server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_listens_on_a_network_unless_asked_for(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    assert listening({server.pid or 0}) == set()
    assert server.password_file is None
    assert server.url == server.shown == f"unix://{server.socket_path}"
    assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
    server.stop()


def test_a_port_asks_for_the_password_in_its_file(tmp_path: Path) -> None:
    port = _free_port()
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run", port=port)
    server.start()
    assert listening({server.pid or 0}) == {port}
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis(port=port, password="") as stranger, pytest.raises(redis.RedisError):
        stranger.ping()
    assert server.password_file is not None
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
    password = server.password_file.read_text(encoding="ascii").strip()
    assert len(password) >= 32
    with redis.Redis(port=port, password=password) as client:
        client.xadd("stream", {"m": b"x"})
    assert _length(server.url) == 1  # CoreC's own address: the socket, with the password
    assert password not in server.shown
    assert password not in command_of(server.pid or 0)
    assert password not in server.log_path.read_text(encoding="utf-8")
    server.restart(immediate=True)
    with redis.Redis(port=port, password=password) as client:
        assert client.xlen("stream") == 1
    server.stop()

    bare = _server(tmp_path)  # without a port again, nothing asks for a password
    bare.start()
    with redis.Redis(unix_socket_path=str(bare.socket_path)) as client:
        assert client.xlen("stream") == 1
    bare.stop()


def test_a_given_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        server = EmbeddedValkey(tmp_path / "data", tmp_path / "run", port=port)
        with pytest.raises(EmbeddedServerError, match=f"127.0.0.1:{port} is in use; give another"):
            server.start()
    server.start()
    assert listening({server.pid or 0}) == {port}
    server.stop()


def test_a_port_taken_while_the_server_was_down_does_not_end_it(tmp_path: Path) -> None:
    told: list[str] = []
    port = _free_port()
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run", port=port, progress=told.append)
    server.start()
    _add(server.url)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), "the kill is seen")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        before = server.url
        server.start()
        assert server.url == before
        assert _length(server.url) == 1
    assert any(f"127.0.0.1:{port} is in use" in line for line in told)
    server.stop()


@pytest.mark.parametrize("kind", ["folder", "empty", "link"])
def test_a_password_file_that_is_none_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if kind == "folder":
        (data / "password").mkdir()
    elif kind == "empty":
        (data / "password").touch()
    else:
        (tmp_path / "elsewhere").write_text("word")
        (data / "password").symlink_to(tmp_path / "elsewhere")
    server = EmbeddedValkey(data, tmp_path / "run", port=_free_port())
    with pytest.raises(EmbeddedServerError, match="/data/password: ") as refused:
        server.start()
    assert "\n" not in str(refused.value)


def test_data_of_the_version_that_listened_on_a_port_is_taken_over(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    _add(server.url, 2)
    server.stop()
    (tmp_path / "data").chmod(0o755)
    (tmp_path / "data" / "port").write_text("36379\n")
    server.start()
    assert _length(server.url) == 2
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    server.stop()


def test_second_start_on_the_same_data_is_refused_and_harmless(tmp_path: Path) -> None:
    first = _server(tmp_path)
    first.start()
    with pytest.raises(EmbeddedServerError, match="already in use by this process"):
        _server(tmp_path).start()
    _add(first.url)
    first.stop()


def test_another_server_on_the_same_socket_is_refused(tmp_path: Path) -> None:
    first = EmbeddedValkey(tmp_path / "a", tmp_path / "run")
    first.start()
    with pytest.raises(EmbeddedServerError, match="already answers"):
        EmbeddedValkey(tmp_path / "b", tmp_path / "run").start()
    with redis.Redis(unix_socket_path=str(first.socket_path)) as client:
        assert client.ping()
    first.stop()


def test_a_path_too_long_for_a_socket_still_works(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "data", tmp_path / ("d" * 90) / ("e" * 90))
    server.start()
    _add(server.url)
    short = server.socket_path
    server.stop()
    assert not short.parent.exists()


def test_error_ends_with_the_servers_log(tmp_path: Path) -> None:
    server = _server(tmp_path)
    server.start()
    _add(server.url, 3)
    server.stop()
    log = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    log.write_bytes(b"garbage\r\n" * 20)
    with pytest.raises(EmbeddedServerError, match=r"(?s)did not start.*file format"):
        server.start()


def test_no_environment_of_ours_reaches_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    server = _server(tmp_path)
    server.start()
    assert server.pid is not None
    assert "hunter2" not in command_of(server.pid)
    assert b"hunter2" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    server.stop()
