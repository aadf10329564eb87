"""A small instance by hand: real segments and lanes, a broker in a forked child, a ledger."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import redis

import corec.broker.process  # noqa: F401  # compiled here, not anew in each forked broker
from corec import layout as L
from corec.broker.positions import Keys
from corec.broker.state import SinkState, parse_state
from corec.config import Config
from corec.layout.frames import message_word
from corec.plan import Plan
from corec.process.runtime import Runtime
from shm import killpoint
from shm.lane import Lane, lane_region_bytes
from shm.segment import Segment
from shm.wake import Doorbell
from tests.support.processes import wait_until

MESSAGE = struct.Struct("!Ibf?")
INSTANCE = "corec1"


@dataclass(frozen=True)
class SwarmSpec:
    """A swarm of the small world: blocks of ten entities."""

    canal: int
    blocks: int = 2
    kind: str = "micro"
    alerts: bool = False
    values: tuple[str, ...] = ()


DEFAULT_SWARMS = (SwarmSpec(1, 3, "micro", alerts=True), SwarmSpec(-2, 2, "celu"))
PER_BLOCK = 10


def make_plan(specs: Sequence[SwarmSpec]) -> Plan:
    """What the broker needs of a plan."""
    swarms, of_block, first_id = [], [], 0
    for index, spec in enumerate(specs):
        processor = SimpleNamespace(
            name=f"proc{index}", kind=spec.kind, alerts=spec.alerts, value_name="lectura",
            values=spec.values, alert_columns=(),
        )  # fmt: skip
        entities = spec.blocks * PER_BLOCK
        swarms.append(
            SimpleNamespace(
                index=index, id=f"s{index}", canal=spec.canal, entidades=entities,
                first_id=first_id, processor=processor,
            )
        )  # fmt: skip
        of_block += [index] * spec.blocks
        first_id += entities
    blocks = np.zeros(len(of_block), [("swarm", "<u4")])
    blocks["swarm"] = of_block
    plan = SimpleNamespace(swarms=tuple(swarms), blocks=blocks, entidades=first_id)
    return cast(Plan, plan)


def message(entity: int, canal: int, valor: float = 0.75, activo: bool = True) -> bytes:
    """Ten bytes as the contract has them."""
    return MESSAGE.pack(entity, canal, valor, activo)


@dataclass
class Ledger:
    """What was published on the out lanes: by (tick, canal), the messages."""

    entries: dict[tuple[int, int], Counter[bytes]] = field(default_factory=dict)

    def add(self, tick: int, canal: int, payload: bytes) -> None:
        """``payload`` was published, once."""
        counter = self.entries.setdefault((tick, canal), Counter())
        counter.update(payload[i : i + 10] for i in range(0, len(payload), 10))

    @property
    def messages(self) -> int:
        """How many."""
        return sum(counter.total() for counter in self.entries.values())


class Instance:
    """One runtime; ``close`` removes everything it made."""

    def __init__(
        self, folder: Path, url: str, *, lanes: int = 2, lane_bytes: int = 1 << 16,
        inbox_bytes: int = 1 << 16, swarms: Sequence[SwarmSpec] = DEFAULT_SWARMS,
        epoch: int = 7, state_dir: str = "var/state", **streams: Any,
    ) -> None:  # fmt: skip
        self.url = url
        self.keys = Keys(INSTANCE)
        self.plan = make_plan(swarms)
        self.folder = folder / f"i{time.monotonic_ns()}"
        self.folder.mkdir()
        self.specs = list(swarms)
        words = L.control_words(lanes)
        self.segments: list[Segment] = []
        control = self._segment("control", words * 8)
        config = Config.model_validate(
            {
                "instance_id": INSTANCE, "state_dir": state_dir,
                "bloques": [{"id": "a", "canal": 1, "entidades": 10}],
                "streams": {"batch_ms": 5, **streams},
            }
        )
        doorbells = [
            Doorbell(control.words, L.slot_base(slot) + L.S_SLEEPING)
            for slot in range(L.SLOT_WORKER0 + lanes)
        ]
        self.rt = Runtime(
            config=config,
            plan=self.plan,
            folder=self.folder,
            control_segment=control,
            world=control,
            inbox=self._lane("in", inbox_bytes),
            out=[self._lane(f"out-{k}", lane_bytes) for k in range(lanes)],
            rows=[],
            events={"broker": self._lane("events", 1 << 14)},
            doorbells=doorbells,
            db_conninfo="",
            redis_url=url,
            journal=self._lane("journal", 1 << 14),
        )
        self.rt.set(L.C_WORLD_EPOCH, epoch)
        self.rt.set(L.C_WORKERS, lanes)
        self.ledger = Ledger()
        self.children: list[int] = []

    def _segment(self, name: str, size: int) -> Segment:
        segment = Segment.create(
            self.folder / name, kind="test", layout_hash=1, payload_bytes=size, epoch=1
        )
        self.segments.append(segment)
        return segment

    def _lane(self, name: str, capacity: int) -> Lane:
        return Lane.create(self._segment(name, lane_region_bytes(capacity)).payload)

    # -- the workers' side

    def lane_of(self, block: int) -> int:
        """Blocks are dealt out in contiguous ranges."""
        return block * self.rt.lanes // len(self.plan.blocks)

    def push(self, tick: int, block: int, payload: bytes, step: int = 0) -> bool:
        """Publish one frame of messages as a worker would, of a tick that went."""
        self.rt.set(L.C_GO_TICK, max(tick, self.rt.get(L.C_GO_TICK)))
        canal = self.specs[int(self.plan.blocks["swarm"][block])].canal
        lane = self.rt.out[self.lane_of(block)]
        return lane.push(
            L.KIND_MESSAGES_FRAME, payload, a=block, b=len(payload) // 10,
            c=message_word(canal, step), tick=tick,
        )  # fmt: skip

    def payload(self, tick: int, block: int, count: int) -> bytes:
        """``count`` messages that no other (tick, block) makes."""
        canal = self.specs[int(self.plan.blocks["swarm"][block])].canal
        base = block * PER_BLOCK
        return b"".join(
            message(base + i % PER_BLOCK, canal, float(tick) + i / 65_536) for i in range(count)
        )

    def emit(self, tick: int, block: int, count: int, step: int = 0) -> None:
        """Publish a frame, waiting for room, and enter it into the ledger."""
        payload = self.payload(tick, block, count)
        wait_until(lambda: self.push(tick, block, payload, step), "room in the lane", 30)
        self.rt.doorbells[L.SLOT_BROKER].ring()
        canal = self.specs[int(self.plan.blocks["swarm"][block])].canal
        self.ledger.add(tick, canal, payload)

    def commit(self, tick: int) -> None:
        """Every worker has done ``tick``."""
        self.rt.set(L.C_GO_TICK, tick)
        for lane in range(self.rt.lanes):
            self.rt.slot(L.SLOT_WORKER0 + lane).set(L.S_TICK, tick)

    def run_tick(self, tick: int, count: int = 7) -> None:
        """All blocks emit ``count`` messages; then the tick is done."""
        for block in range(len(self.plan.blocks)):
            self.emit(tick, block, count)
        self.commit(tick)

    # -- the broker

    def start(self, kill: str = "", passes: int = 1) -> int:
        """Fork a broker; ``kill`` arms a crash point in it."""
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                if kill:
                    killpoint.arm(kill, passes)
                from corec.broker.process import run

                code = run(self.rt)
            finally:
                os._exit(code)
        self.children.append(pid)
        return pid

    def wait_exit(self, pid: int, timeout_s: float = 60.0) -> int:
        """Exit code of a broker, negative for a signal."""
        found: list[int] = []

        def ended() -> bool:
            got, status = os.waitpid(pid, os.WNOHANG)
            if got:
                found.append(os.waitstatus_to_exitcode(status))
            return bool(got)

        wait_until(ended, "the broker ends", timeout_s)
        self.children.remove(pid)
        return found[0]

    def kill(self, pid: int) -> None:
        """kill -9 and reap."""
        os.kill(pid, signal.SIGKILL)
        assert self.wait_exit(pid) == -signal.SIGKILL

    def drain(self, pid: int) -> None:
        """Ask a broker to finish, and expect that it does."""
        self.rt.set(L.C_STOP, L.STOP_SINKS)
        assert self.wait_exit(pid) == 0
        assert self.rt.slot(L.SLOT_BROKER).get(L.S_STATE) == L.PROC_DRAINED
        self.rt.set(L.C_STOP, L.STOP_NO)

    def count(self, word: int) -> int:
        """A counter of the broker's slot."""
        return self.rt.slot(L.SLOT_BROKER).get(L.S_COUNT0 + word)

    # -- what Redis holds

    def redis(self) -> redis.Redis:
        """A client; close it."""
        return redis.Redis.from_url(self.url)

    def stream(self, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """All entries of a stream."""
        with self.redis() as client:
            found: Any = client.xrange(key)
            return list(found)

    def state(self) -> SinkState:
        """The position hash."""
        with self.redis() as client:
            return parse_state(cast(Any, client.hgetall(self.keys.pos)))

    def add(self, canal: int, fields: dict[str, Any]) -> str:
        """XADD to an input stream, as any client would; returns the id."""
        with self.redis() as client:
            return cast(bytes, client.xadd(self.keys.incoming(canal), fields)).decode()

    def dead(self) -> list[dict[bytes, bytes]]:
        """The dead letters."""
        return [fields for _, fields in self.stream(self.keys.dead)]

    def check_ledger(self) -> None:
        """The out streams hold exactly what was emitted, in tick order."""
        found: dict[tuple[int, int], Counter[bytes]] = {}
        for canal in {spec.canal for spec in self.specs}:
            last = -1
            for _, fields in self.stream(self.keys.out(canal)):
                packed, tick = fields[b"m"], int(fields[b"t"])
                assert len(packed) == 10 * int(fields[b"n"])
                assert tick >= last
                last = tick
                counter = found.setdefault((tick, canal), Counter())
                counter.update(packed[i : i + 10] for i in range(0, len(packed), 10))
        assert found == self.ledger.entries

    def readings(self, release: bool = True) -> list[tuple[int, int, float, int]]:
        """(canal, id, valor, activo) of all frames in the inbox, as a worker reads them."""
        found = []
        position = self.rt.inbox.tail
        for frame in self.rt.inbox.frames():
            assert frame.kind == L.KIND_READINGS_FRAME
            records = np.frombuffer(frame.payload, L.READING, offset=L.READINGS_HEAD.itemsize)
            assert records.size == frame.b
            canal = frame.a - 256 if frame.a > 127 else frame.a
            found += [(canal, int(r["id"]), float(r["valor"]), int(r["activo"])) for r in records]
            self._apply(canal, bytes(frame.payload[: L.READINGS_HEAD.itemsize]))
            position = frame.next_position
        if release:
            self.rt.inbox.release(position)
        return found

    def _apply(self, canal: int, head: bytes) -> None:
        """What the leader does with a frame's head: both copies of the table."""
        (record,) = np.frombuffer(head, L.READINGS_HEAD)
        values = [record[name] for name in ("ms", "seq", "next_msg", "last")]
        for copy in range(2):
            base = L.C_IN_POS + (copy * L.CANALES + (canal & 0xFF)) * L.IN_POS_WORDS
            for k, value in enumerate(values):
                self.rt.set(base + k, int(value))

    def totals(self) -> dict[str, dict[str, int]]:
        """broker.json."""
        found: dict[str, dict[str, int]] = json.loads((self.folder / "broker.json").read_text())
        return found

    def close(self) -> None:
        """Kill what still runs, remove what was made."""
        for pid in list(self.children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for bell in self.rt.doorbells:
            bell.close()
        # the mappings go with the last view of them
        del self.rt
        for segment in self.segments:
            segment.unlink()
            segment.close()
        self.segments.clear()
        (self.folder / "broker.json").unlink(missing_ok=True)


def pack(messages: Iterable[tuple[int, int, float]]) -> bytes:
    """(id, canal, valor) … as one ``m``."""
    return b"".join(message(*one) for one in messages)
