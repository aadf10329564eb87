"""The memory limits of control groups, v1 and v2, as a container or a service finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corec.supervisor.memory import Limit, memory_limit


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


def test_without_proc_there_is_no_limit_to_know(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path / "nowhere") is None
