"""Common options stand before or after a command, and a command line says what it is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import corec
from corec.cli.worlds import explained
from corec.command_line import (
    ENTITY_MAX,
    NO_MEMORY,
    NO_PROCESS,
    moved,
    seconds_option,
    told_in_a_line,
)
from corec.project import named_config
from tests.support.processes import patient

BIN = Path(sys.executable).parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["status"], ["status"]),
        (["--json", "status"], ["status", "--json"]),
        (["--instance", "a", "--json", "entity", "3"],
         ["entity", "--instance", "a", "--json", "3"]),
        (["--instance=a", "redis", "XLEN", "k"], ["redis", "--instance=a", "XLEN", "k"]),
        (["--config", "f.json", "step", "--timeout", "3"],
         ["step", "--config", "f.json", "--timeout", "3"]),
        (["--json"], []),
        (["--instance"], ["--instance"]),
        (["--instance", "a"], []),  # the help, and not that there is no such option
        (["--json=1", "status"], ["--json=1", "status"]),
        (["redis", "--json", "GET", "--instance"], ["redis", "--json", "GET", "--instance"]),
        (["-h"], ["-h"]),
        ([], []),
    ],
)  # fmt: skip
def test_common_options_move_behind_the_command(given: list[str], wanted: list[str]) -> None:
    assert moved(given) == wanted


@pytest.mark.parametrize(
    ("words", "config"),
    [
        ([], None),
        (["run"], None),
        (["run", "--json"], None),
        (["run", "--config", "a.txt"], Path("a.txt")),
        (["run", "-c", "a.json", "--json"], Path("a.json")),
        (["run", "--config=a.txt"], Path("a.txt")),
        (["check", "a.json"], Path("a.json")),
    ],
)
def test_the_configuration_a_command_line_names(words: list[str], config: Path | None) -> None:
    assert named_config(words) == config


@pytest.mark.slow
@pytest.mark.parametrize("program", ["corec", "corec-ctl"])
def test_a_program_without_words_shows_its_help_also_in_a_checkout(program: str) -> None:
    done = subprocess.run(
        [str(BIN / program)], capture_output=True, text=True, timeout=patient(60), check=False,
        env=os.environ | {"COREC_CHECKOUT": str(Path(corec.__file__).parents[1])},
    )  # fmt: skip
    assert "Usage: " in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_before_and_behind_say_the_same() -> None:
    before = run("corec-ctl", "--instance", "nobody_runs_this", "--json", "status")
    behind = run("corec-ctl", "status", "--instance", "nobody_runs_this", "--json")
    assert (before.returncode, before.stderr) == (behind.returncode, behind.stderr)
    assert before.returncode == 3


@pytest.mark.slow
@pytest.mark.parametrize("program", ["corec", "corec-ctl"])
def test_the_version(program: str) -> None:
    assert run(program, "--version").stdout == f"{program} {corec.__version__}\n"
    assert "--install-completion" in run(program, "-h").stdout


@pytest.mark.slow
def test_numbers_beyond_every_world_are_a_usage_error() -> None:
    for words in (["entity", str(ENTITY_MAX + 1)], ["entity", "9" * 400], ["step", "9" * 400]):
        found = run("corec-ctl", *words, "--instance", "nobody_runs_this")
        assert found.returncode == 2, found
        assert "Traceback" not in found.stderr
    assert run("corec-ctl", "entity", str(ENTITY_MAX), "--instance", "nobody").returncode == 3


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_a_command_quietly() -> None:
    found = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{BIN}/corec' schema | head -c 1"],
        capture_output=True, text=True, timeout=patient(60), check=False,
    )  # fmt: skip
    assert found.stdout == "{"
    assert found.stderr == ""


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate")])
def test_without_memory_it_is_one_line(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def starved() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        told_in_a_line("corec", starved)
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"corec: {NO_MEMORY}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EACCES, "No leave", "/a"), "/a: No leave"),
        (OSError(errno.EACCES, "No leave"), "[Errno 13] No leave"),
        (OSError(errno.EAGAIN, "Not now"), f"Not now: {NO_PROCESS}"),
        (BlockingIOError(errno.EAGAIN, "Not now", 17), "standard output: Not now"),
        (OSError(errno.ENOSPC, "Full"), "standard output: Full"),
        (OSError(errno.ENOSPC, "Full", "/a"), "/a: Full"),
        (BrokenPipeError(errno.EPIPE, "Gone"), ""),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        told_in_a_line("corec", refused)
    assert ended.value.code == 1
    assert capfd.readouterr().err == (f"corec: {said}\n" if said else "")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), f"corec: {NO_MEMORY}\n"),
        (MemoryError("a world needs 1 MiB"), "corec: a world needs 1 MiB\n"),
        (OSError(errno.ENOSPC, "Full"), "corec: standard output: Full\n"),
        (OSError(errno.ENOSPC, "Full", "/a"), "corec: /a: Full\n"),
        (OSError(errno.EMFILE, "Too many", "/a"), "corec: /a: Too many\n"),
        (BrokenPipeError(errno.EPIPE, "Gone"), ""),
    ],
)
def test_export_and_fork_say_what_every_command_says(
    error: BaseException, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing was said of a bare MemoryError, and a full standard output had no name."""

    def refused() -> None:
        try:
            with explained():
                raise error
        except typer.Exit as ended:
            raise SystemExit(ended.exit_code) from None

    with pytest.raises(SystemExit) as ended:
        told_in_a_line("corec", refused)
    assert ended.value.code == 1
    assert capfd.readouterr().err == said


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400"])
def test_no_number_of_seconds(text: str) -> None:
    """NaN is within every limit."""
    with pytest.raises(typer.BadParameter, match="expected a finite number"):
        seconds_option("So long.").callback(float(text))
