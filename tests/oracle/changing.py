"""Changes of a drawn world, made in an instance that stands still; each tells after which tick it
counts."""

from __future__ import annotations

import copy
import shutil
import signal
from pathlib import Path
from typing import Any

from corec.control.client import Unreachable
from corec.control.discover import read_instance
from corec.control.outcome import MIGRATE_SIGNAL, await_change, last_change
from corec.control.protocol import ControlError
from corec.view.attached import Attached
from tests.oracle.drawn import CHANGING_MODULE, FORMS, GROW, MIGRATE, MODULES, WORKERS, WRITE
from tests.support.instance import Running
from tests.support.processes import wait_until

SECONDS_MAX = 60.0
EVEN_HZ = 10.0
"""At full load; at less, as much faster: a worker is to compute a tenth of a tick's time."""
EVEN_SECONDS_MAX = 120.0
"""Three looks of two seconds, a rest, and time for somebody's death among them."""
LIMITS = (".umbral.min", ".umbral.max")
"""One may be on the wrong side of what the other is by then."""
PERSIST = "persist."
TRIES = 4
"""Of a change in which somebody died."""


def into_plugins(home: Path) -> None:
    """The processors of the drawn worlds, as they are at first."""
    (home / "plugins").mkdir()
    for name, module in MODULES.items():
        shutil.copy(str(module.__file__), home / "plugins" / f"{name}.py")


def take_form(home: Path, number: int) -> None:
    """The text of what changes its fields becomes that of this form."""
    shutil.copy(str(FORMS[number].__file__), home / "plugins" / f"{CHANGING_MODULE}.py")


def change(run: Running, path: str, value: Any) -> int:
    """Make it; the tick after which it counts."""
    first = run.instance.config["bloques"][0]["id"]  # whose umbral the file changes
    whole = path.endswith(".umbral") and path != f"bloques.{first}.umbral"
    at_once = whole or path.startswith("globals.") or path.endswith((".min_fitness", *LIMITS))
    if path == "carga" or at_once or ".parametros." in path:
        return int(run.answered("set", path=path, value=value)["after_tick"])
    if path.startswith(GROW):
        return _grow(run, path.removeprefix(GROW), int(value))
    if path.startswith(WRITE):
        return _write(run, path.removeprefix(WRITE), value)
    if path == MIGRATE:
        take_form(run.instance.home, int(value))
        _await(run, "upgrade", MIGRATE_SIGNAL, TRIES)
    elif path == WORKERS:
        _other_workers(run)
    else:
        _reload(run, path, value)
    return int(run.answered("digest")["tick"])


def even_out(run: Running) -> bool:
    """Let it tick until its workers' shares are others; whether there was anything to even out."""
    before = owners(run)
    if len(set(before)) < 2:
        return False
    run.answered("set", path="tick_hz", value=EVEN_HZ / run.answered("status")["carga"])
    run.answered("resume")
    what = f"the shares are evened out, which were {before}"
    wait_until(lambda: owners(run) not in ([], before), what, EVEN_SECONDS_MAX)
    run.answered("pause")
    return True


def owners(run: Running) -> list[int]:
    """Which worker ticks each block; none while nobody answers."""
    try:
        blocks = run.ask("blocks", limit=1000)["blocks"]
        return [int(run.ask("block", id=block["id"])["worker"]) for block in blocks]
    except (Unreachable, ControlError):
        assert run.process.poll() is None, run.texts()[1][-3000:]
        return []


def _other_workers(run: Running) -> None:
    """One more, or one fewer where each block has one."""
    status = run.answered("status")
    workers = sum(process["role"] == "worker" for process in status["processes"])
    if status["bloques"] > 1:
        more = workers < status["bloques"]
        _await(run, "workers", signal.SIGTTIN if more else signal.SIGTTOU, TRIES)


def _grow(run: Running, bloque: str, more: int) -> int:
    """So many more entities."""
    answer = run.ask("grow", 10.0, bloque=bloque, more=more)  # once: nobody dies now
    if "after_change" in answer:
        outcome = await_change(
            run.instance.folder, int(answer["after_change"]), str(answer["change"]),
            lambda: run.process.poll() is None,
        )  # fmt: skip
        assert outcome["accepted"], outcome
    return int(answer["after_tick"])


def _reload(run: Running, path: str, value: Any) -> None:
    """The configuration file changed, and taken over."""
    config = copy.deepcopy(run.instance.config)
    if path.startswith(PERSIST):
        config["persist"][path.removeprefix(PERSIST)] = value
        run.instance.configure(config)
        _await(run, "reload", signal.SIGHUP)
        return
    _, swarm, key = path.split(".", 2)
    bloque = next(b for b in config["bloques"] if b["id"] == swarm)
    kept = bloque.get("autoreparacion", {})
    bloque.update({"autoreparacion": {**kept, "max_errores": value}} if "." in key else
                  {key: value})  # fmt: skip
    run.instance.configure(config)
    _await(run, "reload", signal.SIGHUP)


def _await(run: Running, what: str, number: int, tries: int = 1) -> None:
    for _ in range(tries):
        before = int(last_change(run.instance.folder)["number"])
        run.signal(number)
        outcome = await_change(
            run.instance.folder, before, what, lambda: run.process.poll() is None
        )  # fmt: skip
        if outcome["accepted"]:
            return
        run.ready(SECONDS_MAX)
    raise AssertionError(outcome)


def _write(run: Running, bloque: str, given: dict[str, Any]) -> int:
    """As ``corec.attach`` does, until somebody answers; twice is once, no tick is in between."""

    def written() -> int:
        instance = read_instance(run.instance.folder)
        assert instance is not None
        with Attached(instance) as found:
            return found.write(bloque, given["fields"], ids=given["ids"])

    return run.patiently(written, "it is written", SECONDS_MAX)
