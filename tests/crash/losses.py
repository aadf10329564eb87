"""``python -m tests.crash.losses --count 50 --seed 1``: lose a machine so often, at random moments.

All its processes are killed, its memory is gone, PostgreSQL, Redis and ``state_dir`` stay. Exit 0:
digest, rows and messages are those of an undisturbed ``corec.World`` fed the journal.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import pytest

COUNT: Final = "COREC_LOSSES"
SEED: Final = "COREC_LOSSES_SEED"
"""Of the environment, for ``tests/crash/test_losses.py``."""


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.losses", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="how often (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default: 1)")
    found = parser.parse_args()
    os.environ[COUNT], os.environ[SEED] = str(found.count), str(found.seed)
    test = Path(__file__).with_name("test_losses.py")
    return int(pytest.main([str(test), "-q", "-s", "-n", "0"]))


if __name__ == "__main__":
    sys.exit(main())
