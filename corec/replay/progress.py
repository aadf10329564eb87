"""How a replay shows that it lives: a bar on a terminal, a line every few seconds elsewhere.

Everything goes to stderr; stdout belongs to the summary.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from corec.log import mask

LINE_EVERY_S = 5.0


def readable(count: float) -> str:
    """950, 12.3 k, 4.7 M, 1.2 G."""
    for unit in ("", " k", " M", " G"):
        if count < 1000 or unit == " G":
            break
        count /= 1000
    return f"{count:.0f}{unit}" if not unit else f"{count:.1f}{unit}"


class ProgressView:
    """Context manager. `total` readings, None when there is no end. `tell` prints a line at any
    time."""

    def __init__(self, total: int | None, quiet: bool = False) -> None:
        self._total = total
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._began = self._next_line = time.monotonic()

    def __enter__(self) -> ProgressView:
        if sys.stderr.isatty() and not self._quiet:
            self._bar = Progress(
                TextColumn("replay"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("replay", total=self._total, text="")
            self._bar.start()
        self._began = time.monotonic()
        self._next_line = self._began + LINE_EVERY_S
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, line: str) -> None:
        self._console.print(f"corec replay: {mask(line)}", markup=False, emoji=False)

    def update(self, readings: int) -> None:
        now = time.monotonic()
        text = (
            f"{readable(readings)} readings, {readable(readings / max(now - self._began, 1e-9))}/s"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=readings, text=text)
        elif now >= self._next_line and not self._quiet:
            self._next_line = now + LINE_EVERY_S
            of = f" of {readable(self._total)}" if self._total is not None else ""
            self.tell(text.replace(" readings", f"{of} readings", 1))
