"""Group ``sweep``: many worlds on all cores, beside one after the other; and one that is killed.

Twenty values of ``beta`` and five seeds of an epidemic, each for 300 ticks. The same sweep as a
command is killed twice in the middle, and its file held against that of the one that was not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import corec
from corec.lab.bench.results import Check, Row, Table
from corec.lab.bench.rounds import Effort, tell, wait_until
from corec.lab.instance import LabFailed

BETAS = [round(0.05 * (k + 1), 2) for k in range(20)]
SEEDS = 5
TICKS = 300
TIMES_MIN = 0.9
KILLS = (0.3, 0.6)
"""At which share of the finished runs it is killed."""
COLLECT = {"town": ["mean(fase == 1)", "mean(valor)"]}
SECONDS_MAX = 600.0


def measure(effort: Effort) -> list[Table]:
    """One table: the sweep with one process, and with one for each core."""
    n, ticks = effort.pick(100_000, 1_000), effort.pick(TICKS, 20)
    cores = len(os.sched_getaffinity(0))
    runs = len(BETAS) * SEEDS
    title = f"{runs} runs of sir with {n:,} entities for {ticks} ticks"
    table = Table("sweep", title, "runs a second", "higher")
    config = {"bloques": [{"id": "town", "canal": 1, "entidades": n, "procesador": "sir"}]}
    suffix = ".parquet" if find_spec("pyarrow") else ".csv"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        corec.sweep(config, over={"town.beta": BETAS[:cores]}, ticks=1, collect=COLLECT)  # compiled
        one, many = Row("one process", []), Row(f"{cores} processes", [], True)
        for row, processes in ((one, 1), (many, cores)):
            tell(f"  {row.name}")
            path = home / f"calm-{processes}{suffix}"
            began = time.perf_counter()
            corec.sweep(
                config, over={"town.beta": BETAS}, seeds=SEEDS, ticks=ticks, collect=COLLECT,
                processes=processes, path=path,
            )  # fmt: skip
            row.samples.append(runs / (time.perf_counter() - began))
        table.rows = [many, one]
        load = os.getloadavg()
        table.notes.append(f"load average of the machine behind it: {load[0]:.1f} {load[1]:.1f}")
        calm = (home / f"calm-1{suffix}").read_bytes()
        same = (home / f"calm-{cores}{suffix}").read_bytes() == calm
        table.checks.append(Check("the same file with any number of processes", same))
        if not effort.quick:
            times = many.median / one.median / cores
            what = f"{TIMES_MIN:g} times cores times the speed of one at least"
            table.checks.append(Check(what, times >= TIMES_MIN, f"{times:.2f} of {cores} cores"))
        tell("  killed twice")
        killed, found = _killed(home, config, ticks, suffix)
        what = f"killed at {' and '.join(map(str, killed))} of {runs} runs: the same file"
        table.checks.append(Check(what, found == calm, f"{len(found):,} bytes"))
    return [table]


def _killed(home: Path, config: dict[str, Any], ticks: int, suffix: str) -> tuple[list[int], bytes]:
    """After how many finished runs ``corec sweep`` was killed, and the file in the end."""
    (home / "town.json").write_text(json.dumps({"instance_id": "town", **config}))
    out = home / f"killed{suffix}"
    wanted = {"config": "town.json", "ticks": ticks, "seeds": SEEDS, "over": {"town.beta": BETAS},
              "collect": COLLECT, "out": out.name}  # fmt: skip
    (home / "sweep.json").write_text(json.dumps(wanted))
    words = [sys.executable, "-m", "corec", "sweep", str(home / "sweep.json")]
    runs = home / f"{out.name}.runs"
    killed: list[int] = []
    for share in KILLS:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        enough = partial(_there, runs, process, int(share * len(BETAS) * SEEDS))
        wait_until(enough, "some runs are finished", SECONDS_MAX)
        process.kill()
        process.wait()
        killed.append(_finished(runs))
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, timeout=SECONDS_MAX)
    return killed, out.read_bytes()


def _finished(path: Path) -> int:
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def _there(path: Path, process: subprocess.Popen[bytes], count: int) -> bool:
    if process.poll() is not None:
        raise LabFailed(f"corec sweep ended with {process.returncode}")
    return _finished(path) >= count
