"""Whether the tmpfs and the memory limit hold the world of an instance, before it is made."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from corec import layout as L
from corec.config import ConfigError, Fault
from corec.plan import Plan
from corec.supervisor.lanes import lane_files
from corec.supervisor.memory import Limit, memory_limit
from corec.supervisor.wishes import WORKERS_MAX
from corec.world.collected import TICKS_MAX, held_parts, parts_bytes
from shm.lane import lane_region_bytes


def bytes_needed(plan: Plan, lanes: int) -> int:
    """Bytes of tmpfs that the instance takes, with the most that collected columns wait in."""
    lanes_bytes = sum(lane_region_bytes(c) + 8192 for c in lane_files(plan, lanes).values())
    kept = plan.world_bytes + lanes_bytes + L.control_bytes(WORKERS_MAX) + 3 * 4096
    return kept + parts_bytes(plan, lanes)


def held_bytes(folder: Path) -> int:
    """Bytes that the world in ``folder`` takes; what goes while it is looked at counts nothing."""
    sizes = []
    for path in folder.glob("*.*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            sizes.append(found.st_size if stat.S_ISREG(found.st_mode) else 0)
    return sum(sizes)


def memory_allowed(needed: int, limit: Limit | None) -> str | None:
    """What ``limit`` of a control group allows instead of so many bytes; None: it allows them."""
    if limit is None or needed <= limit.bytes:
        return None
    return f"less than the {limit.bytes / L.MIB:.0f} MiB of memory that {limit.path} allows"


def check_room(plan: Plan, lanes: int, folder: Path, freed: int, beside: int = 0) -> None:
    """Refuse a world that the tmpfs can't hold, before anything is made. ``beside``: bytes that a
    smaller world takes while it grows.

    Raises:
        ConfigError: naming ``bloques`` and the folder, with both sizes.
    """
    place = folder
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize + freed
    needed = bytes_needed(plan, lanes) + beside
    text = f"{plan.entidades} entities in {needed / L.MIB:.0f} MiB"
    text += f", {beside / L.MIB:.0f} of them for the world that they grow from" if beside else ""
    if columns := parts_bytes(plan, lanes):
        text += f", {columns / L.MIB:.0f} of them for collected columns of {TICKS_MAX} ticks"
    if (room := memory_allowed(needed, memory_limit())) is not None:
        raise ConfigError([Fault("bloques", text, room)])
    if needed > free:
        room = f"what fits into the {free / L.MIB:.0f} MiB free in {place} (runtime_dir)"
        raise ConfigError([Fault("bloques", text, room)])


def check_parts(plan: Plan, workers: int, folder: Path, more: int = 0) -> None:
    """Refuse to collect columns that the tmpfs can't hold beside a world that lives, and that is to
    take ``more`` bytes.

    Raises:
        ConfigError: naming ``collect`` and the folder, with both sizes.
    """
    needed, found = parts_bytes(plan, workers), os.statvfs(folder)
    free = found.f_bavail * found.f_frsize + held_parts(folder)
    if needed and needed + more > free:
        text = f"columns that take {needed / L.MIB:.0f} MiB while {TICKS_MAX} ticks of them wait"
        room = f"what fits into the {free / L.MIB:.0f} MiB free in {folder} (runtime_dir)"
        raise ConfigError([Fault("collect", text, room)])
