"""What the supervisor shows on stderr: progress, one live status line, the summary."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from corec import layout as L
from corec.log import get_logger
from corec.process.roles import counted
from corec.process.runtime import Runtime, word_to_float
from corec.supervisor.note import Notes
from corec.supervisor.segments import world_tick
from corec.world.settings import set_otherwise

log = get_logger("corec.supervisor")
STATUS_SECONDS = 1.0
LOG_SECONDS = 60.0


class Face(Notes):
    """Progress for people on a terminal, log lines elsewhere. stdout is never touched."""

    def __init__(self, json: bool) -> None:
        super().__init__()
        self.json = json
        self._last = 0.0
        self._last_tick = 0
        self._shown = False

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """A bar (terminal) or a line now and then."""
        if not self.terminal:
            self.note(f"{what}: {total} entities")
            yield lambda _done, _total: None
            return
        from rich.console import Console  # not where nobody sees it: 3 MiB of each instance
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("corec: {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )  # one bar, one line
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done, _total: bar.update(task, completed=done)

    def started(self, rt: Runtime) -> None:
        """The world stands: where to look."""
        self.note(
            f"{rt.plan.entidades:,} entities in {rt.plan.n_blocks:,} blocks, "
            f"{rt.get(L.C_WORKERS)} workers, from tick {world_tick(rt)}"
        )
        for name, (value, said) in set_otherwise(rt).items():
            self.note(f"{name} is {value}, as it was set; the configuration says {said}")
        self.note(f"dashboard {rt.info['http_url']}/  metrics {rt.info['http_url']}/metrics")

    def status(self, rt: Runtime) -> None:
        """The live status line, at most once a second; off a terminal a log line each minute."""
        now = time.monotonic()
        every = STATUS_SECONDS if self.terminal else LOG_SECONDS
        if now - self._last < every:
            return
        tick = world_tick(rt)
        rate = (tick - self._last_tick) / (now - self._last) if self._last else 0.0
        self._last, self._last_tick = now, tick
        rows, out, into = (
            counted(rt.get, name) for name in ("rows_persisted", "messages_out", "messages_in")
        )
        state = L.STATE_NAMES[rt.get(L.C_STATE)]
        hz = word_to_float(rt.get(L.C_TICK_HZ))
        wanted = f"/{hz:g}" if hz else ""
        if self.terminal:
            sys.stderr.write(
                f"\r\x1b[Kcorec: {state}  tick {tick}  {rate:.1f}{wanted} ticks/s  "
                f"{rate * rt.plan.entidades / 1e6:.1f} M updates/s  "
                f"rows {rows}  out {out}  in {into}"
            )
            sys.stderr.flush()
            self._shown = True
        else:
            log.info("status", state=state, tick=tick, ticks_per_second=round(rate, 1), rows=rows,
                     messages_out=out, messages_in=into)  # fmt: skip

    def finished(self) -> None:
        """End the status line."""
        if self._shown:
            sys.stderr.write("\n")
            self._shown = False

    def summary(self, found: dict[str, Any]) -> None:
        """The summary for people, on stderr."""
        for key, value in found.items():
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            print(f"  {key:32s} {shown}", file=sys.stderr)
