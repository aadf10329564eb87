"""Changing the group under a living world: rest at a tick boundary, change, fork again.

The workers finish the tick they are in and leave; the other processes are killed, which they are
made for. Nothing is drained: lanes and blocks stay as they are, the new group goes on with them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Any, Final

from corec import layout as L
from corec.config import Config, ConfigError, Fault, load_config
from corec.nucleus.loadable import check_loadable
from corec.plan import with_settings
from corec.runtime import Runtime, float_to_word
from corec.supervisor.processes import Group
from corec.supervisor.wishes import Wishes
from corec.world.tables import Tables, settle

REST_SECONDS_MAX: Final = 30.0
CHANGEABLE: Final = frozenset(
    {"tick_hz", "carga", "workers", "persist", "streams", "checkpoint", "log", "modules", "plugins",
     "autoreparacion"}
)  # fmt: skip
BLOQUE_CHANGEABLE: Final = frozenset({"umbral", "autoreparacion"})
"""Keys of a bloque that may change, too; ``plan.with_settings`` takes them over."""


def rest(rt: Runtime, group: Group) -> bool:
    """Bring the workers to a tick boundary and end everybody; false: not in time, all goes on.

    A worker that dies on the way is started again, so that its tick gets finished.
    """
    rt.set(L.C_STOP, L.STOP_TICKS)
    _wake(rt)
    group.forgive()
    deadline = time.monotonic() + REST_SECONDS_MAX
    while group.running("worker") or any(
        m.restarts.due is not None for m in group.members if m.role == "worker"
    ):
        for member, code in group.reap():
            if member.role != "worker" or code != 0:
                group.schedule_restart(member, code)
        group.restart_due()
        if time.monotonic() > deadline:
            rt.set(L.C_STOP, L.STOP_NO)
            rt.set(L.C_FINAL, 0)
            for member in group.members:
                if member.process is None:
                    group.start(member)
            return False
        _poll([m.pidfd for m in group.running("worker")], 0.05)
    group.kill_all()
    return True


def retire_inherited(rt: Runtime, children: Sequence[int]) -> None:
    """End the processes that the code before ``exec`` forked: workers at a boundary, then all."""
    workers = {rt.slot(L.SLOT_WORKER0 + k).get(L.S_PID) for k in range(rt.lanes)}
    rt.set(L.C_STOP, L.STOP_TICKS)
    deadline = time.monotonic() + REST_SECONDS_MAX
    waiting = {pid for pid in children if pid in workers}
    while waiting and time.monotonic() < deadline:
        for pid in sorted(waiting):
            if _reaped(pid):
                waiting.discard(pid)
        time.sleep(0.002)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _wake(rt: Runtime) -> None:
    for bell in rt.doorbells:
        bell.wake()


def _poll(descriptors: Sequence[int], seconds: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(1000.0 * seconds)


def reloaded(old: Config, wishes: Wishes) -> Config | None:
    """The configuration file read again; None when nothing changed.

    Raises:
        ConfigError: it is faulty, or changes what can't change under a living world.
    """
    assert wishes.config_path is not None
    fresh = load_config(wishes.config_path, overrides=wishes.overrides)
    check_loadable(fresh)
    before, after = old.public_dict(), fresh.public_dict()
    differs = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    fixed = [k for k in differs if k not in CHANGEABLE and k != "bloques"]
    fixed += _fixed_bloques(before["bloques"], after["bloques"])
    if fixed:
        raise ConfigError([
            Fault(k, "a change under a living world", "a restart of the instance for this key")
            for k in fixed
        ])  # fmt: skip
    return fresh if differs else None


def _fixed_bloques(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """Paths of what differs between the bloques and can't change under a living world."""
    if len(before) != len(after):
        return ["bloques"]
    return [
        f"bloques[{index}].{name}"
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in BLOQUE_CHANGEABLE
    ]


def apply(rt: Runtime, config: Config, tables: Tables) -> None:
    """Give the instance a new configuration, everybody being at rest."""
    before: dict[str, Any] = {"tick_hz": rt.config.tick_hz, "carga": rt.config.carga}
    rt.config = config
    rt.plan = with_settings(rt.plan, config)
    settle(tables.swarms, rt.plan)
    if config.tick_hz != before["tick_hz"]:
        rt.set(L.C_TICK_HZ, float_to_word(config.tick_hz))
    if config.carga != before["carga"]:
        rt.set(L.C_CARGA, float_to_word(config.carga))
