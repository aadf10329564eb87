"""The machine's line: what the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.providers import postgres_for
from corec.embedded.wheels import valkey_program
from corec.lab.bench.kernels import triad

TRIAD_BYTES_PER_ELEMENT = 24
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def _first_line(path: str, key: str) -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass  # not this kind of machine
    return ""


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if level in ("2", "3") and kind in ("Unified", "Data"):
            found[f"L{level}"] = size
    return found


def _program_version(find: Any, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [str(find(*arguments)), "--version"], capture_output=True, text=True, check=False
        )
    except (EmbeddedServerError, OSError):
        return "absent"
    words = done.stdout.split()
    return next((w.removeprefix("v=") for w in words if w.removeprefix("v=")[:1].isdigit()), "?")


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def triad_gb_per_second(threads: int, mib: int = 128, seconds: float = 0.3) -> float:
    """Best of repeated a = b + q·c over ``mib`` MiB an array and thread, GB/s (STREAM's count)."""
    n = mib * (1 << 20) // 8
    arrays = [[np.ones(n) for _ in range(3)] for _ in range(threads)]
    best = 0.0
    until = time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < until:
        began = time.perf_counter()
        team = [threading.Thread(target=triad, args=(*three, 3.0)) for three in arrays]
        for one in team:
            one.start()
        for one in team:
            one.join()
        took = time.perf_counter() - began
        best = max(best, threads * n * TRIAD_BYTES_PER_ELEMENT / took / 1e9)
    return best


def describe(quick: bool = False) -> dict[str, Any]:
    """CPU, cores, caches, memory, bandwidth, kernel, versions and how busy the machine was."""
    cores = len(os.sched_getaffinity(0))
    total = _first_line("/proc/meminfo", "MemTotal").split()
    mib, seconds = (16, 0.05) if quick else (128, 0.3)
    return {
        "cpu": _first_line("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "machine": platform.machine(),
        "cores": cores,
        "caches": _caches(),
        "memory_gib": round(int(total[0]) / (1 << 20), 1) if total else 0.0,
        "triad_gb_s": round(triad_gb_per_second(1, mib, seconds), 1),
        "triad_all_gb_s": round(triad_gb_per_second(cores, mib, seconds), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": _package("numpy"),
        "numba": _package("numba"),
        "postgresql": _program_version(lambda: postgres_for().program("postgres")),
        "valkey": _program_version(valkey_program),
        "corec": _package("corec"),
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def line(found: dict[str, Any]) -> str:
    """The machine's line."""
    caches = ", ".join(f"{name} {size}" for name, size in found["caches"].items())
    return (
        f"{found['cpu']}, {found['cores']} cores ({found['machine']}), {caches}, "
        f"{found['memory_gib']:g} GiB at {found['triad_gb_s']:g} GB/s from one core and "
        f"{found['triad_all_gb_s']:g} GB/s from all (triad); Linux {found['kernel']}; "
        f"Python {found['python']}, NumPy {found['numpy']}, Numba {found['numba']}, "
        f"PostgreSQL {found['postgresql']}, Valkey {found['valkey']}; {found['date']}"
    )
