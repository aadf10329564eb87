"""Exit codes, and the error that carries one."""

from __future__ import annotations

from typing import Final

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
"""Of a command or a configuration: nothing was started."""
EXIT_NOT_RUNNING: Final = 3
EXIT_ALIVE: Final = 4


class StartFailed(Exception):
    """The instance can't start; ``code`` is the exit code, the text one clear line per fault."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
