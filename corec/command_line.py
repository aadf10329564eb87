"""What ``corec`` and ``corec-ctl`` share as command lines."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import typer
from typer.core import TyperGroup

NUMBER_MAX: Final = 2**63 - 1
"""The largest whole number an option takes: what a signed word holds."""
ENTITY_MAX: Final = 2**32 - 1
NO_MEMORY: Final = "not enough memory; see ulimit -v, and memory.max of its control group"
NO_PROCESS: Final = (
    "no process can be made; see the limits on processes (pids.max, TasksMax, ulimit -u), open "
    "files (ulimit -n) and memory"
)

# Common options of a command that may stand before it, too: name → whether a value follows.
_ANYWHERE: Final = {"--instance": True, "--config": True, "--json": False}


class AnywhereGroup(TyperGroup):
    """Commands whose common options stand before or after the command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move common options in front of the command behind its name."""
        return super().parse_args(ctx, moved(args))


def moved(args: list[str]) -> list[str]:
    """``args`` with the common options in front of the first word behind that word."""
    early: list[str] = []
    rest = list(args)
    while rest:
        name, equals, _ = rest[0].partition("=")
        if name not in _ANYWHERE or (equals and not _ANYWHERE[name]):
            break
        count = 2 if _ANYWHERE[name] and not equals else 1
        if len(rest) < count:
            break
        early += rest[:count]
        rest = rest[count:]
    if not rest:
        return []  # no command: the help says which there are
    return args if rest[0].startswith("-") else [*rest[:1], *early, *rest[1:]]


def version_option(program: str, version: str) -> Any:
    """The option ``--version`` of ``program``."""

    def show(wanted: bool) -> None:
        if wanted:
            print(f"{program} {version}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show the version.")


def seconds_option(what: str, least: float = 0.1, most: float | None = 3600.0) -> Any:
    """An option that takes a number of seconds. NaN, which is below and above nothing, is none."""

    def checked(value: float) -> float:
        if not math.isfinite(value):
            raise typer.BadParameter(f"found {value}, expected a finite number of seconds")
        return value

    return typer.Option(min=least, max=most, callback=checked, help=what)


def told_in_a_line(program: str, app: Callable[[], Any]) -> None:
    """Run the command line of ``program``: without memory, without room for what it prints, or
    refused a file or a process by the system, it ends with one line and exit code 1; quietly, when
    whoever read its output has gone."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except (MemoryError, OSError) as error:
        said = NO_MEMORY if isinstance(error, MemoryError) else text_of(error)
        if isinstance(error, OSError) and (
            error.errno in NOT_WRITTEN or hasattr(error, "characters_written")
        ):
            # what is left goes nowhere, or the interpreter would try and say it again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            said = f"{error.filename or 'standard output'}: {error.strerror}"
        if not isinstance(error, BrokenPipeError):
            print(f"{program}: {said}", file=sys.stderr)
        sys.exit(1)


NOT_WRITTEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)


def refused_by_the_system(error: BaseException) -> str | None:
    """What to say of ``error`` where the system has no memory, room, file, thread or process for
    us; None: it is something else."""
    if isinstance(error, MemoryError):
        return str(error) or NO_MEMORY
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return NO_PROCESS  # a thread is one, to the limits
    return text_of(error) if isinstance(error, OSError) else None


def text_of(error: OSError) -> str:
    """``error`` in one line: what it is about, what the system says, and what to do where only the
    system's limits say no."""
    if error.errno == errno.ENOMEM:
        return NO_MEMORY
    if error.errno == errno.EAGAIN:
        return f"{error.strerror}: {NO_PROCESS}"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
