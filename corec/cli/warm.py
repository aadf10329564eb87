"""Compiling in a process of its own, once per state of the sources.

The compiler's memory (some 400 MB) then goes with that process instead of being inherited by every
process of the instance. A processor that is new later is compiled in a child of the supervisor for
the same reason (``corec.supervisor.opening``).

The function that ticks blocks takes nearly half of the time, so a second process compiles it while
the first one does the others; what one has kept, the other loads. Where there is one core only
there is nothing to win by that, and a compiler's memory to lose.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from corec.cache import is_cold, is_complete
from corec.proc import die_with, look_less_for_garbage
from corec.supervisor.signals import stops_later, unblocked

SAY_SECONDS: Final = 10.0
LONGEST: Final = "corec.kernels.block"
OTHERS: Final = (
    "corec.kernels.whole", "corec.kernels.inputs", "corec.kernels.mail", "corec.world.snapshot",
    "corec.worker.steps", "corec.broker.process", "corec.persister.process",
)  # fmt: skip
"""Modules that compile much, and do not import the longest."""


def warm(config: Path) -> None:
    """Fill the cache of compiled code if that is due. Failures show in the start that follows."""
    if not is_cold():
        return
    _say("compiling, once per version: half a minute, more on a busy machine")
    started = time.monotonic()
    with stops_later():
        compiling = subprocess.Popen(
            [sys.executable, "-m", "corec.cli.warm", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=partial(_child_of, os.getpid()),
        )
    try:
        while True:
            try:
                compiling.wait(SAY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                _say(f"still compiling, {time.monotonic() - started:.0f} s so far")
    finally:
        if compiling.poll() is None:
            compiling.kill()
            compiling.wait()


def _child_of(parent: int) -> None:
    unblocked()
    die_with(parent)


def _say(text: str) -> None:
    print(f"corec: {text}", file=sys.stderr, flush=True)


def beside() -> AbstractContextManager[subprocess.Popen[bytes] | None]:
    """A second process, which compiles the longest; none where there is no core for it."""
    if len(os.sched_getaffinity(0)) < 2:
        return nullcontext()
    program = f"import corec.proc; corec.proc.look_less_for_garbage(); import {LONGEST}"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        preexec_fn=partial(die_with, os.getpid()),
    )


def compile_all(config: Path) -> None:
    """Import what is compiled at import, and compile the processors of ``config``."""
    with beside():  # a failure shows in the import below
        for name in OTHERS:
            importlib.import_module(name)
    import corec.supervisor.main  # noqa: F401  # its imports compile what is left
    from corec.config import load_config
    from corec.entities.compile import compile_processor
    from corec.plan import make_plan

    is_complete()
    for swarm in make_plan(load_config(config)).swarms:
        compile_processor(swarm.processor, swarm.cap, swarm.meeting)


if __name__ == "__main__":
    look_less_for_garbage()
    compile_all(Path(sys.argv[1]))
