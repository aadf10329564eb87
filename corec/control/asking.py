"""What every command of ``corec-ctl`` uses: its common options, its errors, its ways to answer."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from corec.command_line import NOT_WRITTEN
from corec.config import ConfigError
from corec.control import console
from corec.control.client import Client, Unreachable
from corec.control.discover import Instance, NoInstance, SeveralInstances
from corec.control.fallback import MemoryUnreadable
from corec.control.protocol import ControlError
from corec.control.waits import AT_ONCE_SECONDS
from corec.exits import EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_USAGE
from corec.log import mask
from corec.private import NotPrivate
from corec.terminal import harmless

WIDTH_PIPED = 1 << 20

InstanceOption = Annotated[
    str | None, typer.Option("--instance", metavar="ID", help="The instance_id to talk to.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The instance of this config file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def fail(message: str, code: int) -> NoReturn:
    """Say ``message`` on stderr and exit with ``code``."""
    print(f"corec-ctl: {harmless(mask(message))}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def explained() -> Iterator[None]:
    """Turn every expected failure into one message and its exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read the output has gone: that ends the command quietly
    except NoInstance as error:
        fail(str(error), EXIT_NOT_RUNNING)
    except UnicodeEncodeError as error:
        fail(f"found an argument that is no UTF-8: {ascii(error.object)[:80]}", EXIT_USAGE)
    except (SeveralInstances, ConfigError, NotPrivate) as error:
        fail(str(error), EXIT_USAGE)
    except ControlError as error:
        fail(str(error), EXIT_USAGE if error.code == "bad_request" else EXIT_FAILED)
    except (Unreachable, MemoryUnreadable, console.AskFailed) as error:
        fail(str(error), EXIT_FAILED)
    except OSError as error:
        if error.filename is None and error.errno in NOT_WRITTEN:
            raise  # what was to be printed, which ``told_in_a_line`` says
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        fail(named, EXIT_FAILED)


class _Plain(Console):
    """Whose every cell is text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As the console's own, of what is nothing but text."""
        return super().render_str(harmless(text), **options)


def plain_console() -> Console:
    """For stdout, showing every text as it is: what a row, a name or a path holds is no markup of
    the console's, no name of an emoji, and tells the terminal nothing. What does not go to a
    terminal is never folded, so that grep and awk work."""
    width = None if sys.stdout.isatty() else WIDTH_PIPED
    return _Plain(width=width, markup=False, emoji=False)


def output(data: Any, as_json: bool, picture: Callable[[Any], RenderableType]) -> None:
    """Print ``data`` as JSON, or as the ``picture`` of it."""
    if as_json:
        print(json.dumps(data, ensure_ascii=False))
    else:
        plain_console().print(picture(data))


@contextmanager
def waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """Say on a terminal what is waited for, as long as it is."""
    with Console(stderr=True, quiet=quiet).status(Text(what)):
        yield


def as_value(text: str) -> Any:
    """A word of the command line as a value: a number, or what JSON says, else the text itself."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = float(text)  # .5, 1.
        except ValueError:
            return text
    if isinstance(found, float) and not math.isfinite(found):
        return text  # what JSON can't carry is refused by what was written
    return found


def ask(instance: Instance, op: str, seconds: float = AT_ONCE_SECONDS, **args: Any) -> Any:
    """What the instance's control socket answers to ``op``."""
    with Client(Path(instance.socket), AT_ONCE_SECONDS) as client:
        return client.ask(op, args, seconds)
