"""Ctrl-C while a command is still being imported, which takes the better part of a second.

Python would show where in its imports it was. Until a command begins, the signal ends it as it ends
any program that has no handler: at once, without a word. Standard library only, and little of it:
this is imported first.
"""

from __future__ import annotations

import signal
import sys
from itertools import pairwise
from typing import Final

_COMMANDS: Final = ("corec", "corec-ctl")


def _a_command() -> bool:
    """Whether this process is one of CoreC's commands, and no program that imports CoreC."""
    script = sys.argv[0].rpartition("/")[2] if sys.argv else ""
    if script == "-m":  # so it is called until the module is found
        return ("-m", "corec") in pairwise(sys.orig_argv)
    return script in _COMMANDS


def unheard() -> None:
    """From now on Ctrl-C ends a command; one that ignores it, as behind an ``&``, goes on to."""
    if _a_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def heard() -> None:
    """The command begins: Ctrl-C is ``KeyboardInterrupt`` again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
