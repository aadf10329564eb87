"""Group ``cores``: running servers with 1 … all workers, sinks off and everything on, in turns.

*Sinks off* means: no rows (``persist.every_ticks`` beyond the run) and sensors that never exceed
umbral, so no messages. Philox, statistics, umbral, the check for failures, double buffering and the
commit of every block stay, and so do persister, broker, nucleus and both database servers, idle.

*Everything on* is the default sensor (1 % emit), a row per block about once a second, a scrape of
``/metrics`` each second. Its time counts until every message is confirmed by Valkey and every row
committed. At full speed such a row holds some thousand messages, and storing each in PostgreSQL as
well is most of the cost: *everything on, lean rows* has the same rows with ``persist.payload``
"histogram".
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator

from corec import layout as L
from corec.lab.bench.check import blocks_of, verify
from corec.lab.bench.results import Table
from corec.lab.bench.rounds import Contender, Effort, interleave, tell, wait_until
from corec.lab.bench.server import NEVER, Server
from corec.lab.bench.server_tick import SILENT
from corec.lab.bench.world import sensors
from corec.proc import cpu_seconds
from corec.process.roles import NAMES, SUPERVISOR

STREAM_ENTRIES = 500
PACED_HZ = 10.0
ROWS_SHARE = 0.7
"""Of the sinks-off rate: about what everything on reaches, so that rows come once a second."""
OFF = "sinks off"
ON = "everything on"
LEAN = "everything on, lean rows"


def measure(effort: Effort) -> list[Table]:
    """Two tables: wall-clock rates by workers, and the cost of a paced world."""
    n = effort.pick(1_000_000, 100_000)
    cores = len(os.sched_getaffinity(0))
    table = Table("cores", f"Running server, {n:,} sensors, flat out", "M updates/s")
    title = f"Running server, {n:,} sensors, everything on"
    paced = Table("paced", title, "% of one core", "neither")
    off = sensors(n, bloque={"parametros": SILENT}, persist={"every_ticks": NEVER})
    with Server(off) as quiet:
        quiet.start()
        per_second = 30 / quiet.step(30)
        every = max(1, round(per_second * ROWS_SHARE))
        tell(f"  a row per block every {every} ticks, about once a second")
        rows = {"every_ticks": every}
        on = sensors(n, persist=rows, streams={"maxlen": STREAM_ENTRIES})
        lean_rows = rows | {"payload": "histogram"}
        less = sensors(n, persist=lean_rows, streams={"maxlen": STREAM_ENTRIES})
        with Server(on) as busy, _scraping(busy), Server(less) as lean, _scraping(lean):
            busy.start()
            lean.start()
            contenders = []
            cpu: dict[tuple[str, int], list[dict[str, float]]] = {}
            for workers in range(1, cores + 1):
                ticks = max(2, round(effort.sample_seconds * per_second))
                contenders += [
                    _contender(OFF, quiet, n, workers, ticks, cpu),
                    _contender(LEAN, lean, n, workers, 4 * ticks, cpu),
                    _contender(ON, busy, n, workers, 4 * ticks, cpu),
                ]
            table.rows = interleave(contenders, effort.rounds)
            _compare(table, cores)
            for (name, workers), spent in sorted(cpu.items(), key=lambda item: item[0][1]):
                table.notes.append(_cpu_note(name, workers, spent))
            paced.rows = interleave([_paced(busy, effort)], effort.rounds)
            paced.checks += verify(ON, busy)
            table.checks += verify(LEAN, lean)
        table.checks += verify(OFF, quiet)
    table.notes.append("the other rows are compared with sinks off, 1 worker; digests below")
    return [table, paced]


def _contender(
    name: str,
    server: Server,
    n: int,
    workers: int,
    ticks: int,
    cpu: dict[tuple[str, int], list[dict[str, float]]],
) -> Contender:
    """``cpu`` gets, for each sample, the milliseconds of CPU a tick by role."""
    plural = "s" if workers > 1 else ""

    def sample() -> float:
        server.set_workers(workers)
        target = server.tick + ticks
        before = _cpu_of(server)
        began = time.perf_counter()
        server.step(ticks)
        if name != OFF:
            wait_until(lambda: _sent(server) >= target, "the messages are in Valkey", 60.0)
            rows = blocks_of(server.config) * (target // server.config["persist"]["every_ticks"])
            wait_until(lambda: server.rows >= rows, "the rows are committed", 60.0)
        took = time.perf_counter() - began
        spent = _by_role(server, _spent(before, _cpu_of(server)))
        each = {role: 1e3 * seconds / ticks for role, seconds in spent.items()}
        cpu.setdefault((name, workers), []).append(each)
        return n * ticks / took / 1e6

    return Contender(f"{name}, {workers} worker{plural}", sample, True)


def _cpu_of(server: Server) -> dict[int, float]:
    """Process → seconds of CPU so far."""
    return {pid: cpu_seconds(pid) or 0.0 for pid in server.pids()}


def _spent(before: dict[int, float], after: dict[int, float]) -> dict[int, float]:
    """Process → seconds of CPU meanwhile; of one that ended meanwhile nobody knows."""
    return {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}


def _by_role(server: Server, seconds: dict[int, float]) -> dict[str, float]:
    """Role → seconds; PostgreSQL and Valkey are ``servers``."""
    assert server.process is not None, "it runs"
    roles = {int(row["pid"]): str(row["role"]) for row in server.ask("status")["processes"]}
    roles[server.process.pid] = SUPERVISOR
    found: dict[str, float] = {}
    for pid, spent in seconds.items():
        role = roles.get(pid, "servers")
        found[role] = found.get(role, 0.0) + spent
    return found


def _cpu_note(name: str, workers: int, samples: list[dict[str, float]]) -> str:
    """What each role takes of a tick, and what all of them leave of the cores."""
    roles = (*NAMES, "servers", SUPERVISOR)
    each = {role: statistics.median(s.get(role, 0.0) for s in samples) for role in roles}
    shown = ", ".join(f"{role} {ms:.2f}" for role, ms in each.items() if ms >= 0.005)
    plural = "s" if workers > 1 else ""
    return (
        f"{workers} worker{plural}: {name} takes {sum(each.values()):.2f} ms of CPU a tick: {shown}"
    )


def _sent(server: Server) -> int:
    """The last tick whose messages Valkey has confirmed."""
    return server.slot(L.SLOT_BROKER, L.S_TICK)


def _compare(table: Table, cores: int) -> None:
    """The shares that the budgets are about, as notes."""
    rate = {row.name: row for row in table.rows}
    for workers in range(1, cores + 1):
        tail = f"{workers} worker" + ("s" if workers > 1 else "")
        for name in (LEAN, ON):
            share = rate[f"{name}, {tail}"].over(rate[f"{OFF}, {tail}"])
            table.notes.append(f"{tail}: {name} keeps {100 * share:.0f} % of sinks off")
        if workers > 1:
            gained = rate[f"{OFF}, {tail}"].over(rate[f"{OFF}, 1 worker"])
            table.notes.append(f"{tail}: {gained:.2f} times one, {gained / workers:.2f} per core")


def _paced(server: Server, effort: Effort) -> Contender:
    seconds = 1.0 if effort.quick else 3.0

    def sample() -> float:
        server.ask("set", path="tick_hz", value=PACED_HZ)
        server.ask("resume")
        before, began = _cpu_of(server), time.perf_counter()
        time.sleep(seconds)
        after = _cpu_of(server)
        share = sum(_spent(before, after).values()) / (time.perf_counter() - began)
        server.ask("pause")
        server.ask("set", path="tick_hz", value=0.0)
        return 100 * share

    note = "all processes, PostgreSQL and Valkey included"
    return Contender(f"at {PACED_HZ:g} ticks a second", sample, True, note)


@contextlib.contextmanager
def _scraping(server: Server) -> Iterator[None]:
    """Ask for ``/metrics`` each second meanwhile."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(1.0):
            with contextlib.suppress(Exception):  # it is not up yet, or gone already
                url = server.address("http_url")
                urllib.request.urlopen(f"{url}/metrics", timeout=2).read()

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)
