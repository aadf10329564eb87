"""What happens to the instances of drawn worlds: deaths at random moments and at named points,
restarts, other numbers of workers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from typing import Final

from tests.oracle.drawn import EVEN, MIGRATE, WORKERS
from tests.support.instance import Running
from tests.support.processes import children_of, command_of, is_running, wait_until

ROLES: Final = ("worker", "persister", "broker", "nucleus")
WEIGHTS: Final = (5, 3, 3, 1)
DEATHS_PER_LIFE: Final = 4
"""Of one role between two starts: eight early deaths in a row would park it for a minute."""
DELAY_SECONDS: Final = 0.03
CHANGE_SECONDS: Final = 1.5
"""About as long as a change takes for which workers rest."""
POINTS: Final = {
    "worker": (
        "block.before_publish", "block.between_publish", "block.after_publish",
        "block.before_commit", "block.after_commit", "lane.publish.before", "lane.publish.after",
        "worker.before_done",
    ),
    "worker 0": ("leader.after_cut", "leader.before_go", "leader.after_go"),
    "broker": (
        "broker.before_multi", "broker.multi_sent", "broker.after_multi", "broker.before_release",
        "broker.after_release", "lane.release.before", "lane.release.after",
    ),
    "persister": (
        "persist.before_copy", "persist.after_copy", "persist.before_commit",
        "persist.after_commit", "persist.before_release", "persist.after_release",
    ),
}  # fmt: skip


def armed(dice: random.Random) -> list[str]:
    """Named points to die at: one or two for each role, ``role@point:pass``."""
    return [
        f"{role}@{dice.choice(points)}:{dice.randint(1, 6)}"
        for role, points in POINTS.items()
        for _ in range(dice.randint(0, 2 if role != "worker 0" else 1))
    ]


class Kills:
    """SIGKILLs while ticks run, and ends from which the instance is started again."""

    def __init__(self, dice: random.Random, *, often: float = 0.3, restarts: float = 0.06) -> None:
        self.dice, self.often, self.restarts = dice, often, restarts
        self.killed: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self._life: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._halt = threading.Event()

    def before_step(self, run: Running) -> None:
        """Perhaps somebody dies within the next moment."""
        if self.dice.random() < self.often:
            role = self.dice.choices(ROLES, WEIGHTS)[0]
            delay, pick = self.dice.random() * DELAY_SECONDS, self.dice.random()
            self._thread = threading.Thread(target=self._kill, args=(run, role, delay, pick))
            self._thread.start()

    def before_change(self, run: Running, path: str) -> None:
        """Perhaps somebody dies while the workers rest, or start again: the supervisor, too, where
        other fields are given."""
        if path in (MIGRATE, WORKERS, EVEN) and self.dice.random() < self.often:
            roles = (*ROLES, "supervisor") if path == MIGRATE else ROLES
            role = self.dice.choice(roles)
            delay, pick = self.dice.random() * CHANGE_SECONDS, self.dice.random()
            self._thread = threading.Thread(target=self._kill, args=(run, role, delay, pick))
            self._thread.start()

    def _kill(self, run: Running, role: str, delay: float, pick: float) -> None:
        self._halt.wait(delay)
        if role == "supervisor":
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.pid, signal.SIGKILL)
                self.killed[role] += 1
            wait_until(lambda: not is_running(run.pid), "the supervisor is dead", 10.0)
            return
        titles = {pid: command_of(pid) for pid in children_of(run.pid)}
        pids = sorted(pid for pid, title in titles.items() if title.startswith(f"corec: {role}"))
        if not pids or self._life[role] >= DEATHS_PER_LIFE:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[int(pick * len(pids))], signal.SIGKILL)
            self.killed[role] += 1
            self._life[role] += 1

    def between(self, run: Running) -> str | None:
        """The step was made; perhaps the instance ends now."""
        self.over()
        if self.dice.random() >= self.restarts:
            return None
        how = self.dice.choice(["stop", "kill"])
        self.ends[how] += 1
        self._life.clear()
        return how

    def over(self) -> None:
        """Whoever was to die has died."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
