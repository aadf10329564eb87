"""Logging of every process: structlog, one line per ``write()``, on standard error or in a file.

A file that was renamed is opened again by its name: at once in a process that calls ``reopen``,
within a second of its next line in every other.

Nothing else than a log line goes to that descriptor, and each line goes there in one ``write()``
to a descriptor opened with ``O_APPEND``, so lines of several processes never mix. Standard
output stays free for what a program reads (``--json``). A line that cannot be written now (a full
disk, a terminal that was stopped or closed, a pipe that nobody empties) is dropped; the next one
that can says how many were.

Records of the standard ``logging`` module (asyncio, uvicorn, redis) take the same way. Passwords
are masked on the finished line: those announced with ``hide`` (a configuration that is loaded
announces its own), those in URLs and those in ``password=`` pairs, whatever wrote them. What is
printed instead of logged goes through ``mask``, a traceback that ends a process included.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

from corec.terminal import Output, error_output, harmless

# structlog takes Rich where it finds it: 5 MiB of an instance, for tracebacks of its own that show
# every local variable, secrets among them.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]  # documented: an import of it then fails
try:
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor
finally:
    del sys.modules["rich"]
    if _rich is not None:
        sys.modules["rich"] = _rich

_URL_PASSWORD = re.compile(r"(\w://[^\s:/@'\"]*):[^\s@'\"]+@")
_PAIR_PASSWORD = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token)(\s*=\s*)('[^']*'|[^\s'\",&]+)"
)
_SECRET_KEYS = re.compile(r"(?i)password|secret|token|credential|conninfo")
_MASK = "***"
_SECRET_CHARS_MIN = 4
_CLEAR_LINE = "\r\x1b[K"  # on a terminal, a log line takes the place of the live status line
_FILE_MODE = 0o600
_LOOK_SECONDS = 1.0
_TALKATIVE = ("numba", "asyncio", "uvicorn")  # their debug lines say nothing about CoreC

_secrets: list[str] = []


class _Sink(logging.Handler):
    """Writes each formatted record as one line with one ``write()``, which does not wait."""

    def __init__(self, path: Path | None, clear: str = "") -> None:
        super().__init__()
        self.path = path
        self.clear = clear
        self.descriptor = -1 if path is None else _open(path)
        self.output = error_output() if path is None else Output(self.descriptor, own=True)
        self._looked = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.path is not None and time.monotonic() - self._looked > _LOOK_SECONDS:
                self._follow(self.path)
            line = self.clear + mask(self.format(record)).rstrip("\n") + "\n"
            written = self.output.write_all(line.encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - a log that cannot be written must not stop a tick
            self.handleError(record)
            return
        if written and self.output.lost:
            lost, self.output.lost = self.output.lost, 0
            get_logger(__name__).warning("log lines could not be written and are lost", lines=lost)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line: there is nowhere left to say that it could not be written."""

    def _follow(self, path: Path) -> None:
        """Reopen after a rotation that nobody told this process about."""
        self._looked = time.monotonic()
        ours = os.fstat(self.descriptor)
        try:
            named = os.stat(path)
        except FileNotFoundError:
            self.reopen()
            return
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
            self.reopen()

    def reopen(self) -> None:
        if self.path is None:
            return
        fresh = _open(self.path)
        # dup2 keeps the number, so a line that is being written goes to the old or the new file
        os.dup2(fresh, self.descriptor, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        if self.path is not None and self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        super().close()


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    # a pipe that nobody reads is refused instead of waited for, and never waited for later
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags, _FILE_MODE)


def try_file(path: Path | None) -> None:
    """See whether ``configure`` could open it. Raises OSError."""
    if path is not None:
        os.close(_open(path))


def hide(secret: str | None) -> None:
    """Mask ``secret`` wherever it appears in a later line of this process and its forks: as it is,
    as a URL, JSON or Python would write it."""
    if not secret or len(secret) < _SECRET_CHARS_MIN:
        return
    forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms.add(json.dumps(secret, ensure_ascii=False)[1:-1])
    _secrets[:] = sorted({*_secrets, *forms}, key=len, reverse=True)  # the whole before its parts


def show_masked(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A ``sys.excepthook`` that shows no secret."""
    sys.stderr.write(mask("".join(traceback.format_exception(kind, error, trace))))


def mask(text: str) -> str:
    """``text`` with every password that can be recognised replaced by ``***``."""
    for secret in _secrets:
        text = text.replace(secret, _MASK)
    text = _URL_PASSWORD.sub(rf"\1:{_MASK}@", text)
    return _PAIR_PASSWORD.sub(rf"\1\2{_MASK}", text)


def _mask_keys(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if _SECRET_KEYS.search(name):
            event[name] = _MASK
    return event


def _as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """For people: what is told is others' words, and a terminal is not to obey them."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = harmless(value)
    return event


_role = "corec"


def set_role(role: str) -> None:
    """Say who writes the lines from now on (``worker 3``): a forked process has its own role."""
    global _role  # one per process, like the handlers of ``logging``
    _role = role


def _add_identity(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["role"] = _role
    event["pid"] = os.getpid()
    return event


def configure(
    format: str = "auto", level: str = "info", file: Path | str | None = None, role: str = "corec"
) -> None:
    """Set logging up for this process; a later call replaces the earlier one.

    ``format`` is ``auto`` (console on a terminal, else JSON), ``console`` or ``json``; ``level``
    one of debug, info, warning, error; ``file`` None is standard error. Raises ``OSError`` when
    the file cannot be opened, ``ValueError`` for another format or level.
    """
    if format not in ("auto", "console", "json"):
        raise ValueError(f'log format: found {format!r}, expected "auto", "console" or "json"')
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"log level: found {level!r}, expected debug, info, warning or error")
    set_role(role)
    sys.excepthook = show_masked
    path = None if file is None else Path(file)
    terminal = path is None and os.isatty(2)
    as_json = format == "json" or (format == "auto" and not terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_identity,
        _mask_keys,
    ]
    render: list[Processor]
    if as_json:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        render = [
            _as_text,
            structlog.dev.ConsoleRenderer(
                colors=terminal, pad_event_to=36, exception_formatter=plain
            ),
        ]
    sink = _Sink(path, _CLEAR_LINE if terminal else "")
    sink.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Sink):
            root.removeHandler(handler)
            handler.close()
    root.addHandler(sink)
    root.setLevel(threshold)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.raiseExceptions = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def reopen() -> None:
    """Open the log file again by its name (after a log rotation); nothing for standard error."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Sink):
            handler.reopen()


def get_logger(name: str) -> FilteringBoundLogger:
    """A structlog logger; ``log.info("what happened", key=value)``."""
    return cast(FilteringBoundLogger, structlog.stdlib.get_logger(name))
