"""What processors raised: files in the instance's folder, and what becomes of them.

    errors-<k>.json   worker k, whole (renamed into place), at most twice a second, while something
                      fails: the kinds it has seen since its world began, each with its first and
                      its last time. Its successor goes on with it; a kill between two loses half
                      a second of samples.
    errors.json       nucleus: which kinds were told (log, event) and when. Told first, noted then:
                      a nucleus killed between the two has its successor tell them once more.

Nothing of this is part of the world. The supervisor removes the files when it leaves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

KINDS_MAX: Final = 64
"""Kinds that a worker keeps; what comes after them is counted."""
TOLD_FILE: Final = "errors.json"
PATTERN: Final = "errors*.json"
_FIELDS: Final = ("bloque", "error", "text", "file", "line")


def worker_file(folder: Path, worker: int) -> Path:
    """Where worker ``worker`` says what its entities raised."""
    return folder / f"errors-{worker}.json"


def read_errors(path: Path, epoch: int) -> dict[str, Any]:
    """The file's content; ``{}`` when there is none, or it is of another world or damaged."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) and found.get("epoch") == f"{epoch:016x}" else {}


def write_errors(path: Path, epoch: int, content: Mapping[str, Any]) -> bool:
    """Write the file whole or not at all; false: there was no room."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(orjson.dumps({"epoch": f"{epoch:016x}", **content}))
        os.replace(half, path)
    except OSError:
        with contextlib.suppress(OSError):
            half.unlink()
        return False
    return True


def kind_of(entry: Mapping[str, Any]) -> str:
    """What makes two entries one kind: where in which processor what was raised."""
    return "|".join(str(entry[field]) for field in _FIELDS)


def described(entry: Mapping[str, Any]) -> str:
    """``IndexError: index is out of bounds (bearing in my_first.py, line 12)``."""
    said = f"{entry['error']}: {entry['text']}" if entry["text"] else str(entry["error"])
    place = f" ({entry['function']} in {entry['file']}, line {entry['line']})"
    return said + (place if entry["line"] else "")


def merged(files: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The kinds of all workers, by ``kind_of``: first and last times, samples added up."""
    found: dict[str, dict[str, Any]] = {}
    for entry in (entry for file in files for entry in file.get("kinds", ())):
        name = kind_of(entry)
        one = found.setdefault(name, dict(entry) | {"seen": 0})
        one["seen"] += entry["seen"]
        if entry["first_tick"] < one["first_tick"]:
            one["first_tick"], one["first_entity"] = entry["first_tick"], entry["first_entity"]
        if entry["last_tick"] > one["last_tick"]:
            one["last_tick"], one["last_entity"] = entry["last_tick"], entry["last_entity"]
        one["last_unix_ns"] = max(one["last_unix_ns"], entry["last_unix_ns"])
    return found
