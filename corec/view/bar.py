"""A bar for what takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(ticks: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Takes how many ticks are done; with a bar in a terminal or a notebook if it is ``shown``."""
    if not shown:
        yield lambda done: None
        return
    from rich.progress import Progress  # takes a while to import, and few ask for a bar

    with Progress(transient=True) as shown_bar:
        task = shown_bar.add_task("ticks", total=ticks)
        yield lambda done: shown_bar.update(task, completed=done)


def ignored(done: int, total: int) -> None:
    """Making a world shows no progress."""
