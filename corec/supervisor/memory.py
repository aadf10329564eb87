"""How much memory the control groups of this process allow it, and how large a file may be.

Pages of a tmpfs count as memory of who touches them: a world that is larger than the limit of a
container or service would be killed by the kernel half way, without a word.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final, NamedTuple

FILE_BYTES_MIN: Final = 17 << 20
"""The largest lane, or a segment of PostgreSQL's log, of 16 MiB each."""
CGROUPS: Final = Path("/sys/fs/cgroup")
_NONE_BYTES: Final = 1 << 60
"""A limit of so much is none (control groups v1 say 2**63 less a page)."""


class Limit(NamedTuple):
    """The smallest limit there is, and the file that says so."""

    bytes: int
    path: Path


def file_limit_fault(world_bytes: int) -> str | None:
    """Why a world can't be made under this process's limit on the size of files; None: it can."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = max(FILE_BYTES_MIN, world_bytes + (1 << 20))
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return None
    return (
        f"found a limit of {limit} bytes on files (ulimit -f {limit // 1024}), expected "
        f"at least {needed}: raise it (ulimit -f unlimited; LimitFSIZE= of a systemd unit)"
    )


def memory_limit(root: Path = CGROUPS, proc: Path = Path("/proc/self/cgroup")) -> Limit | None:
    """The smallest memory limit of this process's groups and those above them; None: no limit."""
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _number, controllers, inside = line.split(":", 2)
        if controllers == "":
            found += _limits(root, inside, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits(root / "memory", inside, "memory.limit_in_bytes")
    return min(found, default=None)


def _limits(root: Path, inside: str, name: str) -> list[Limit]:
    folder = root / inside.strip("/")
    found = []
    for place in (folder, *folder.parents):
        if place != root and root not in place.parents:
            break
        try:
            text = (place / name).read_text(encoding="ascii").strip()
        except OSError:
            continue  # the root has none, and a group may be out of sight in a container
        if text.isdigit() and int(text) < _NONE_BYTES:
            found.append(Limit(int(text), place / name))
    return found
