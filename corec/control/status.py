"""``status``, built from the words of the control segment and /proc.

The nucleus answers with it; ``corec-ctl`` builds the same from the segment on disk when the
nucleus does not answer. It only reads: each word has one writer elsewhere, an aligned word is never
torn, and a status whose words are microseconds apart is still true of the instance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from corec import layout as L
from corec.proc import CpuSampler, resident_bytes

FROZEN_SECONDS = 5.0
NO_LIMIT = 1 << 62
Get = Callable[[int], int]


@dataclass(frozen=True)
class Process:
    """One process of an instance and its slot in the control segment."""

    role: str
    index: int
    slot: int


@dataclass(frozen=True)
class About:
    """What the control segment does not know about the instance."""

    instance_id: str
    folder: str
    http_url: str | None
    redis_url: str
    db: str
    version: str
    source: str


def processes(workers: int, acts: bool = False) -> list[Process]:
    """Every process but the supervisor; ``acts``: one that follows alerts among them."""
    singles = [
        Process("nucleus", 0, L.SLOT_NUCLEUS),
        Process("persister", 0, L.SLOT_PERSISTER),
        Process("broker", 0, L.SLOT_BROKER),
    ]
    singles += [Process("tasks", 0, L.SLOT_TASKS)] if acts else []
    return singles + [Process("worker", k, L.SLOT_WORKER0 + k) for k in range(workers)]


def slot_word(get: Get, slot: int, word: int) -> int:
    """Word ``word`` of process slot ``slot``."""
    return get(L.slot_base(slot) + word)


def committed_tick(get: Get) -> int:
    """The last tick that every worker has committed."""
    workers = max(1, get(L.C_WORKERS))
    return min(slot_word(get, L.SLOT_WORKER0 + k, L.S_TICK) for k in range(workers))


def as_float(word: int) -> float:
    """The float64 whose bits are ``word``."""
    return float(np.uint64(word).view(np.float64))


def age_seconds(get: Get, slot: int) -> float | None:
    """Seconds since the process gave a sign of life; None when it never did."""
    beat = max(slot_word(get, slot, L.S_BEAT_NS), slot_word(get, slot, L.S_SEEN_NS))
    return None if not beat else max(0.0, (time.monotonic_ns() - beat) / 1e9)


def process_state(get: Get, slot: int) -> str:
    """``starting``, ``ready``, ``waiting``, ``drained``, ``parked``, ``down`` or ``frozen``."""
    code = slot_word(get, slot, L.S_STATE)
    name = L.PROC_NAMES[code] if code < len(L.PROC_NAMES) else "unknown"
    if code in (L.PROC_DRAINED, L.PROC_PARKED):
        return name
    if not slot_word(get, slot, L.S_UP):
        return "down"
    age = age_seconds(get, slot)
    if age is not None and age > FROZEN_SECONDS and code != L.PROC_STARTING:
        return "frozen"
    return name


def reason_text(code: int) -> str | None:
    """What a process' S_ERROR says, in words; None when it is fine."""
    if not code:
        return None
    return L.REASON_NAMES.get(code, f"reason {code}")


def sinks(get: Get, about: About) -> dict[str, dict[str, Any]]:
    """The two servers as their processes see them."""
    found: dict[str, dict[str, Any]] = {}
    for name, slot, address in (
        ("postgresql", L.SLOT_PERSISTER, about.db),
        ("redis", L.SLOT_BROKER, about.redis_url),
    ):
        state = process_state(get, slot)
        reason = reason_text(slot_word(get, slot, L.S_ERROR))
        if reason is None and state in ("down", "frozen", "parked"):
            reason = f"its process is {state}"
        found[name] = {"address": address, "reachable": reason is None, "reason": reason}
    return found


def starting_status(about: About, pid: int) -> dict[str, Any]:
    """``status`` of an instance that has no world of its own yet: an older one's words, which may
    still lie there, are not its."""
    return {
        "source": about.source, "version": about.version, "instance_id": about.instance_id,
        "state": L.STATE_NAMES[L.STATE_STARTING], "tick": 0, "tick_hz": 0.0, "limit_tick": None,
        "carga": 0.0, "carga_asked": 0.0, "pid": pid, "uptime_seconds": 0.0,
        "entidades": 0, "bloques": 0, "workers": 0, "epoch": f"{0:016x}", "seed": 0,
        "overruns": 0, "rows_persisted": 0, "rows_dropped": 0, "spool_bytes": 0,
        "persist_lag_ticks": 0, "messages_out": 0, "messages_in": 0,
        "messages_dead": 0, "messages_dropped": 0, "processes": [], "sinks": {},
        "http_url": None, "folder": about.folder,
    }  # fmt: skip


def instance_state(get: Get) -> str:
    """``starting``, ``running``, ``paused``, ``degraded`` or ``draining``."""
    if get(L.C_STOP):
        return "draining"
    code = get(L.C_STATE)
    if code in (L.STATE_STARTING, L.STATE_DRAINING):
        return L.STATE_NAMES[code]
    if get(L.C_PAUSED):
        return "paused"
    for one in processes(get(L.C_WORKERS), bool(get(L.C_ACTS))):
        if process_state(get, one.slot) in ("down", "frozen", "parked"):
            return "degraded"
        if slot_word(get, one.slot, L.S_ERROR):
            return "degraded"
    return L.STATE_NAMES[code] if code < len(L.STATE_NAMES) else "running"


def persist_lag_ticks(get: Get) -> int:
    """Ticks that are committed in memory and not yet durable in the database."""
    durable = slot_word(get, L.SLOT_PERSISTER, L.S_TICK)
    return max(0, committed_tick(get) - durable)


def count(get: Get, slot: int, counter: int) -> int:
    """Counter ``counter`` (``L.P_*``, ``L.B_*``) of the process in ``slot``."""
    return slot_word(get, slot, L.S_COUNT0 + counter)


def _process_row(get: Get, one: Process, cpu: dict[int, float]) -> dict[str, Any]:
    pid = slot_word(get, one.slot, L.S_PID)
    up = bool(slot_word(get, one.slot, L.S_UP))
    age = age_seconds(get, one.slot)
    return {
        "role": one.role,
        "index": one.index,
        "pid": pid,
        "cpu": cpu.get(pid, 0.0),
        "restarts": slot_word(get, one.slot, L.S_RESTARTS),
        "state": process_state(get, one.slot),
        "tick": slot_word(get, one.slot, L.S_TICK),
        "up": up,
        "beat_age_seconds": None if age is None else round(age, 3),
        "resident_bytes": resident_bytes(pid) if up else 0,
        "error": reason_text(slot_word(get, one.slot, L.S_ERROR)),
    }


def build_status(get: Get, about: About, cpu: CpuSampler) -> dict[str, Any]:
    """Everything that the control segment and /proc tell, as JSON data."""
    members = processes(get(L.C_WORKERS), bool(get(L.C_ACTS)))
    percent = cpu.sample([slot_word(get, one.slot, L.S_PID) for one in members])
    limit = get(L.C_LIMIT_TICK)
    started = get(L.C_START_MONO_NS)
    broker, persister = L.SLOT_BROKER, L.SLOT_PERSISTER
    return {
        "source": about.source,
        "version": about.version,
        "instance_id": about.instance_id,
        "state": instance_state(get),
        "tick": committed_tick(get),
        "tick_hz": as_float(get(L.C_TICK_HZ)),
        "limit_tick": None if limit >= NO_LIMIT else limit,
        "carga": as_float(get(L.C_CARGA)),
        "carga_asked": as_float(get(L.C_CARGA_ASKED) or get(L.C_CARGA)),
        "pid": get(L.C_SUPERVISOR_PID),
        "uptime_seconds": round(max(0, time.monotonic_ns() - started) / 1e9, 3) if started else 0.0,
        "entidades": get(L.C_ENTIDADES),
        "bloques": get(L.C_BLOCKS),
        "workers": get(L.C_WORKERS),
        "epoch": f"{get(L.C_WORLD_EPOCH):016x}",
        "seed": get(L.C_SEED),
        "overruns": get(L.C_OVERRUNS),
        "rows_persisted": count(get, persister, L.P_ROWS),
        "rows_dropped": count(get, persister, L.P_DROPPED),
        "spool_bytes": count(get, persister, L.P_SPOOL_BYTES),
        "persist_lag_ticks": persist_lag_ticks(get),
        "messages_out": count(get, broker, L.B_MESSAGES_OUT),
        "messages_in": count(get, broker, L.B_MESSAGES_IN),
        "messages_dead": count(get, broker, L.B_DEAD),
        "messages_dropped": count(get, broker, L.B_DROPPED),
        "input_lost": count(get, broker, L.B_UNREAD_LOST),
        "processes": [_process_row(get, one, percent) for one in members],
        "sinks": sinks(get, about),
        "http_url": about.http_url,
        "folder": about.folder,
    }
