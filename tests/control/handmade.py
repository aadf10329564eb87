"""An instance put together by hand: real segments, a real nucleus, and beside it the least that it
needs: a supervisor that restarts it, and a leader that ticks, pauses and holds as the words say.

The supervisor is a process of its own, because ``stop`` signals the nucleus' parent.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corec import layout as L
from corec import log
from corec.config import parse_config
from corec.control.discover import Instance, write_instance
from corec.control.folders import BASE_VARIABLE, OWNER_LOCK, instance_folder
from corec.http.port import reserve, url_of
from corec.nucleus.process import run as run_nucleus
from corec.plan import make_plan
from corec.private import make_private
from corec.process.runtime import Runtime, float_to_word
from corec.supervisor import segments
from shm.owner import OwnerLock
from tests.support.processes import wait_until

ENTIDADES = 2500
WORKERS = 2
SECRET = "not-to-be-seen-anywhere"


def raw_config(folder: Path) -> dict[str, object]:
    """Plain data of a small configuration whose passwords must never be shown."""
    return {
        "instance_id": "handmade",
        "db_config": {"host": "127.0.0.1", "dbname": "d", "user": "u", "password": SECRET},
        "redis_config": {"host": "127.0.0.1", "password": SECRET},
        "bloques": [
            {"id": "one", "canal": 1, "entidades": ENTIDADES - 500, "max_size_mb": 1},
            {"id": "two", "canal": 3, "entidades": 500, "max_size_mb": 1},
        ],
        "state_dir": str(folder / "state"),
    }


def make_runtime(folder: Path) -> Runtime:
    """A real world at tick 0 whose words say: running at 200 Hz, every process up and fresh."""
    config = parse_config(raw_config(folder), base_dir=folder)
    config.state_path.mkdir(parents=True, exist_ok=True)
    home = make_private(instance_folder(config))
    plan = make_plan(config)
    rt, _ = segments.create(config, home, WORKERS, None, plan, lambda done, total: None)
    rt.db_conninfo, rt.redis_url = f"password={SECRET}", f"redis://:{SECRET}@127.0.0.1"
    for word, value in {
        L.C_WORKERS: WORKERS,
        L.C_STATE: L.STATE_RUNNING,
        L.C_START_MONO_NS: time.monotonic_ns(),
        L.C_START_UNIX_NS: time.time_ns(),
        L.C_LIMIT_TICK: 1 << 62,
        L.C_TICK_HZ: float_to_word(200.0),
        L.C_CARGA: float_to_word(1.0),
    }.items():
        rt.set(word, value)
    for index in range(L.SLOT_NUCLEUS, L.SLOT_WORKER0 + WORKERS):
        slot = rt.slot(index)
        slot.set(L.S_UP, 1)
        slot.set(L.S_STATE, L.PROC_READY)
        slot.set(L.S_PID, os.getpid())
    rt.slot(L.SLOT_BROKER).set(L.S_COUNT0 + L.B_MESSAGES_OUT, 1234)
    rt.slot(L.SLOT_PERSISTER).set(L.S_COUNT0 + L.P_ROWS, 56)
    return rt


def lead(rt: Runtime) -> int:
    """The leader's rules for line 2, and ticks with nothing in them, for all workers."""
    bell = rt.doorbells[L.SLOT_WORKER0]
    slots = [rt.slot(L.SLOT_WORKER0 + k) for k in range(WORKERS)]
    others = [rt.slot(L.SLOT_PERSISTER), rt.slot(L.SLOT_BROKER)]
    for slot in slots:
        slot.set(L.S_PID, os.getpid())
    parent = os.getppid()
    while rt.get(L.C_STOP) == L.STOP_NO and os.getppid() == parent:
        for slot in slots + others:
            slot.set(L.S_BEAT_NS, time.monotonic_ns())
        tick = slots[0].get(L.S_TICK) + 1
        held = rt.get(L.C_HOLD_REQUEST) > rt.get(L.C_HOLD_RELEASE)
        if held:
            rt.set(L.C_HOLD_ACK, rt.get(L.C_HOLD_REQUEST))
        rt.set(L.C_WRITTEN_DOWN, rt.get(L.C_WRITE_DOWN))
        paused = rt.get(L.C_PAUSED) and tick > rt.get(L.C_STEP_LIMIT)
        if not held and not paused and tick <= rt.get(L.C_LIMIT_TICK):
            rt.set(L.C_GO_TICK, tick)
            for slot in slots:
                slot.set(L.S_BUCKET0 + tick % 14, slot.get(L.S_BUCKET0 + tick % 14) + 1)
                slot.set(L.S_TICK, tick)
        bell.prepare_sleep()
        bell.wait(0.005)
    return 0


def _fork(rt: Runtime, slot: int, main: object) -> int:
    pid = os.fork()
    if pid:
        rt.slot(slot).set(L.S_UP, 1)
        return pid
    code = 70
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log.configure("json", "debug", rt.config.state_path / "log.jsonl", "nucleus")
        assert callable(main)
        code = main(rt)
    finally:
        os._exit(code)


def supervise(rt: Runtime) -> None:
    """Restart the nucleus when it dies; on SIGTERM stop everything at once. Never returns."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    lock = OwnerLock(rt.folder / OWNER_LOCK)
    lock.acquire()
    rt.set(L.C_SUPERVISOR_PID, os.getpid())
    write_instance(
        Instance(
            instance_id=rt.config.instance_id,
            pid=os.getpid(),
            folder=str(rt.folder),
            socket=str(rt.folder / "control.sock"),
            http_url=str(rt.info["http_url"]),
            redis_url=rt.config.redis.shown(),
            db=rt.config.db.shown(),
            started_unix_ns=time.time_ns(),
            config_path=None,
            version="0",
        )
    )
    leader = _fork(rt, L.SLOT_WORKER0, lead)
    nucleus = _fork(rt, L.SLOT_NUCLEUS, run_nucleus)
    slot = rt.slot(L.SLOT_NUCLEUS)
    alive = {leader, nucleus}
    while alive:
        if stopping and rt.get(L.C_STOP) != L.STOP_NOW:
            rt.set(L.C_STOP, L.STOP_NOW)
            rt.doorbells[L.SLOT_NUCLEUS].wake()
            rt.doorbells[L.SLOT_WORKER0].wake()
        pid, _ = os.waitpid(-1, os.WNOHANG)
        alive.discard(pid)
        if pid == nucleus and not rt.get(L.C_STOP):
            slot.set(L.S_RESTARTS, slot.get(L.S_RESTARTS) + 1)
            nucleus = _fork(rt, L.SLOT_NUCLEUS, run_nucleus)
            alive.add(nucleus)
        if not pid:
            signal.sigtimedwait([signal.SIGCHLD], 0.02)
    shutil.rmtree(rt.folder)
    lock.release()
    os._exit(0)


@dataclass
class Running:
    """A running hand-made instance, seen from the test."""

    rt: Runtime
    supervisor: int

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return self.rt.folder / "control.sock"

    @property
    def nucleus(self) -> int:
        """The pid of the present nucleus."""
        return self.rt.slot(L.SLOT_NUCLEUS).get(L.S_PID)

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        return str(self.rt.info["http_url"])

    @property
    def log_text(self) -> str:
        """Everything logged by now."""
        path = self.rt.config.state_path / "log.jsonl"
        return path.read_text(encoding="utf-8") if path.exists() else ""


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Start a hand-made instance under ``folder``; it is gone afterwards."""
    os.environ[BASE_VARIABLE] = str(folder / "run")
    rt = make_runtime(folder)
    listener = reserve("127.0.0.1", 0, explicit=True)
    rt.info.update(http_socket=listener, http_url=url_of(listener))
    supervisor = os.fork()
    if not supervisor:
        try:
            supervise(rt)
        finally:
            os._exit(71)
    listener.close()
    one = Running(rt, supervisor)
    try:
        wait_until(one.socket.exists, "the control socket is there")
        yield one
    finally:
        _end(one)
        for bell in rt.doorbells:
            bell.close()
        # a mapping, and the descriptor it keeps, live as long as any view of it
        vars(rt).clear()
        gc.collect()
        del os.environ[BASE_VARIABLE]


def _end(one: Running) -> None:
    for pid in (one.nucleus, one.rt.slot(L.SLOT_WORKER0).get(L.S_PID)):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue
    try:
        os.kill(one.supervisor, signal.SIGTERM)
    except ProcessLookupError:
        pass
    _, status = os.waitpid(one.supervisor, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)  # a test may have killed it
