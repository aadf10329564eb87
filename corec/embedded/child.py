"""A server process as a direct child: started through launch.py, ended step by step, reaped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from corec.embedded.errors import EmbeddedServerError
from corec.embedded.home import User
from corec.embedded.waiting import waited_for

_LAUNCHER = Path(__file__).with_name("launch.py")
_ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
_LOG_BYTES_MAX = 16 * 1024 * 1024
_TAIL_BYTES = 4096
_TAIL_LINES = 6


def open_log(path: Path) -> int:
    """A file descriptor that appends to `path`; an overgrown log is set aside as `<name>.1`."""
    try:
        if path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(path.with_name(path.name + ".1"))
    except FileNotFoundError:
        pass  # the first start
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Child:
    """One run of a server program.

    The parent's *thread* that makes a Child must outlive it: the kernel sends the death signal
    when that thread ends. CoreC starts servers from its main thread.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        death_signal: signal.Signals,
        user: User | None = None,
        needs: Sequence[Path] = (),
    ) -> None:
        """Start `argv` as `user` (None: as we are). `needs`: directories it must be able to enter,
        and files it must be able to read.

        Its environment holds nothing but a path and a locale, so no secret of ours reaches it.
        """
        self._log = log
        log_fd = open_log(log)
        self._log_start = os.fstat(log_fd).st_size
        self._owner_pid = os.getpid()
        spec = {
            "parent": self._owner_pid,
            "death_signal": int(death_signal),
            "user": asdict(user) if user is not None else None,
            "needs": [str(path) for path in needs],
            "argv": list(argv),
        }
        environment = {k: os.environ[k] for k in _ENVIRONMENT_KEPT if k in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                cwd=cwd,
                env=environment | {"LC_ALL": "C", "HOME": str(cwd)},
                start_new_session=True,  # the terminal's Ctrl-C is for CoreC, which stops us
            )
        finally:
            os.close(log_fd)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; else its exit code, negative for a signal."""
        return self._process.poll()

    @property
    def ended(self) -> bool:
        """Whether it has ended, and is reaped."""
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> bool:
        """True when it has ended and is reaped within `timeout_s` seconds."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stopping(self, steps: Sequence[tuple[signal.Signals, float]]) -> Iterator[None]:
        """Send each signal and wait its seconds, until it has ended; SIGKILL comes last. Yields
        while it waits.

        Does nothing in a fork of the process that started it.
        """
        if os.getpid() != self._owner_pid:
            return
        for number, wait_s in (*steps, (signal.SIGKILL, 30.0)):
            if self.ended:
                return
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline and not self.ended:
                yield
        if not self.ended:
            raise EmbeddedServerError(f"process {self.pid} does not end, even by SIGKILL")

    def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """``stopping``, waited for."""
        waited_for(self.stopping(steps))

    def log_tail(self) -> str:
        """The last lines it wrote to its log, as the end of a line; empty when it wrote none."""
        try:
            with self._log.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._log_start, size - _TAIL_BYTES))
                lines = stream.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        said = [" ".join(line.split()) for line in lines if line.strip()]
        return f": {' | '.join(said[-_TAIL_LINES:])}" if said else ""
