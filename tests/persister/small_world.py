"""A runtime made by hand: real segments and lanes, a real forked persister, no workers.

The test is the worker: it publishes frames as one would and sets the words a worker sets.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
import psycopg

from corec import layout as L
from corec.config import parse_config
from corec.control.folders import PERSISTER_FILE
from corec.entities.processor import Processor
from corec.layout.frames import repairs_at, row_word
from corec.persister.process import run
from corec.plan import BLOCK_ROW, Plan, Swarm
from corec.process.runtime import Runtime
from shm import killpoint
from shm.lane import Lane, lane_region_bytes
from shm.segment import Segment
from shm.wake import Doorbell
from tests.support.processes import wait_until

NOON_NS = 1_795_348_800_000_000_000
"""2026-11-22 12:00:00 UTC."""
PER_BLOCK = 100
_PR_SET_PDEATHSIG = 1
ROW_SELECT = """
    SELECT id, canal, tick, "timestamp", num_entidades, activas, errores, reparadas, carga, umbral,
           fitness, media, desviacion, mensajes, payload
      FROM bloques WHERE instance_id = %s ORDER BY tick, id
"""


class Sent(NamedTuple):
    """A frame that was published: what it must become in the tables."""

    tick: int
    block: int
    row: np.void
    log: np.ndarray[Any, Any]


def make_plan(blocks: int, canal: int = 1) -> Plan:
    """``blocks`` blocks of ``PER_BLOCK`` entities in one swarm."""
    swarm = Swarm(
        0, "sensores", canal, blocks * PER_BLOCK, PER_BLOCK, L.MIB, 0, blocks, 0,
        cast(Processor, None), (), 0.05, 0.2,
    )  # fmt: skip
    rows = np.zeros(blocks, BLOCK_ROW)
    rows["canal"] = canal
    rows["first_id"] = np.arange(blocks) * PER_BLOCK
    rows["entidades"] = PER_BLOCK
    return Plan((swarm,), rows, blocks * L.MIB)


class SmallWorld:
    """Segments, lanes and a Runtime in ``folder``; ``close`` removes them."""

    def __init__(
        self,
        folder: Path,
        dsn: str,
        *,
        epoch: int = 7,
        lanes: int = 2,
        blocks: int = 6,
        capacity: int = 1 << 20,
        instance: str = "corec1",
        persist: dict[str, Any] | None = None,
        state: Path | None = None,
        embedded: bool = True,
    ) -> None:
        self.spool = (state or folder / "state") / instance / "spool"
        config = parse_config(
            {
                "instance_id": instance,
                "state_dir": str(state or folder / "state"),
                "bloques": [{"id": "sensores", "canal": 1, "entidades": blocks * PER_BLOCK}],
                "persist": persist or {},
                "db_config": {"embedded": True} if embedded else {"url": dsn},
            },
            environ={},
            base_dir=folder,
        )
        self.folder = folder
        self._segments: list[Segment] = []
        self._children: list[int] = []
        control = self._segment("control", 8 * L.control_words(lanes))
        world = self._segment("world", 4096)
        lane_of = {
            name: Lane.create(self._segment(name, lane_region_bytes(capacity)).payload)
            for name in (
                "in",
                *(f"out-{k}" for k in range(lanes)),
                *(f"rows-{k}" for k in range(lanes)),
                "events-nucleus",
                "journal",
            )
        }
        words = control.words
        bells = [
            Doorbell(words, L.slot_base(slot) + L.S_SLEEPING)
            for slot in range(L.SLOT_WORKER0 + lanes)
        ]
        self.rt = Runtime(
            config,
            make_plan(blocks),
            folder,
            control,
            world,
            lane_of["in"],
            [lane_of[f"out-{k}"] for k in range(lanes)],
            [lane_of[f"rows-{k}"] for k in range(lanes)],
            {"nucleus": lane_of["events-nucleus"]},
            bells,
            dsn,
            "",
            lane_of["journal"],
            segments=list(self._segments),
        )
        self.rt.set(L.C_WORLD_EPOCH, epoch)
        self.rt.set(L.C_WORKERS, lanes)
        # there is no broker here that might have something to tell
        self.rt.slot(L.SLOT_BROKER).set(L.S_STATE, L.PROC_DRAINED)
        self.sent: list[Sent] = []

    def _segment(self, name: str, payload_bytes: int) -> Segment:
        segment = Segment.create(
            self.folder / f"{name}.seg",
            kind="test",
            layout_hash=1,
            payload_bytes=payload_bytes,
            epoch=1,
        )
        self._segments.append(segment)
        return segment

    def close(self) -> None:
        """End what a failed test left running, unmap and remove everything."""
        for pid in self._children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue  # it ended and was reaped, as it should
        (self.folder / PERSISTER_FILE).unlink(missing_ok=True)
        for bell in self.rt.doorbells:
            bell.close()
        for segment in self._segments:
            segment.unlink()
            segment.close()

    def lane_of(self, block: int) -> int:
        """The lane whose worker has the block: contiguous ranges, as in CoreC."""
        return block * self.rt.lanes // self.rt.plan.n_blocks

    def publish(
        self,
        tick: int,
        block: int,
        *,
        step: int = 0,
        messages: int = 5,
        repairs: int = 0,
        row: bool = True,
        unix_ns: int | None = None,
        again: bool = False,
    ) -> None:
        """Publish one block's frame of one tick; ``again``: as a successor of a killed worker."""
        rng = np.random.default_rng((tick, block))
        head = np.zeros(1, L.ROW)
        head["unix_ns"] = NOON_NS + tick * 1_000_000_000 if unix_ns is None else unix_ns
        head["block"], head["canal"], head["num_entidades"] = block, 1, PER_BLOCK
        head["activas"], head["errores"], head["reparadas"] = PER_BLOCK - 1, tick % 7, repairs
        head["mensajes"], head["omitidos"] = messages + 2, 2
        head["carga"], head["umbral"], head["fitness"] = 1.0, 0.5, 0.999
        head["media"], head["desviacion"] = rng.random(), rng.random()
        head["hist_min"], head["hist_max"] = -0.25, 1.5
        head["histograma"], head["desde"] = rng.integers(0, 9, L.HISTOGRAM_BINS), max(0, tick - 9)
        log = np.zeros(messages, L.LOG_DTYPE)
        log["local"] = rng.integers(0, PER_BLOCK, messages)
        log["tick"] = np.sort(tick - rng.integers(0, min(tick, 9) + 1, messages))
        log["valor"] = rng.random(messages, np.float32)
        fixes = np.zeros(repairs, L.REPAIR)
        fixes["id"] = block * PER_BLOCK + np.arange(repairs)
        fixes["donor"], fixes["how"] = fixes["id"] + 50, L.REPAIR_INHERIT
        payload = head.tobytes()[: repairs_at(row)] + fixes.tobytes() + log.tobytes()
        k = self.lane_of(block)
        word = row_word(step, messages if row else 0)
        self.push(k, payload, flags=int(row), a=block, b=repairs, c=word, tick=tick)
        if row and not again:
            self.sent.append(Sent(tick, block, head[0], log))

    def push(self, k: int, payload: bytes, **fields: int) -> None:
        """Publish on rows lane ``k`` as soon as there is room, and ring."""
        lane = self.rt.rows[k]
        wait_until(lambda: lane.push(L.KIND_ROW_FRAME, payload, **fields), "room in the lane", 30.0)
        self.rt.doorbells[L.SLOT_PERSISTER].ring()

    def publish_ticks(self, first: int, last: int, **options: Any) -> None:
        """A row of every block for the ticks ``first … last``; then they are done."""
        for tick in range(first, last + 1):
            for block in range(self.rt.plan.n_blocks):
                self.publish(tick, block, **options)
            self.done(tick)

    def done(self, tick: int) -> None:
        """Say that every worker has done ``tick``."""
        self.rt.set(L.C_GO_TICK, tick)
        for k in range(self.rt.lanes):
            self.rt.slot(L.SLOT_WORKER0 + k).set(L.S_TICK, tick)

    def event(self, tipo: str, detalle: dict[str, Any], tick: int = 1) -> None:
        """Publish one event of the nucleus."""
        body = {
            "unix_ns": NOON_NS, "tick": tick, "tipo": tipo, "bloque": None, "entidad": None,
            "detalle": detalle,
        }  # fmt: skip
        assert self.rt.events["nucleus"].push(L.KIND_EVENT_FRAME, orjson.dumps(body), tick=tick)
        self.rt.doorbells[L.SLOT_PERSISTER].ring()

    def start(self, crash: str | None = None, before: Callable[[], None] | None = None) -> int:
        """Fork a persister, killed at ``name[:n]`` if given; its pid.

        ``before`` runs first, in the new process.
        """
        pid = os.fork()
        if pid:
            self._children.append(pid)
            return pid
        code = 99
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if before is not None:
                before()
            if crash is not None:
                killpoint.arm(*killpoint.parse(crash))
            code = run(self.rt)
        except BaseException:  # noqa: BLE001  # a forked child must not run the test's own code
            traceback.print_exc()
        finally:
            os._exit(code)

    def word(self, word: int) -> int:
        """A word of the persister's slot."""
        return self.rt.slot(L.SLOT_PERSISTER).get(word)

    def count(self, word: int) -> int:
        """A counter (``L.P_*``) of the persister."""
        return self.word(L.S_COUNT0 + word)

    def stop(self, pid: int, timeout_s: float | Callable[[], float] = 120.0) -> int:
        """Let the persister drain; its exit code."""
        self.rt.set(L.C_STOP, L.STOP_SINKS)
        code = exit_code(pid, timeout_s)
        self.rt.set(L.C_STOP, L.STOP_NO)
        return code

    def spool_files(self, suffix: str = ".log") -> list[Path]:
        """The spool's files, oldest first."""
        return sorted(self.spool.glob(f"spool-*{suffix}"))

    def drain(self) -> None:
        """Run a persister until everything published is durable."""
        assert self.stop(self.start()) == 0
        assert self.word(L.S_STATE) == L.PROC_DRAINED
        assert all(lane.used == 0 for lane in (*self.rt.rows, *self.rt.events.values()))


@contextmanager
def small_world(folder: Path, dsn: str, **options: Any) -> Iterator[SmallWorld]:
    """A ``SmallWorld`` that is closed afterwards, with everything it started ended."""
    world = SmallWorld(folder, dsn, **options)
    try:
        yield world
    finally:
        world.close()


def exit_code(pid: int, timeout_s: float | Callable[[], float] = 60.0) -> int:
    """Wait for a child; its exit code, or minus the signal that killed it."""
    status: list[int] = []

    def ended() -> bool:
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(status)

    try:
        wait_until(ended, f"process {pid} ends", timeout_s)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return status[0]


def rows_of(dsn: str, instance: str = "corec1") -> list[tuple[Any, ...]]:
    """The rows of ``bloques``, as (id, canal, tick, timestamp, …, payload)."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(ROW_SELECT, (instance,)).fetchall()


def keys_of(dsn: str, instance: str = "corec1") -> list[tuple[int, str]]:
    """(tick, id) of the rows, duplicates included."""
    return [(row[2], row[0]) for row in rows_of(dsn, instance)]


def expected_keys(world: SmallWorld) -> list[tuple[int, str]]:
    """(tick, id) of every row published once."""
    return sorted((sent.tick, world.rt.plan.block_id(sent.block)) for sent in world.sent)


def monotonic_ns() -> int:
    """The clock of ``S_BEAT_NS``."""
    return time.monotonic_ns()
