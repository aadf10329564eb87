"""One line on stderr about what goes on: dim on a terminal, a log line elsewhere."""

from __future__ import annotations

import sys

from corec.log import get_logger

log = get_logger("corec.supervisor")


class Notes:
    """Usable before the rest of the program is loaded."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()

    def note(self, text: str) -> None:
        """One line."""
        if self.terminal:
            sys.stderr.write(f"\x1b[2mcorec:\x1b[0m {text}\n")
            sys.stderr.flush()
        else:
            log.info(text)
