"""The memory limits of control groups, v1 and v2, and the limit on files, as a start finds them."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from corec.command_line import NO_MEMORY
from corec.supervisor.begin import refused
from corec.supervisor.memory import FILE_BYTES_MIN, Limit, file_limit_fault, memory_limit
from corec.supervisor.room import memory_allowed


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "4096"}, ("a/memory.max", 4096)),
        ("0::/a/b\n", {"a/b/memory.max": "1000", "a/memory.max": "4096"}, ("a/b/memory.max", 1000)),
        ("0::/\n", {"memory.max": "5000"}, ("memory.max", 5000)),
        ("0::/out/of/sight\n", {"memory.max": "5000"}, ("memory.max", 5000)),
        ("0::/a\n", {"a/memory.max": "max"}, None),
        ("0::/../x\n", {}, None),
        (
            "3:cpu,memory:/s\n0::/\n",
            {"memory/s/memory.limit_in_bytes": "777"},
            ("memory/s/memory.limit_in_bytes", 777),
        ),
        ("3:memory:/s\n", {"memory/s/memory.limit_in_bytes": str(2**63 - 4096)}, None),
        ("", {}, None),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: tuple[str, int] | None
) -> None:
    proc, root = tmp_path / "cgroup", tmp_path / "root"
    proc.write_text(groups)
    root.mkdir()
    for name, text in limits.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    wanted = None if expected is None else Limit(expected[1], root / expected[0])
    assert memory_limit(root, proc) == wanted


def test_what_a_limit_allows() -> None:
    limit = Limit(64 << 20, Path("/g/memory.max"))
    assert memory_allowed(limit.bytes, limit) is None
    assert memory_allowed(limit.bytes + 1, None) is None
    told = "less than the 64 MiB of memory that /g/memory.max allows"
    assert memory_allowed(limit.bytes + 1, limit) == told


def test_without_proc_there_is_no_limit_to_know(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "nowhere") is None


def test_a_limit_on_files_is_told_before_anything_is_made() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit, world, fits in (
            (FILE_BYTES_MIN, 1 << 20, True),
            (FILE_BYTES_MIN - 1, 1 << 20, False),
            (101 << 20, 100 << 20, True),
            ((101 << 20) - 1, 100 << 20, False),
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            fault = file_limit_fault(world)
            assert (fault is None) == fits
            assert fits or f"limit of {limit} bytes on files (ulimit -f" in str(fault)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_ends_an_instance_is_not_called_a_start() -> None:
    error = OSError(errno.ENOMEM, "Cannot allocate memory", "control.seg")
    assert refused(error, lived=False).startswith("a start is refused what it needs: ")
    assert refused(MemoryError(), lived=True) == (
        f"the instance ends, refused what it needs: {NO_MEMORY}; the next start goes on from here"
    )
