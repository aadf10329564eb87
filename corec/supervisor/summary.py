"""The figures of a run, when it ends."""

from __future__ import annotations

from typing import Any

from corec import layout as L
from corec.proc import proportional_bytes
from corec.process.roles import counted
from corec.process.runtime import Runtime
from corec.supervisor.processes import Group
from corec.supervisor.segments import world_tick
from corec.world.inspect import totals

COUNTED = ("rows_persisted", "messages_out", "messages_in", "messages_dead")


def summary(rt: Runtime, group: Group, base_tick: int, seconds: float) -> dict[str, Any]:
    """The ``--json`` summary. Counts are of the world since tick 0, except those of this run:
    ``ticks``, ``seconds``, ``entity_updates`` and the rates.

    ``entity_updates_per_core_second`` divides by the CPU time that the workers spent on their
    ticks: the speed of one core at work, whatever else the machine did meanwhile.
    """
    tick = world_tick(rt)
    world = totals(rt)
    workers = rt.get(L.C_WORKERS)
    # those who left have worked, too
    busy = sum(rt.slot(L.SLOT_WORKER0 + k).get(L.S_BUSY_NS) for k in range(rt.lanes)) / 1e9
    updates = world["entity_updates"] - rt.updates_before
    valid = rt.get(L.C_DIGEST_VALID) != 0
    digest = f"{rt.get(L.C_DIGEST):016x}{rt.get(L.C_DIGEST + 1):016x}" if valid else None
    return {
        "instance_id": rt.config.instance_id,
        "ticks": tick - base_tick,
        "tick": tick,
        "seconds": round(seconds, 3),
        "entidades": rt.plan.entidades,
        "bloques": rt.plan.n_blocks,
        "workers": workers,
        "entity_updates": updates,
        "entity_updates_per_second": round(updates / seconds) if seconds else 0,
        "entity_updates_per_core_second": round(updates / busy) if busy else 0,
        **{name: counted(rt.get, name) for name in COUNTED},
        "failures": world["failures"],
        "repairs": world["repairs"],
        "overruns": rt.get(L.C_OVERRUNS),
        "restarts": sum(m.restarts.count for m in group.members),
        "resident_bytes": rt.resident_bytes,
        "digest": digest,
        "digest_tick": rt.get(L.C_DIGEST_TICK) if valid else None,
    }


def resident_bytes(group: Group, supervisor_pid: int) -> int:
    """PSS of the supervisor and all its processes, bytes: shared pages counted once in all."""
    pids = [supervisor_pid] + [m.process.pid for m in group.running()]
    return sum(proportional_bytes(pid) for pid in pids)
