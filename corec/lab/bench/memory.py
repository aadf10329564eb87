"""Group ``memory``: what an instance takes, with small and with full worlds.

PSS counts a page shared by k processes as 1/k in each, so a sum is right. A world's pages are taken
from the tmpfs when the world is made, mapped or not; so a full instance is its processes' PSS
without shared memory, and beside it all that its runtime folder takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.world import sensors
from corec.process.roles import NAMES, SUPERVISOR

MIB = float(1 << 20)
HISTORY = 200


def measure(effort: Effort) -> list[Table]:
    """One table of MiB."""
    n = effort.pick(1_000_000, 20_000)
    table = Table("memory", "Memory of an instance", "MiB", "neither")
    with Server(sensors(1000)) as idle:
        idle.start(tick_hz=10.0)
        roles = by_role(idle)
        own = {role: kinds for role, kinds in roles.items() if role != "servers"}
        total = sum(kinds["Pss"] for kinds in own.values())
        table.rows.append(_row("idle instance, 1,000 entities", total, "PSS, CoreC's processes"))
        for role, kinds in own.items():
            table.rows.append(_row(f"  {role}", kinds["Pss"], "PSS"))
        table.rows.append(
            _row("  PostgreSQL and Valkey", roles["servers"]["Pss"], "PSS, beside it")
        )
    remembering = {"procesador": "corec.lab.bench.processors:recorder"}
    config = sensors(n, bloque=remembering, persist={"every_ticks": NEVER})
    with Server(config, workers="auto") as full:
        full.start()
        full.step(HISTORY + 10)
        length = len(full.ask("entity", id=n - 1)["estado"]["values"])
        detail = f"the last entity has {length} of {HISTORY}"
        table.checks.append(Check("every history is full", length == HISTORY, detail))
        roles = by_role(full)
        private = sum(
            kinds["Pss"] - kinds["Pss_Shmem"] for role, kinds in roles.items() if role != "servers"
        )
        shared = float(sum(path.stat().st_blocks * 512 for path in full.folder.rglob("*")))
        title = f"{n:,} entities, histories full"
        table.rows.append(_row(title, private + shared, "shared memory and CoreC's processes"))
        table.rows.append(_row("  shared memory", shared, "world and lanes, on the tmpfs"))
        table.rows.append(_row("  private to processes", private, "PSS without shared memory"))
        each = (private + shared) / n
        table.notes.append(f"{title}: {each:,.0f} bytes an entity, everything included")
    return [table]


def _row(name: str, size: float, note: str) -> Row:
    return Row(name, [size / MIB], True, note)


def by_role(server: Server) -> dict[str, dict[str, float]]:
    """Role → PSS in bytes, in all and by kind; ``servers``: PostgreSQL and Valkey together."""
    assert server.process is not None, "it runs"
    roles = {server.process.pid: SUPERVISOR}
    for row in server.ask("status")["processes"]:
        roles[int(row["pid"])] = str(row["role"])
    found: dict[str, dict[str, float]] = {}
    for pid in server.pids():
        kinds = rollup(pid)
        into = found.setdefault(roles.get(pid, "servers"), dict.fromkeys(kinds, 0.0))
        for kind, size in kinds.items():
            into[kind] = into.get(kind, 0.0) + size
    order = [SUPERVISOR, *NAMES, "servers"]
    return {role: found[role] for role in order if role in found}


def rollup(pid: int) -> dict[str, float]:
    """``Pss`` and ``Pss_Shmem`` of a process in bytes; 0 when it is gone or another user's."""
    sizes: dict[str, Any] = {"Pss": 0.0, "Pss_Shmem": 0.0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return sizes
    for line in lines:
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = 1024.0 * int(value.split()[0])
    return sizes
