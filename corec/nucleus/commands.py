"""What the control socket's requests do. Each method ``do_<op>`` takes the arguments as JSON data.

A mutation changes a word of line 2 and answers when it is in effect: the hold that follows it is
acknowledged between two ticks, after which no tick can start that did not see the new word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from corec import layout as L
from corec.config.change import SHOWN
from corec.config.checks import RATE_ALLOWED, TICK_HZ_MAX, rate_allowed
from corec.control.protocol import ControlError, Request, brief
from corec.control.setting import WORDS
from corec.control.waits import SNAPSHOT_SECONDS, STEP_SECONDS
from corec.log import get_logger
from corec.nucleus.arguments import integer, number, only
from corec.nucleus.carga import Carga
from corec.nucleus.checkpoints import CALLED_OFF, CalledOff, Checkpointer, CheckpointFailed
from corec.nucleus.digests import Digester
from corec.nucleus.doctor import examine
from corec.nucleus.hold import Holder, HoldTimeout
from corec.nucleus.journaled import durable
from corec.nucleus.lease import SECONDS_MAX as HOLD_SECONDS_MAX
from corec.nucleus.lease import Leases
from corec.nucleus.left import edit_left
from corec.nucleus.setting import Setter
from corec.nucleus.views import Views
from corec.process.roles import committed_tick
from corec.process.runtime import Runtime, float_to_word, word_to_float
from corec.world.contents import contents
from corec.world.evolved import evolution
from corec.world.inspect import block, entity
from corec.world.snapshot import Abandoned

log = get_logger(__name__)

_BLOCKS_PER_ANSWER = 1000
_STEP_TICKS_MAX = 1_000_000_000
_STEP_SECONDS_MAX = 3600.0
_STEP_POLL_SECONDS = 0.002
_STEP_POLL_SECONDS_MAX = 0.02

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]


class Commands:
    """The requests of one nucleus."""

    def __init__(
        self, rt: Runtime, holder: Holder, views: Views, checkpoints: Checkpointer
    ) -> None:
        self.rt = rt
        self.checkpoints = checkpoints
        self.holder = holder
        self.leases = Leases(holder)
        self.events = checkpoints.events
        self.settings = Setter(rt, holder, checkpoints.events)
        self.carga = Carga(rt, holder, self.settings.once)
        self.digests = Digester(rt, holder, checkpoints.aside)
        self.views = views
        self._stepping = asyncio.Lock()
        self._handlers: dict[str, Handler] = {
            name.removeprefix("do_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("do_")
        }

    async def handle(self, request: Request) -> Any:
        """The result of ``request``; raises ``ControlError``."""
        handler = self._handlers.get(request.op)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            raise ControlError(
                f"{brief(request.op)} is not available in this version; available: {known}",
                "unknown_op",
            )
        try:
            return await handler(request.args)
        except HoldTimeout as error:
            raise ControlError(str(error), "timeout") from None

    async def do_status(self, args: Mapping[str, Any]) -> Any:
        only(args)
        return await self.views.status_with_memory()

    async def do_workers(self, args: Mapping[str, Any]) -> Any:
        only(args)
        rows = self.views.status()["processes"]
        return {"workers": [row for row in rows if row["role"] == "worker"]}

    async def do_digest(self, args: Mapping[str, Any]) -> Any:
        only(args)
        try:
            return await self.digests.ask()
        except Abandoned:
            raise ControlError(CALLED_OFF, "again") from None
        except OSError as error:
            raise ControlError(f"no room for a copy of the world: {error.strerror}") from None
        except MemoryError as error:
            raise ControlError(f"no memory for a copy of the world: {error}") from None

    async def do_entity(self, args: Mapping[str, Any]) -> Any:
        only(args, "id")
        plan = self.rt.plan
        wanted = integer(args, "id", 0, plan.entidades - 1, None)
        return entity(plan, self.rt.world.words, wanted)

    async def do_block(self, args: Mapping[str, Any]) -> Any:
        only(args, "id")
        return block(self.rt, self._block_of(args.get("id")), self.settings.plan_now())

    async def do_blocks(self, args: Mapping[str, Any]) -> Any:
        only(args, "offset", "limit")
        total = self.rt.plan.n_blocks
        offset = integer(args, "offset", 0, 1 << 32, 0)
        limit = integer(args, "limit", 1, _BLOCKS_PER_ANSWER, 100)
        wanted = range(offset, min(total, offset + limit))
        now = self.settings.plan_now()
        rows = [block(self.rt, i, now) for i in wanted]
        return {"total": total, "offset": offset, "blocks": rows}

    async def do_world(self, args: Mapping[str, Any]) -> Any:
        """What there is: swarms, their fields and spaces, globals, as they count now."""
        only(args)
        now = self.settings.plan_now()
        return contents(self.rt.config, now, committed_tick(self.rt.get))

    async def do_evolution(self, args: Mapping[str, Any]) -> Any:
        only(args)
        return {"swarms": evolution(self.rt.plan, self.rt.world.words)}

    async def do_pause(self, args: Mapping[str, Any]) -> Any:
        only(args)
        self._not_while_draining()
        if not self.rt.get(L.C_PAUSED):
            # an old step limit must not let ticks through once the pause is seen
            self.rt.set(L.C_STEP_LIMIT, 0)
            self.rt.set(L.C_PAUSED, 1)
            log.info("paused")
        return {"paused": True, "tick": await self._takes_effect("paused")}

    async def do_resume(self, args: Mapping[str, Any]) -> Any:
        only(args)
        self._not_while_draining()
        if self.rt.get(L.C_PAUSED):
            self.rt.set(L.C_PAUSED, 0)
            self.rt.set(L.C_STEP_LIMIT, 0)
            log.info("resumed")
        return {"paused": False, "tick": await self._takes_effect("resumed")}

    async def do_step(self, args: Mapping[str, Any]) -> Any:
        """Run exactly ``ticks`` more while paused, at once; answers when they are committed.

        One after the other: the ticks of several clients add up, and each hears of its own.
        """
        only(args, "ticks", "timeout_seconds")
        self._not_while_draining()
        ticks = integer(args, "ticks", 1, _STEP_TICKS_MAX, 1)
        seconds = number(
            {"timeout_seconds": STEP_SECONDS, **args}, "timeout_seconds", 0.001,
            _STEP_SECONDS_MAX, f"seconds up to {_STEP_SECONDS_MAX:g}",
        )  # fmt: skip
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._stepping.acquire()
        except TimeoutError:
            raise ControlError(
                f"another client's step took longer than {seconds:g} s; none of these was run",
                "timeout",
            ) from None
        try:
            return await self._stepped(ticks, began, seconds)
        finally:
            self._stepping.release()

    async def _stepped(self, ticks: int, began: float, seconds: float) -> dict[str, Any]:
        if not self.rt.get(L.C_PAUSED):
            raise ControlError("found a running world, expected a paused one: pause", "refused")
        self._not_while_draining()
        start = await self._in_effect()
        target = start + ticks
        limit = self.rt.get(L.C_LIMIT_TICK)
        if target > limit:
            raise ControlError(
                f"found {ticks} ticks from tick {start}, expected none after {limit}", "refused"
            )
        self.rt.set(L.C_STEP_LIMIT, target)
        self.holder.ring_leader()
        deadline = began + seconds
        while committed_tick(self.rt.get) < target:
            late = time.monotonic() >= deadline
            if late or not self.rt.get(L.C_PAUSED) or self.rt.get(L.C_STOP):
                raise await self._step_cut_short(start, ticks, seconds, late=late)
            # a hundredth of what it takes anyway: to look costs the ticks some time, too
            waited = time.monotonic() - began
            await asyncio.sleep(min(max(waited / 100, _STEP_POLL_SECONDS), _STEP_POLL_SECONDS_MAX))
        return {"paused": True, "from_tick": start, "tick": target, "stepped": ticks}

    async def _step_cut_short(
        self, start: int, ticks: int, seconds: float, *, late: bool
    ) -> ControlError:
        """No further tick of the step goes; how many did."""
        self.rt.set(L.C_STEP_LIMIT, 0)
        with contextlib.suppress(HoldTimeout):  # a tick that is under way still counts
            await self._in_effect()
        done = min(ticks, committed_tick(self.rt.get) - start)
        why = "the world was resumed"
        if late:
            why = f"{seconds:g} s were not enough"
        elif self.rt.get(L.C_STOP):
            why = "the instance is stopping"
        return ControlError(
            f"{why}: from tick {start}, {done} of {ticks} ticks were run",
            "timeout" if late else "refused",
        )

    async def do_set(self, args: Mapping[str, Any]) -> Any:
        """Change a key of the living world, or several after one tick (not of the config file)."""
        only(args, "path", "value", "changes")
        self._not_while_draining()
        if "changes" in args:
            changes = args["changes"]
            if not isinstance(changes, Mapping) or not changes or {"path", "value"} & set(args):
                raise ControlError(
                    f"changes: found {brief(changes)}, expected an object of values by path, alone",
                    "bad_request",
                )
            return await self._set_several(changes)
        path = args.get("path")
        if path in WORDS:
            return await self._set_word(path, self._word(path, args))
        if not isinstance(path, str) or "value" not in args:
            raise ControlError(f"path: found {brief(path)}, expected {SHOWN}", "bad_request")
        value = args["value"]
        return {"path": path, "value": value, **await self.settings.set({path: value})}

    async def do_grow(self, args: Mapping[str, Any]) -> Any:
        """Give a bloque so many more entities; ``entidades`` of the answer is how many it has."""
        only(args, "bloque", "more")
        self._not_while_draining()
        more = integer(args, "more", 1, 1 << 32, None)
        names = {one.id: one.entidades for one in self.rt.config.bloques}
        name = args.get("bloque")
        if not isinstance(name, str) or name not in names:
            known = ", ".join(names)
            raise ControlError(
                f"bloque: found {brief(name)}, expected one of {known}", "bad_request"
            )
        total = names[name] + more
        done = await self.settings.set({f"bloques.{name}.entidades": total})
        return {"bloque": name, "entidades": total, **done}

    async def do_taken_back(self, args: Mapping[str, Any]) -> Any:
        """Of a ``set`` or ``grow`` that the supervisor has refused: once nothing of it counts."""
        only(args, "after_change")
        return await self.settings.taken_back(integer(args, "after_change", 0, 1 << 62, None))

    async def do_write(self, args: Mapping[str, Any]) -> Any:
        """State out of a file that the client has left in the instance's folder."""
        only(args, "file")
        self._not_while_draining()
        edit, token = await asyncio.to_thread(edit_left, self.rt, args.get("file"))
        return await self.settings.write(edit, token)

    async def _set_several(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """All are looked at before the first is set; carga and tick_hz, which are no settings of
        the blocks, count right behind the others."""
        words = {path: self._word(path, {"value": changes[path]})
                 for path in WORDS if path in changes}  # fmt: skip
        others = {path: value for path, value in changes.items() if path not in words}
        found: dict[str, Any] = {}
        if others:
            found = await self.settings.set(others, beside=next(iter(words), None))
        for path, value in words.items():
            found = await self._set_word(path, value)
        if not words or len(changes) == 1:
            return found
        late = await durable(self.rt, self.rt.get(L.C_WRITE_DOWN))
        return {"after_tick": found["after_tick"], **late}

    @staticmethod
    def _word(path: str, args: Mapping[str, Any]) -> float:
        if path == "carga":
            return number(args, "value", 5e-324, 1.0, "a number above 0 and at most 1")
        value = number(args, "value", 0.0, TICK_HZ_MAX, RATE_ALLOWED)
        if not rate_allowed(value):
            raise ControlError(f"value: found {value}, expected {RATE_ALLOWED}", "bad_request")
        return value

    async def _set_word(self, path: str, value: float) -> dict[str, Any]:
        if path == "carga":
            return {"path": path, "value": value, **await self.carga.ask(value)}
        before = word_to_float(self.rt.get(L.C_TICK_HZ))
        self.rt.set(L.C_TICK_HZ, float_to_word(value))
        tick = await self._takes_effect(f"{path} is set")
        log.info("set", path=path, value=value, before=before, after_tick=tick)
        detail = {"path": path, "value": value, "before": before, "after_tick": tick}
        self.events.emit("setting_changed", detail)
        return {"path": path, "value": value, "after_tick": tick}

    async def do_snapshot(self, args: Mapping[str, Any]) -> Any:
        """Make a checkpoint; answers when it counts."""
        only(args, "timeout_seconds")
        seconds = number(
            {"timeout_seconds": SNAPSHOT_SECONDS, **args}, "timeout_seconds", 0.001,
            _STEP_SECONDS_MAX, f"seconds up to {_STEP_SECONDS_MAX:g}",
        )  # fmt: skip
        try:
            return await self.checkpoints.ask(seconds)
        except CalledOff as error:
            raise ControlError(str(error), "again") from None
        except CheckpointFailed as error:
            raise ControlError(str(error)) from None
        except TimeoutError:
            shown, why = self.checkpoints.shown(), self.checkpoints.waits_for()
            raise ControlError(
                f"not within {seconds:g} s: the one in the making is {shown['state']}, "
                f"{shown['progress']:.0%} done, and goes on; {why or 'see checkpoint in status'}",
                "timeout",
            ) from None

    async def do_stop(self, args: Mapping[str, Any]) -> Any:
        """Ask the supervisor to drain and stop; answers at once."""
        only(args)
        pid = self.rt.get(L.C_SUPERVISOR_PID)
        if pid != os.getppid():
            raise ControlError(f"found supervisor {pid}, which is not my parent any more")
        os.kill(pid, signal.SIGTERM)
        log.info("stop asked for by a client")
        return {"stopping": True, "pid": pid}

    async def do_hold(self, args: Mapping[str, Any]) -> Any:
        """Hold the world for a reader of its memory; see ``corec.nucleus.lease``."""
        only(args, "seconds")
        allowed = f"seconds up to {HOLD_SECONDS_MAX:g}"
        return await self.leases.begin(number(args, "seconds", 0.001, HOLD_SECONDS_MAX, allowed))

    async def do_release(self, args: Mapping[str, Any]) -> Any:
        """Let the world go on."""
        only(args, "hold")
        return await self.leases.end(integer(args, "hold", 1, 1 << 62, None))

    async def do_errors(self, args: Mapping[str, Any]) -> Any:
        only(args)
        found = self.views.errors
        return found.shown() if found is not None else {"errors": [], "not_listed": 0}

    async def do_doctor(self, args: Mapping[str, Any]) -> Any:
        only(args)
        checks = examine(self.rt, self.views.status())
        return {"ok": all(check["ok"] for check in checks), "checks": checks}

    async def _in_effect(self) -> int:
        """The tick after which the words of line 2 count as they are now."""
        async with self.holder.held():
            return committed_tick(self.rt.get)

    async def _takes_effect(self, what: str) -> int:
        """``_in_effect`` of a word that stands, whatever the ticks do."""
        try:
            return await self._in_effect()
        except HoldTimeout as error:
            raise ControlError(
                f"{what}, but no tick has shown it yet: {error}", "timeout"
            ) from None

    def _not_while_draining(self) -> None:
        if self.rt.get(L.C_STOP):
            raise ControlError("the instance is stopping", "refused")

    def _block_of(self, wanted: object) -> int:
        plan = self.rt.plan
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            index = wanted
        else:
            known = plan.block_index(wanted) if isinstance(wanted, str) else None
            index = -1 if known is None else known
        if not 0 <= index < plan.n_blocks:
            first, last = plan.block_id(0), plan.block_id(plan.n_blocks - 1)
            raise ControlError(
                f"no block {brief(wanted)}; blocks are named like {first}, the last is {last}",
                "not_found",
            )
        return index
