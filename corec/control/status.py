"""``status``, built from the words of the control segment and /proc.

The nucleus answers with it; ``corec-ctl`` builds the same from the segment on disk when the
nucleus does not answer. It only reads: each word has one writer elsewhere, an aligned word is never
torn, and a status whose words are microseconds apart is still true of the instance.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from corec import layout as L
from corec.proc import CpuSampler, resident_bytes
from corec.process import roles
from corec.process.roles import (
    FROZEN_SECONDS,
    PERSISTER,
    Get,
    Process,
    committed_tick,
    counted,
    processes,
    reason_text,
    slot_word,
)

NO_LIMIT = 1 << 62
"""Of C_LIMIT_TICK: the world ticks until it is stopped."""


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


def sinks(get: Get, about: About) -> dict[str, dict[str, Any]]:
    """The servers and whatever else takes what ticks produce, as their processes see them."""
    found: dict[str, dict[str, Any]] = {}
    for role, sink in roles.sinks(get):
        state = process_state(get, role.slot)
        reason = reason_text(slot_word(get, role.slot, L.S_ERROR))
        if reason is None and state in ("down", "frozen", "parked"):
            reason = f"its process is {state}"
        found[sink.key] = {
            "address": sink.address(about), "reachable": reason is None, "reason": reason,
        }  # fmt: skip
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
    for one in processes(get):
        if process_state(get, one.slot) in ("down", "frozen", "parked"):
            return "degraded"
        if slot_word(get, one.slot, L.S_ERROR):
            return "degraded"
    return L.STATE_NAMES[code] if code < len(L.STATE_NAMES) else "running"


def persist_lag_ticks(get: Get) -> int:
    """Ticks that are committed in memory and not yet durable in the database."""
    durable = slot_word(get, PERSISTER.slot, L.S_TICK)
    return max(0, committed_tick(get) - durable)


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
    members = processes(get)
    percent = cpu.sample([slot_word(get, one.slot, L.S_PID) for one in members])
    limit = get(L.C_LIMIT_TICK)
    started = get(L.C_START_MONO_NS)
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
        "rows_persisted": counted(get, "rows_persisted"),
        "rows_dropped": counted(get, "rows_dropped"),
        "spool_bytes": counted(get, "spool_bytes"),
        "persist_lag_ticks": persist_lag_ticks(get),
        "messages_out": counted(get, "messages_out"),
        "messages_in": counted(get, "messages_in"),
        "messages_dead": counted(get, "messages_dead"),
        "messages_dropped": counted(get, "messages_dropped"),
        "input_lost": counted(get, "input_lost"),
        "processes": [_process_row(get, one, percent) for one in members],
        "sinks": sinks(get, about),
        "http_url": about.http_url,
        "folder": about.folder,
    }
