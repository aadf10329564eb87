"""A real Cluster on loopback: three primaries and their replicas, made without any tool."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from tests.support.processes import wait_until

SLOTS = 16_384


class Cluster:
    """Six nodes; ``nodes`` are their ports, the first three began as primaries."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.nodes = _free_ports(6)
        self._servers: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """By way of the last node, which owns nothing at first."""
        return f"redis+cluster://127.0.0.1:{self.nodes[-1]}"

    def ask(self, port: int, *words: Any) -> Any:
        """One command to one node."""
        with redis.Redis(port=port, socket_timeout=5) as client:
            return client.execute_command(*words)

    def start(self) -> None:
        """Start the nodes, let them meet, deal out the slots, attach the replicas."""
        buses = _free_ports(6)
        for port, bus in zip(self.nodes, buses, strict=True):
            home = self.folder / str(port)
            home.mkdir()
            self._servers[port] = subprocess.Popen(
                [
                    str(self.program), "--port", str(port), "--bind", "127.0.0.1", "--dir",
                    str(home), "--save", "", "--appendonly", "yes", "--cluster-enabled", "yes",
                    "--cluster-port", str(bus), "--cluster-node-timeout", "2000",
                    "--cluster-config-file", "nodes.conf",
                ],
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        for port in self.nodes:
            wait_until(partial(self._answers, port), f"node {port} answers", 20)
        first = self.nodes[0]
        for port, bus in zip(self.nodes[1:], buses[1:], strict=True):
            self.ask(first, "CLUSTER", "MEET", "127.0.0.1", port, bus)
        for k, port in enumerate(self.nodes[:3]):
            low, high = SLOTS * k // 3, SLOTS * (k + 1) // 3 - 1
            self.ask(port, "CLUSTER", "ADDSLOTSRANGE", low, high)
        for port in self.nodes:
            wait_until(partial(self._knows_all, port), "the nodes know all", 30)
        for primary, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            self.ask(replica, "CLUSTER", "REPLICATE", self.id_of(primary))
        wait_until(self.is_up, "the Cluster is up", 60)
        for replica in self.nodes[3:]:
            wait_until(partial(self._follows, replica), "the replica follows", 30)

    def is_up(self) -> bool:
        """Whether every living node says that the Cluster is in order."""
        return all(
            b"cluster_state:ok" in _bytes(self.ask(port, "CLUSTER", "INFO"))
            for port in self.nodes
            if port in self._servers
        )

    def id_of(self, port: int) -> str:
        """A node's name."""
        return _bytes(self.ask(port, "CLUSTER", "MYID")).decode()

    def owner(self, key: str, asked: int | None = None) -> int:
        """The port of the node that owns ``key``'s slot, as a living node sees it."""
        slot = key_slot(key.encode())
        living = next(port for port in self.nodes if port in self._servers)
        for low, high, node, *_ in self.ask(asked or living, "CLUSTER", "SLOTS"):
            if int(low) <= slot <= int(high):
                return int(node[1])
        raise AssertionError(f"nobody owns slot {slot}")

    def kill(self, port: int) -> None:
        """kill -9."""
        server = self._servers.pop(port)
        server.send_signal(signal.SIGKILL)
        server.wait()

    def move(self, key: str, to: int) -> None:
        """Move ``key``'s slot with everything in it, as a resharding tool does."""
        slot, source = key_slot(key.encode()), self.owner(key)
        self.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
        while keys := self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.ask(source, "MIGRATE", "127.0.0.1", to, "", 0, 5000, "KEYS", *keys)
        for port in (to, source, *self.nodes):
            if port in self._servers and self._is_primary(port):
                self.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))

    def close(self) -> None:
        """End every node."""
        for port in list(self._servers):
            self.kill(port)

    def _answers(self, port: int) -> bool:
        with contextlib.suppress(redis.RedisError, OSError):
            return bool(self.ask(port, "PING"))
        return False

    def _knows_all(self, port: int) -> bool:
        lines = _bytes(self.ask(port, "CLUSTER", "NODES")).splitlines()
        return len([line for line in lines if b"handshake" not in line]) == len(self.nodes)

    def _follows(self, port: int) -> bool:
        return b"master_link_status:up" in _bytes(self._info(port))

    def _is_primary(self, port: int) -> bool:
        return b"role:master" in _bytes(self._info(port))

    def _info(self, port: int) -> Any:
        with socket.create_connection(("127.0.0.1", port), 5) as link:
            link.sendall(b"INFO replication\r\n")
            return link.recv(65_536)


@contextlib.contextmanager
def cluster(program: Path, folder: Path) -> Iterator[Cluster]:
    """A Cluster that is up; gone afterwards."""
    made = Cluster(program, folder)
    try:
        made.start()
        yield made
    finally:
        made.close()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _bytes(reply: Any) -> bytes:
    if isinstance(reply, dict):  # redis-py takes CLUSTER INFO and NODES apart
        return "\n".join(f"{name}:{value}" for name, value in reply.items()).encode()
    return reply if isinstance(reply, bytes) else str(reply).encode()
