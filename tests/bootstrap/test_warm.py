"""The first start's compiling: two processes, each its own part."""

from __future__ import annotations

import subprocess
import sys

from corec.cli.warm import LONGEST, OTHERS
from tests.support.forked import REPO, plain_environment


def test_the_second_process_has_the_longest_for_itself() -> None:
    """What the first one imports meanwhile would compile it, too."""
    program = (
        f"import importlib, sys\nfor name in {OTHERS!r}: importlib.import_module(name)\n"
        f"assert {LONGEST!r} not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, env=plain_environment(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
