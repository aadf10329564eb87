"""Group ``start``: from the command to the first committed tick, 10^6 entities, embedded servers.

*New* is the first start in an empty folder: PostgreSQL's initdb and the whole world are made. Its
compiled code comes from the cache, as ever after; the row *compiling* has an empty cache.
*Adopted*: the supervisor was killed and the world was still in memory. *Restored*: from the
checkpoint that an orderly stop wrote. *Fresh*: a new world on servers that have run before.
"""

from __future__ import annotations

import tempfile
import time

from corec import layout as L
from corec.control.client import Unreachable
from corec.control.protocol import ControlError
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort, tell
from corec.lab.bench.server import START_SECONDS, Server
from corec.lab.bench.world import sensors

HZ = 10.0


def first_tick(server: Server, *options: str) -> float:
    """Start ``server``; seconds until it has committed a tick of its own."""
    spawned_ns = time.monotonic_ns()
    began = time.perf_counter()
    server.spawn(*options, tick_hz=HZ)

    def ticked() -> bool:
        if not server.attached() or server.get(L.C_START_MONO_NS) < spawned_ns:
            return False
        return server.get(L.C_WORKERS) > 0 and server.tick > server.get(L.C_BASE_TICK)

    server.wait_for(ticked, "the first tick is committed", START_SECONDS)
    return time.perf_counter() - began


def _settle(server: Server) -> None:
    """Let it be up with all its processes, so that what follows is no half-made start."""

    def up() -> bool:
        try:
            states = [p["state"] for p in server.ask("status")["processes"]]
        except (Unreachable, ControlError):
            return False
        return all(state in ("ready", "waiting") for state in states)

    server.wait_for(up, "every process is up", 60.0)


def measure(effort: Effort) -> list[Table]:
    """One table of seconds."""
    n = effort.pick(1_000_000, 50_000)
    table = Table("start", f"Command to first tick, {n:,} sensors", "s", "neither")
    rows = {
        name: Row(name, [], True, note)
        for name, note in (
            ("new", "initdb, world created"),
            ("adopted", "after SIGKILL of the supervisor"),
            ("restored", "from the checkpoint of a stop"),
            ("fresh", "servers' data there, world created"),
            ("checkpoint", "the world to disk, while it runs"),
            ("stop", "drain, digest, checkpoint, servers down"),
        )
    }
    tell("  warming up: the cache of compiled code")
    with Server(sensors(1000)) as warm:
        warm.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        warm.start()
    for number in range(effort.rounds):
        tell(f"  round {number + 1} of {effort.rounds}")
        with Server(sensors(n), workers="auto") as server:
            server.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as an installation has it
            _life(server, rows, table.checks)
    if not effort.quick:
        tell("  an empty cache of compiled code")
        with tempfile.TemporaryDirectory(prefix="corec-bench-cache-") as cache:
            with Server(sensors(n), workers="auto") as server:
                server.environment["NUMBA_CACHE_DIR"] = cache
                compiling = Row("compiling", [first_tick(server)], True, "new, and an empty cache")
            rows["compiling"] = compiling
    table.rows = [row for row in rows.values() if row.samples]
    return [table]


def _life(server: Server, rows: dict[str, Row], checks: list[Check]) -> None:
    rows["new"].samples.append(first_tick(server))
    _settle(server)
    try:
        began = time.perf_counter()
        server.ask("snapshot", 60.0)
        rows["checkpoint"].samples.append(time.perf_counter() - began)
    except ControlError as error:
        tell(f"  checkpoint: {error}")
    server.ask("pause")
    before = server.ask("digest")
    server.kill()
    rows["adopted"].samples.append(first_tick(server))
    _settle(server)
    adopted = server.get(L.C_BASE_TICK)
    began = time.perf_counter()
    stopped = server.stop()
    rows["stop"].samples.append(time.perf_counter() - began)
    rows["restored"].samples.append(first_tick(server))
    _settle(server)
    restored = server.get(L.C_BASE_TICK)
    server.stop()
    rows["fresh"].samples.append(first_tick(server, "--fresh"))
    _settle(server)
    ok = adopted == before["tick"] and restored == stopped["tick"]
    detail = f"killed at {before['tick']}, on from {adopted}; stopped at {stopped['tick']}, "
    checks.append(Check("adopted and restored worlds went on where they stood", ok,
                        f"{detail}on from {restored}"))  # fmt: skip
