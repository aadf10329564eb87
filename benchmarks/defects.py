"""Which test catches which defect: the suite run on copies of this code with one store misplaced.

Each defect is one that crash-safety would not survive. The checkout (what git knows, as it lies
there) is copied into a temporary folder, the defect is put in, and the tests that should see it
run there.

    python -m benchmarks.defects [--only NAME]

Prints one JSON document: for each defect the tests that failed. Exit code 1 when a defect was not
caught. Needs what the tests need; takes some minutes, most of them for compiling the copies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SECONDS_MAX: Final = 900


@dataclass(frozen=True)
class Defect:
    """Texts of one file, each replaced by another, and the tests that are asked."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


DEFECTS: Final = (
    Defect(
        "publish after commit",
        "corec/kernels/block.py",
        (
            (
                """    published = emit(
        out, rows, block, row, step, emitted, local, picked, with_row, repairs,
        s + scratch[K.S_REPAIRS], dyn, cold, targs, carga, u1_at(s + scratch[K.S_PLACE], n),
    )  # fmt: skip
    if not published:
        return -1
    if with_row:
        begin_row(dyn, tick)
    if last:
        commit(base, parity, 0, tick, dyn)
        return 1
    commit(base, parity, step + 1, tick - 1, dyn)
    return 0
""",
                """    if last:
        commit(base, parity, 0, tick, dyn)
    else:
        commit(base, parity, step + 1, tick - 1, dyn)
    published = emit(
        out, rows, block, row, step, emitted, local, picked, with_row, repairs,
        s + scratch[K.S_REPAIRS], dyn, cold, targs, carga, u1_at(s + scratch[K.S_PLACE], n),
    )  # fmt: skip
    if not published:
        return -1
    if with_row:
        begin_row(dyn, tick)
    return 1 if last else 0
""",
            ),
        ),
        ("tests/kernels/test_redo.py", "tests/crash/test_kill_points.py"),
    ),
    Defect(
        "position stored before COMMIT",
        "corec/persister/writer.py",
        (
            (
                """        async with self._connection.transaction():
            there""",
                """        swapped = await execute(_SWAP, self._swap_values(pieces))
        async with self._connection.transaction():
            there""",
            ),
            ("cursor = await execute(_SWAP, self._swap_values(pieces))", "cursor = swapped"),
        ),
        ("tests/persister/test_kill.py", "tests/persister/test_lost_replies.py"),
    ),
    Defect(
        "lane never released",
        "corec/persister/source.py",
        (
            (
                """        freed = position > self.lane.tail
        self.lane.release(position)
""",
                """        freed = position > self.lane.tail
""",
            ),
        ),
        ("tests/persister/test_kill.py", "tests/persister/test_servers.py"),
    ),
    Defect(
        "store without release ordering",
        "shm/atomics.py",
        (
            (
                """        builder.store_atomic(args[2], pointer, "release", WORD_BYTES)
""",
                """        builder.store(args[2], pointer)
""",
            ),
        ),
        ("tests/shm/test_atomics.py", "tests/shm/test_lane_processes.py"),
    ),
)


def copied(folder: Path) -> None:
    """The files git knows, as they lie in the checkout."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, names.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)


def failed_with(defect: Defect, folder: Path) -> list[str]:
    """The tests that fail with the defect in; raises RuntimeError when it can't be put in."""
    copied(folder)
    path = folder / defect.file
    text = path.read_text("utf-8")
    for right, wrong in defect.changes:
        if text.count(right) != 1:
            raise RuntimeError(f"{defect.file}: found no single place for {defect.name!r}")
        text = text.replace(right, wrong)
    path.write_text(text, "utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache"),
    }  # fmt: skip
    environment.pop("COREC_HOME", None)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *defect.tests],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX,
    )  # fmt: skip
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {ran.returncode}:\n{ran.stdout[-2000:]}")
    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    return sorted(set(found))


def main() -> int:
    """Run all defects, print what caught them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", metavar="NAME", help="one defect: a part of its name")
    wanted = parser.parse_args().only or ""
    caught: dict[str, list[str]] = {}
    for defect in (d for d in DEFECTS if wanted in d.name):
        print(f"{defect.name}: {' '.join(defect.tests)}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="corec-defect-") as folder:
            caught[defect.name] = failed_with(defect, Path(folder))
        print(f"  {len(caught[defect.name])} tests object", file=sys.stderr, flush=True)
    print(json.dumps(caught, indent=2))
    return 0 if caught and all(caught.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
