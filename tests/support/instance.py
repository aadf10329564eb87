"""A whole instance as a user has it: ``python -m corec run …`` in a process of its own.

Its processes are forked from one that has imported already (``tests.support.forked``), unless
``Instance.fresh_interpreter`` is set.

Everything is apart from other instances: its home, its state, its runtime folder. Wait with
``Running.ready`` and ``Running.wait``; both have deadlines and show what the instance said.
``Instance.assert_clean`` finds whatever it left: processes (every process of an instance carries
its ``COREC_RUNTIME_BASE`` in its environment), runtime files, listening ports.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from corec.control.client import Client, Unreachable
from corec.control.discover import NoInstance
from corec.control.memory import open_control
from corec.control.protocol import ControlError
from tests.support import forked
from tests.support.processes import (
    children_of,
    is_running,
    listening,
    patient,
    promised,
    wait_until,
)

REPO = forked.REPO
RUN_SECONDS = 60.0
T = TypeVar("T")
NOT_NOW = ("timeout", "busy", "again")
"""Refusals after which the same may be asked once more."""


def small_config(**changes: Any) -> dict[str, Any]:
    """Six blocks of 50 sensors on canal 1 (one of them smaller), two of 20 detectors on canal 3."""
    config: dict[str, Any] = {
        "instance_id": "corec1",
        "http": {"port": 0},
        "bloques": [
            {"id": "sensores", "canal": 1, "entidades": 290, "entidades_por_bloque": 50},
            {
                "id": "detectores",
                "canal": 3,
                "entidades": 40,
                "entidades_por_bloque": 20,
                "procesador": "ewma",
            },
        ],
    }
    return config | changes


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The one JSON document on stdout of a run that ended well."""
        assert self.code == 0, f"exit {self.code}\n{self.err[-4000:]}"
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def complaints(self) -> list[str]:
        """What is said on stderr, without log lines and the note about compiling."""
        passed_over = ('{"', "corec: compiling", "corec: still compiling")
        return [s for s in self.err.splitlines() if s and not s.startswith(passed_over)]


class Running:
    """A started ``corec run``."""

    def __init__(self, process: forked.Process, instance: Instance, number: int) -> None:
        self.process, self.instance, self.number = process, instance, number
        self.http_port = 0

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def ask(self, op: str, seconds: float = 30.0, **arguments: Any) -> Any:
        """One request to the control socket."""
        with Client(self.instance.folder / "control.sock") as client:
            return client.ask(op, arguments, seconds)

    def answered(self, op: str, seconds: float = 120.0, **arguments: Any) -> Any:
        """``ask`` as ``patiently``: what is asked may so be done more than once."""
        return self.patiently(
            lambda: self.ask(op, 20.0, **arguments), f"an answer to {op}", seconds
        )

    def patiently(self, ask: Callable[[], T], what: str, seconds: float = 120.0) -> T:
        """What ``ask`` returns once somebody answers and has the time: the nucleus may be dead at
        the moment, or another comes where the world grows."""
        answers: list[T] = []

        def asked() -> bool:
            try:
                answers.append(ask())
            except (Unreachable, NoInstance):
                assert self.process.poll() is None, self.texts()[1][-4000:]
                return False
            except ControlError as error:
                if error.code not in NOT_NOW:
                    raise
                return False
            return True

        wait_until(asked, what, seconds)
        return answers[0]

    def status(self) -> dict[str, Any]:
        """``status``."""
        found: dict[str, Any] = self.ask("status")
        return found

    def _state(self) -> str:
        assert self.process.poll() is None, f"it ended:\n{self.texts()[1][-4000:]}"
        try:
            status = self.status()
        except (AssertionError, Unreachable):
            return "silent"
        if not all(p["state"] in ("ready", "waiting") for p in status["processes"]):
            return "starting"
        return str(status["state"])

    def ready(self, seconds: float = RUN_SECONDS) -> Running:
        """Wait until it runs and answers."""
        wait_until(lambda: self._state() in ("running", "paused"), "the instance runs", seconds)
        url = self.status()["http_url"]
        self.http_port = int(url.rpartition(":")[2])
        return self

    def lives(self, seconds: float = RUN_SECONDS) -> Running:
        """Wait until all its processes are there, however far it is behind its pace."""
        states = ("running", "paused", "degraded")
        wait_until(lambda: self._state() in states, "it lives", seconds)
        return self

    def until_tick(self, tick: int, seconds: float = RUN_SECONDS) -> Running:
        """Wait until every worker has committed ``tick``."""

        def there() -> bool:
            try:
                return int(self.status()["tick"]) >= tick
            except Unreachable:  # its nucleus is being replaced
                assert self.process.poll() is None, self.texts()[1][-4000:]
                return False

        wait_until(there, f"tick {tick}", seconds)
        return self

    def pid_of(self, role: str, index: int = 0) -> int:
        """A child's process number, as ``status`` says."""
        rows = self.status()["processes"]
        return int(next(r["pid"] for r in rows if (r["role"], r["index"]) == (role, index)))

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        os.kill(self.pid, number)

    def texts(self) -> tuple[str, str]:
        """stdout and stderr so far."""
        paths = [self.instance.output(self.number, name) for name in ("out", "err")]
        return paths[0].read_text(), paths[1].read_text()

    def wait(self, seconds: float = RUN_SECONDS) -> Ended:
        """Wait for its end."""
        own = isinstance(self.process, forked.Forked)  # which is as patient by itself
        try:
            code = self.process.wait(seconds if own else patient(seconds))
        except subprocess.TimeoutExpired:
            tail = self.texts()[1][-4000:]
            raise AssertionError(f"still running after {seconds} s:\n{tail}") from None
        return Ended(code, *self.texts())

    def stop(self) -> Ended:
        """SIGTERM, and its end."""
        self.signal(signal.SIGTERM)
        return self.wait()


class Instance:
    """A home with a configuration; ``run`` it, ``start`` it, again and again."""

    def __init__(
        self,
        home: Path,
        runtime_base: Path,
        config: Mapping[str, Any],
        *,
        db_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        self.home, self.runtime_base = home, runtime_base
        self.config_path = home / "configs" / "corec_config.json"
        self.config_path.parent.mkdir(parents=True)
        self.configure(config)
        self.environment = forked.plain_environment() | {
            "COREC_HOME": str(home),
            "COREC_RUNTIME_BASE": str(runtime_base),
        }
        self.fresh_interpreter = False
        """For tests of the start itself: nothing is imported before."""
        if db_url:
            self.environment["COREC_DB_URL"] = db_url
        if redis_url:
            self.environment["COREC_REDIS_URL"] = redis_url
        self.runs: list[Running] = []

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the configuration file."""
        self.config = dict(config)
        self.config_path.write_text(json.dumps(self.config))

    @property
    def instance_id(self) -> str:
        """As configured."""
        return str(self.config["instance_id"])

    @property
    def folder(self) -> Path:
        """Its runtime folder (one instance of this id per runtime base)."""
        found = sorted(self.runtime_base.glob(f"{self.instance_id}-????????"))
        assert len(found) == 1, f"runtime folders: {found}"
        return found[0]

    def output(self, number: int, name: str) -> Path:
        """Where run ``number`` writes its stdout (``out``) or stderr (``err``)."""
        return self.home / f"run-{number}.{name}"

    def start(self, *options: str) -> Running:
        """``corec run --json OPTIONS``, not waited for."""
        number = len(self.runs)
        with (
            open(self.output(number, "out"), "wb") as out,
            open(self.output(number, "err"), "wb") as err,
        ):
            process = forked.start(
                "corec", ("run", "--json", *options), cwd=self.home, environment=self.environment,
                stdout=out, stderr=err, fresh_interpreter=self.fresh_interpreter,
            )  # fmt: skip
        self.runs.append(Running(process, self, number))
        return self.runs[-1]

    def run(self, *options: str, seconds: float = RUN_SECONDS) -> Ended:
        """``corec run --json OPTIONS`` until it ends."""
        return self.start(*options).wait(seconds)

    def command(self, *arguments: str, module: str = "corec") -> Ended:
        """Another command of this instance's user, such as ``check``."""
        done = forked.run(
            module, arguments, cwd=self.home, environment=self.environment, seconds=RUN_SECONDS,
            fresh_interpreter=self.fresh_interpreter,
        )  # fmt: skip
        return Ended(done.code, done.out, done.err)

    def ctl(self, *arguments: str) -> Ended:
        """``corec-ctl ARGUMENTS``."""
        return self.command(*arguments, module="corec.control.ctl")

    def processes(self) -> dict[int, str]:
        """Every live process of this runtime base, embedded servers included, and its title."""
        mark = f"COREC_RUNTIME_BASE={self.runtime_base}".encode()
        found = {}
        for path in Path("/proc").iterdir():
            if not path.name.isdigit() or int(path.name) == os.getpid():
                continue
            try:
                mine = mark in (path / "environ").read_bytes().split(b"\0")
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                title = words.decode("utf-8", "replace").strip()
            except OSError:
                continue  # it ended meanwhile, or is another user's
            if mine and is_running(int(path.name)):
                found[int(path.name)] = title
        return found

    def runtime_files(self) -> list[str]:
        """What lies in the runtime base."""
        base = self.runtime_base
        return sorted(str(p.relative_to(base)) for p in base.rglob("*")) if base.exists() else []

    def assert_clean(self) -> None:
        """Nothing of it is left: no process, no runtime file or folder, no listening port. One that
        was given back may be another instance's by now, so who listens is looked at."""
        try:
            wait_until(lambda: not self.processes(), "its processes end", promised(2.0))
        except AssertionError:
            raise AssertionError(f"processes left: {self.processes()}") from None
        assert not self.runtime_files()
        ours = {os.getpid(), *children_of(os.getpid(), *forked.own_processes())}
        assert not listening(ours) & {run.http_port for run in self.runs if run.http_port}

    def kill(self) -> None:
        """End whatever still runs, for the end of a failed test."""
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait(10)
        wait_until(lambda: not self.processes(), "its processes end", promised(5.0))


def control_word(folder: Path, word: int) -> int:
    """A word of the control segment in an instance's runtime folder, now."""
    with open_control(folder) as segment:
        return int(segment.words[word])


def machine_is_lost(one: Instance, run: Running) -> None:
    """Everything is killed at once, and the memory is gone."""
    run.signal(signal.SIGKILL)
    run.process.wait()
    wait_until(lambda: not one.processes(), "all its processes end")
    shutil.rmtree(one.runtime_base)
    one.runtime_base.mkdir()
