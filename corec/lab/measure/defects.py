"""Which test catches which defect: the suite run on copies of this code with one store misplaced.

Each defect is one that crash-safety would not survive. The checkout (what git knows, as it lies
there) is copied into a temporary folder, the defect is put in, and the tests that should see it
run there.

    python -m corec.lab.measure.defects [--only NAME]

Prints one JSON document: for each defect the tests that failed. Exit code 1 when a defect was not
caught. Needs what the tests need; takes some minutes, most of them for compiling the copies.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.altered import Change, copy_into

SECONDS_MAX: Final = 900


@dataclass(frozen=True)
class Defect:
    """Changes of the code, and the tests that are asked."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


DEFECTS: Final = (
    Defect(
        "publish after commit",
        (
            Change(
                "corec/kernels/block.py",
                "    process_kill_point(K_BEFORE_PUBLISH)\n",
                "    process_kill_point(K_BEFORE_PUBLISH)\n"
                "    if last:\n"
                "        commit(base, parity, 0, tick, dyn)\n",
            ),
        ),
        ("tests/kernels/test_redo.py", "tests/crash/test_kill_points.py"),
    ),
    Defect(
        "position stored before COMMIT",
        (
            Change(
                "corec/persister/writer.py",
                """        async with self._connection.transaction():
            there""",
                """        swapped = await execute(_SWAP, self._swap_values(pieces))
        async with self._connection.transaction():
            there""",
            ),
            Change(
                "corec/persister/writer.py",
                "cursor = await execute(_SWAP, self._swap_values(pieces))",
                "cursor = swapped",
            ),
        ),
        ("tests/persister/test_kill.py", "tests/persister/test_lost_replies.py"),
    ),
    Defect(
        "lane never released",
        (
            Change(
                "corec/persister/source.py",
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
        (
            Change(
                "shm/atomics.py",
                """        builder.store_atomic(args[2], pointer, "release", WORD_BYTES)
""",
                """        builder.store(args[2], pointer)
""",
            ),
        ),
        ("tests/shm/test_atomics.py", "tests/shm/test_lane_processes.py"),
    ),
)


def failed_with(defect: Defect, folder: Path) -> list[str]:
    """The tests that fail with the defect in.

    Raises:
        AnchorMissing: it can't be put in: the text it replaces is not there any more.
        RuntimeError: the tests could not be run.
    """
    copy_into(folder, defect.changes)
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
