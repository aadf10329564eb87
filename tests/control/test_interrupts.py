"""Ctrl-C at a command that is still being imported: it ends, and shows nobody its imports."""

from __future__ import annotations

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


@pytest.mark.parametrize("command", [[SCRIPT, "status"], ["-m", "corec", "check"]])
@pytest.mark.parametrize("last", ["corec.private", "corec.project", "typer", "corec.log"])
def test_it_ends_without_a_word(command: list[str], last: str) -> None:
    words = [sys.executable, "-X", "importtime", *command]
    with subprocess.Popen(
        words, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        restore_signals=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:  # each import is told when it is done
            if line.rpartition("|")[2].strip() == last:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert out == ""
    assert "Traceback" not in err
    assert all(line.startswith("import time:") for line in err.splitlines()[:-1])


@pytest.mark.parametrize("handler", ["signal.default_int_handler", "signal.SIG_IGN"])
def test_a_program_that_imports_corec_hears_what_it_heard(handler: str) -> None:
    code = SIGNAL.format(handler=handler, module="corec")
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, timeout=120)


def test_behind_an_ampersand_it_stays_ignored() -> None:
    code = "import sys; sys.argv[0] = 'corec'" + SIGNAL.format(
        handler="signal.SIG_IGN", module="corec.control.ctl"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, timeout=120)
