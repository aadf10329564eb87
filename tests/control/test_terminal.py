"""Standard output and error: written without waiting, whatever is at the other end."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from corec import log
from corec.terminal import Document, Output, terminal_gone
from tests.support.instance import REPO
from tests.support.processes import patient, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
LINE = b"x" * 200 + b"\n"
LINES = 2000  # more than a pipe, a socket or a terminal holds


@pytest.fixture
def closing_all() -> Iterator[ExitStack]:
    """Closed at the end of the test."""
    with ExitStack() as stack:
        yield stack


def _pipe(stack: ExitStack) -> tuple[int, Callable[[], bytes]]:
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return write, lambda: os.read(read, 1 << 20)


def _stopped_terminal(stack: ExitStack) -> tuple[int, Callable[[], bytes]]:
    main, side = pty.openpty()
    stack.callback(os.close, main)
    stack.callback(os.close, side)
    os.write(main, b"\x13")  # Ctrl-S

    def again() -> bytes:
        os.write(main, b"\x11")  # Ctrl-Q: it took nothing meanwhile
        return b""

    return side, again


def _socket(stack: ExitStack) -> tuple[int, Callable[[], bytes]]:
    ours, theirs = socket.socketpair()
    stack.enter_context(closing(ours))
    stack.enter_context(closing(theirs))
    return ours.fileno(), lambda: theirs.recv(1 << 20)


@pytest.mark.parametrize("end", [_pipe, _stopped_terminal, _socket])
@pytest.mark.parametrize("again", [True, False])
def test_what_has_no_room_is_dropped_and_counted(
    end: Callable[[ExitStack], tuple[int, Callable[[], bytes]]],
    again: bool,
    closing_all: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    descriptor, drain = end(closing_all)
    if not again:  # another user's terminal or pipe can't be opened again
        monkeypatch.setattr("corec.terminal.os.open", _refused)
    output = closing_all.enter_context(closing(Output(descriptor)))
    monkeypatch.undo()
    written = sum(output.write_all(LINE) for _ in range(LINES))
    assert written < LINES
    assert output.lost == LINES - written
    assert os.get_blocking(descriptor), "whoever shares the descriptor still waits"
    drain()
    wait_until(lambda: output.write_all(b"once more\n"), "there is room again")
    output.lost = 0
    assert output.write_all(b"and more\n")
    assert output.lost == 0


def _refused(*_args: object) -> int:
    raise PermissionError(13, "Permission denied")


def test_a_pipe_without_a_reader_and_a_full_disk(closing_all: ExitStack) -> None:
    read, write = os.pipe()
    os.close(read)
    closing_all.callback(os.close, write)
    full = os.open("/dev/full", os.O_WRONLY)
    closing_all.callback(os.close, full)
    for descriptor in (write, full):
        output = closing_all.enter_context(closing(Output(descriptor)))
        assert not output.write_all(LINE)
        assert output.write(LINE) == len(LINE), "as a stream it says that all is well"
        assert output.lost == 2


def test_a_terminal_that_is_gone(closing_all: ExitStack) -> None:
    main, side = pty.openpty()
    closing_all.callback(os.close, side)
    output = closing_all.enter_context(closing(Output(side)))
    assert output.write_all(LINE)
    before = os.dup(0)
    closing_all.callback(os.close, before)
    os.dup2(side, 0)
    closing_all.callback(os.dup2, before, 0)
    assert not terminal_gone()
    os.close(main)
    assert terminal_gone()
    assert not output.write_all(LINE)


def test_a_file_keeps_the_position_that_its_sharers_have(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as shared, closing(Output(shared.fileno())) as output:
        shared.write(b"one\n")
        output.write_all(b"two\n")
        shared.write(b"three\n")
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\nthree\n"


def test_the_log_says_how_many_lines_are_lost(tmp_path: Path) -> None:
    root = logging.getLogger()
    handlers = list(root.handlers)
    path = tmp_path / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        log.configure("json", "info", path, "test")
        logger = log.get_logger("corec.test")
        for number in range(100):
            logger.info("a line", number=number)
        first = os.read(reader, 1 << 16).splitlines()
        logger.info("read again")
        after = [json.loads(line) for line in os.read(reader, 1 << 16).splitlines()]
        assert [line["event"] for line in after] == [
            "read again", "log lines could not be written and are lost",
        ]  # fmt: skip
        assert after[1]["lines"] == 100 - len(first)
    finally:
        for handler in [h for h in root.handlers if h not in handlers]:
            root.removeHandler(handler)
            handler.close()
        os.close(reader)


def test_a_log_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device or address"):
        log.configure("json", "info", tmp_path / "log", "test")


def run(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A Python program of its own."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPO,
        text=True,
        timeout=patient(60),
        check=False,
        **options,
    )  # type: ignore[call-overload]  # options as given
    return done


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_descriptors_are_opened_on_nothing(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    program = f"""
import os, subprocess, sys
code = '''
import os, sys
from corec.terminal import make_valid, protect
make_valid()
protect()
fresh = os.open({str(tmp_path / "first")!r}, os.O_WRONLY | os.O_CREAT)
print("to out")
print("to err", file=sys.stderr)
os.write(fresh, str(fresh).encode())
'''
def shut():
    for number in {closed!r}:
        os.close(number)
done = subprocess.run([sys.executable, "-c", code], preexec_fn=shut, close_fds=False)
sys.exit(done.returncode)
"""
    done = run(program, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "first").read_text()) > 2
    assert ("to out" in done.stdout) == (1 not in closed)
    assert ("to err" in done.stderr) == (2 not in closed)


@pytest.mark.slow
def test_standard_output_is_one_document() -> None:
    program = """
import os, subprocess
from corec.terminal import Document, protect
from tests.support.processes import patient, wait_until
protect()
document = Document()
print("a plugin speaks")
subprocess.run(["echo", "a program speaks"])
os.write(1, b"a library speaks\\n")
document.write(b'{"a": 1}\\n', 5.0)
"""
    done = run(program, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"a": 1}
    assert done.stderr.count("speaks") == 3


def test_a_document_that_nobody_takes_is_given_up(closing_all: ExitStack) -> None:
    write, _drain = _pipe(closing_all)
    saved, error = os.dup(1), sys.stdout
    closing_all.callback(os.close, saved)
    os.dup2(write, 1)
    try:
        document = Document()
    finally:
        os.dup2(saved, 1)
        sys.stdout = error
    closing_all.callback(os.close, document.descriptor)
    with pytest.raises(TimeoutError):
        document.write(b"x" * (1 << 21), 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["corec.control.ctl", "--version"], ["corec", "schema"]])
def test_what_a_command_prints_has_no_room(command: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", *command], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith(": standard output: No space left on device")


@pytest.mark.slow
def test_any_encoding_will_do() -> None:
    program = "from corec.terminal import *; protect(); print('años…')"
    done = run(program, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.stdout == "a\\xf1os\\u2026\n"
