"""Ctrl-C at a command that is still being imported: it ends, and shows nobody its imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.instance import REPO

SCRIPT = str(Path(sys.executable).with_name("corec-ctl"))
SIGNAL = """
import signal
signal.signal(signal.SIGINT, {handler})
import {module}
assert signal.getsignal(signal.SIGINT) == {handler}
"""


AT_AN_IMPORT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""


@pytest.mark.parametrize("command", [[SCRIPT, "status"], ["-m", "corec", "check"]])
@pytest.mark.parametrize("at", ["corec.private", "corec.project", "typer", "corec.log"])
def test_it_ends_without_a_word(command: list[str], at: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_AN_IMPORT)  # which Python imports by itself
    ended = subprocess.run(
        [sys.executable, *command], cwd=REPO, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "INTERRUPTED_AT": at},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("handler", ["signal.default_int_handler", "signal.SIG_IGN"])
def test_a_program_that_imports_corec_hears_what_it_heard(handler: str) -> None:
    code = SIGNAL.format(handler=handler, module="corec")
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, timeout=120)


def test_behind_an_ampersand_it_stays_ignored() -> None:
    code = "import sys; sys.argv[0] = 'corec'" + SIGNAL.format(
        handler="signal.SIG_IGN", module="corec.control.ctl"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, timeout=120)
