"""Other servers than the session's: a Cluster, one with a password, one that is killed."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from corec import layout as L
from corec.embedded import EmbeddedValkey
from corec.embedded.wheels import valkey_program
from tests.broker.support import Instance, SwarmSpec, message, pack
from tests.broker.test_in import collect_readings
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
Make = Callable[..., Instance]


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def valkey_with(folder: Path, *options: str, port: int = 0) -> Iterator[int]:
    """A server with options of its own; yields its port."""
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    program = str(valkey_program())
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    server = subprocess.Popen([*command, "--save", "", *options], stdout=subprocess.DEVNULL)
    try:

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        wait_until(answers, "the server listens")
        yield port
    finally:
        server.kill()
        server.wait()


def test_cluster(instance: Make, tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with valkey_with(tmp_path / "node", *options) as port:
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(
                lambda: b"cluster_state:ok" in bytes(client.execute_command("CLUSTER", "INFO")),
                "the Cluster is up",
            )
        one = instance(url=f"redis://127.0.0.1:{port}")
        one.rt.redis_url = f"redis+cluster://127.0.0.1:{port}"
        pid = one.start()
        one.run_tick(1)
        one.add(1, {"m": message(3, 1, 0.5)})
        one.add(1, {"m": b"rubbish"})
        assert collect_readings(one, 1) == [(1, 3, 0.5, 1)]
        one.run_tick(2)
        one.drain(pid)
        one.check_ledger()
        assert len(one.dead()) == 1
        # a new world's renames stay in the slot
        new = instance(url=one.url, epoch=8)
        pid = new.start()
        new.run_tick(1)
        new.drain(pid)
        new.check_ledger()


def test_password(instance: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A refused login is shown as such, without the password; then it is right."""
    with valkey_with(tmp_path / "node", "--requirepass", "s3cret-word") as port:
        one = instance(url=f"redis://:wr0ng-word@127.0.0.1:{port}/0")
        pid = one.start()
        slot = one.rt.slot(L.SLOT_BROKER)
        wait_until(lambda: slot.get(L.S_ERROR) == L.REASON_REFUSED, "the refusal is shown")
        one.kill(pid)
        one.url = one.rt.redis_url = f"redis://:s3cret-word@127.0.0.1:{port}/0"
        pid = one.start()
        one.run_tick(1)
        one.drain(pid)
        one.check_ledger()
    written = "".join(capfd.readouterr())
    assert "wr0ng-word" not in written
    assert "s3cret-word" not in written


def test_server_comes_late(instance: Make, tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run")
    server.start()  # its address is the same at every start
    url = server.url
    server.stop()
    one = instance(url=url)
    pid = one.start()
    slot = one.rt.slot(L.SLOT_BROKER)
    wait_until(lambda: slot.get(L.S_ERROR) == L.REASON_UNREACHABLE, "it is shown")
    wait_until(lambda: slot.get(L.S_STATE) == L.PROC_WAITING_SINK, "it waits")
    one.run_tick(1)
    server.start()
    try:
        one.drain(pid)
        one.check_ledger()
    finally:
        server.stop()


def test_killed_servers_and_brokers(instance: Make, tmp_path: Path) -> None:
    """Both directions while the server and the broker are killed in turn."""
    server = EmbeddedValkey(tmp_path / "data", tmp_path / "run")
    server.start()
    try:
        one = instance(url=server.url)
        pid = one.start()
        found: list[float] = []
        sent: list[float] = []
        for tick in range(1, 61):
            one.run_tick(tick)
            values = [tick + i / 64 for i in range(20)]
            one.add(1, {"m": pack([(i, 1, v) for i, v in enumerate(values)]) + b"?" * 10})
            sent += values
            found += [reading[2] for reading in one.readings()]
            if tick % 15 == 0:
                server.restart(immediate=True)
            if tick % 20 == 7:
                one.kill(pid)
                pid = one.start()
        found += [reading[2] for reading in collect_readings(one, len(sent) - len(found), 20)]
        one.drain(pid)
        one.check_ledger()
        assert found == sent
        assert len(one.dead()) == one.count(L.B_DEAD) == 60
        assert one.state().total_in[1] == len(sent)
    finally:
        server.stop()


def test_throughput_beside_a_plain_client(instance: Make, valkey: EmbeddedValkey) -> None:
    """Messages out of many small frames, against the same bytes sent ready-made by a client.

    A ratio of one run on one machine: the merge must not cost much more than the sending.
    """
    one = instance(lane_bytes=1 << 25, swarms=(SwarmSpec(1, 1000),), maxlen=100)
    payload = one.payload(1, 0, 10)
    ticks, blocks = 100, 1000
    total = ticks * blocks * 10
    for tick in range(1, ticks + 1):
        for block in range(blocks):
            assert one.push(tick, block, payload)
    one.commit(ticks)
    with one.redis() as client:
        began = time.perf_counter()
        for tick in range(ticks):
            client.xadd("plain", {"m": payload * blocks, "n": 10_000, "t": tick}, maxlen=100)
        plain_seconds = time.perf_counter() - began
    pid = one.start()
    wait_until(lambda: one.rt.slot(L.SLOT_BROKER).get(L.S_BEAT_NS), "it runs")
    began = time.perf_counter()
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == total, "everything is sent", 30)
    seconds = time.perf_counter() - began
    one.drain(pid)
    assert seconds < 5 * plain_seconds + 0.5
