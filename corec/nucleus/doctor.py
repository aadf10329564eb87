"""``corec-ctl doctor``: is anything wrong, and what to do about it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corec.control.folders import BROKER_FILE, PERSISTER_FILE
from corec.embedded.minors import postgres_behind, postgres_text
from corec.nucleus.errors import FRESH_SECONDS
from corec.process.runtime import Runtime
from corec.world.kept import aside_folders

_LANE_FULL = 0.9
_ROOM_BYTES_MIN = 64 << 20
_BEAT_SECONDS_MAX = 3.0


def _check(name: str, ok: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "ok": ok, "detail": detail}


def examine(rt: Runtime, status: dict[str, Any]) -> list[dict[str, Any]]:
    """The checks, in the order an operator would make them: ``[{check, ok, detail}]``."""
    checks: list[dict[str, Any]] = []
    for row in status["processes"]:
        name = f"{row['role']} {row['index']}"
        age = row["beat_age_seconds"]
        fresh = age is not None and age <= _BEAT_SECONDS_MAX
        up = row["state"] not in ("down", "frozen", "parked")
        detail = f"{row['state']}, pid {row['pid']}, {row['restarts']} restarts"
        if not fresh:
            detail += ", no sign of life" + ("" if age is None else f" for {age:.1f} s")
        checks.append(_check(f"process {name}", up and fresh, detail))
    checks.append(_pace(status))
    for name, sink in status["sinks"].items():
        detail = sink["address"] if sink["reachable"] else f"{sink['address']}: {sink['reason']}"
        checks.append(_check(f"server {name}", sink["reachable"], detail))
    checks += database_checks(rt.folder) + stream_checks(rt.folder)
    for lane in status["lanes"]:
        if lane["lane"] == "in":
            continue  # the inbox is as full as its readers are behind: a full one is back-pressure
        used = lane["used_bytes"] / lane["capacity_bytes"]
        name = f"lane {lane['lane']} {lane['worker']}"
        checks.append(_check(name, used < _LANE_FULL, f"{used:.0%} of {lane['capacity_bytes']} B"))
    for label, folder in (("runtime folder", rt.folder), ("state folder", rt.config.state_path)):
        checks.append(_room(label, folder))
    for row in status.get("processor_errors", ()):
        fresh = row["seconds_ago"] <= FRESH_SECONDS
        detail = f"{row['what']}, entity {row['last_entity']} at tick {row['last_tick']}"
        if fresh:
            detail += f"; {row['failures_per_second']:g} failures a second in {row['bloque']}"
        checks.append(_check(f"processor {row['procesador']}", not fresh, detail))
    checkpoint = status["checkpoint"]
    problem = checkpoint.get("error")
    if problem is None and checkpoint.get("left_out") and checkpoint["state"] == "waiting":
        problem = f"that of tick {checkpoint['tick']} waits for a server"
    last = checkpoint.get("last")
    detail = problem or (f"last at tick {last['tick']}" if last else "none made yet")
    checks.append(_check("checkpoint", problem is None, detail))
    unread = status["input_lost"]
    detail = f"{unread} input entries trimmed or deleted before they were read"
    checks.append(_check("no input lost", unread == 0, detail))
    strange = checkpoint.get("passed_over") or []
    told = "; ".join(strange) or "nothing but this world's"
    checks.append(_check("checkpoint folder", not strange, told))
    held = sum(size for _, size in aside_folders(rt.folder))
    told = f"{held >> 20} MiB; see: corec checkpoint ls, and free" if held else "none"
    checks.append(_check("worlds set aside in memory", not held, told))
    lost = status["rows_dropped"] + status["messages_dropped"]
    checks.append(_check("nothing dropped", lost == 0, f"{lost} rows and messages dropped"))
    return checks


def database_checks(folder: Path) -> list[dict[str, Any]]:
    """What the persister of the instance in ``folder`` found at its server; nothing before that."""
    try:
        found = json.loads((folder / PERSISTER_FILE).read_text(encoding="utf-8"))
        version, troubles = int(found["server_version"]), list(found["troubles"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    detail, newer = postgres_text(version), postgres_behind(version)
    if newer is not None:
        detail += f", and {newer} is out, which mends faults of it: update the server"
    checks = [_check("version postgresql", True, detail)]
    return checks + [_check(f"table {one['what']}", False, one["reason"]) for one in troubles]


def stream_checks(folder: Path) -> list[dict[str, Any]]:
    """Keys of input that hold something else, as the broker of the instance in ``folder`` says."""
    try:
        found = dict(json.loads((folder / BROKER_FILE).read_text(encoding="utf-8"))["no_streams"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    detail = "holds a {}, not a stream, so nothing is read from it; rename it"
    return [_check(f"stream {key}", False, detail.format(kind)) for key, kind in found.items()]


def _pace(status: dict[str, Any]) -> dict[str, Any]:
    achieved, wanted = status["achieved_hz"], status["tick_hz"]
    if not wanted:
        return _check("pace", True, f"{achieved:g} ticks a second, as fast as it goes")
    detail = f"{achieved:g} of {wanted:g} ticks a second, {status['overruns']} deadlines missed"
    if status["behind"]:
        detail += "; fewer entities, more workers, a lower carga or tick_hz"
    return _check("pace", not status["behind"], detail)


def _room(label: str, folder: Path) -> dict[str, Any]:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent  # made when the first thing is written to it
    try:
        usage = os.statvfs(place)
    except OSError as error:
        return _check(label, False, f"{folder}: {error.strerror}")
    if not usage.f_blocks:
        return _check(label, True, f"{folder}: no limit")
    free = usage.f_bavail * usage.f_frsize
    return _check(label, free >= _ROOM_BYTES_MIN, f"{folder}: {free >> 20} MiB free")
