"""``corec-ctl``: look at a running instance and steer it.

Exit codes: 0 done, 1 failed (or ``doctor`` found something), 2 usage, 3 no running instance.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from corec.command_line import (
    ENTITY_MAX,
    NUMBER_MAX,
    AnywhereGroup,
    seconds_option,
    told_in_a_line,
    version_option,
)
from corec.control import acting, console, show
from corec.control.asking import (
    ConfigOption,
    InstanceOption,
    JsonOption,
    ask,
    explained,
    fail,
    output,
    plain_console,
    waiting,
)
from corec.control.changing import grow, set_value
from corec.control.client import Unreachable
from corec.control.discover import (
    NoInstance,
    find_instance,
    read_instance,
    signal_supervisor,
)
from corec.control.ending import gone, left_in_memory
from corec.control.events import events
from corec.control.evolving import evolution, world
from corec.control.fallback import MemoryUnreadable, status_of
from corec.control.forking import FORK_SETTINGS, fork
from corec.control.outcome import MIGRATE_SIGNAL, asked_behind
from corec.control.patient import ask_again, outcome_of
from corec.control.protocol import ControlError
from corec.control.resize import resize
from corec.control.waits import DIGEST_SECONDS, HELD_SECONDS, SNAPSHOT_SECONDS, STEP_SECONDS
from corec.exits import EXIT_FAILED
from corec.interrupts import heard
from corec.private import sane_umask
from corec.terminal import make_valid, speak_any_encoding
from corec.version import __version__

STOP_SECONDS = 60.0

app = typer.Typer(
    name="corec-ctl",
    cls=AnywhereGroup,
    help="Look at a running CoreC instance and steer it.",
    epilog="--instance ID, --config FILE and --json may stand before or after the command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(version: Annotated[bool, version_option("corec-ctl", __version__)] = False) -> None:
    """Look at a running CoreC instance and steer it."""
    sane_umask(0o022)


@app.command()
def status(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show what the instance does and how it is."""
    with explained():
        output(status_of(find_instance(instance, config)), as_json, show.status)


@app.command()
def top(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    every: Annotated[float, seconds_option("Seconds between looks.", 0.2, 60.0)] = 1.0,
    count: Annotated[
        int, typer.Option(min=0, max=NUMBER_MAX, help="Looks before leaving; 0: until ^C.")
    ] = 0,
) -> None:
    """Show the status again and again (with --json: one line each time)."""
    with explained():
        found = find_instance(instance, config)
        try:
            shown = Live(console=plain_console(), auto_refresh=False, screen=False)
            with contextlib.suppress(KeyboardInterrupt), shown as live:
                for looks in itertools.count(1):
                    data = status_of(found)
                    if as_json:
                        print(json.dumps(data), flush=True)
                    else:
                        live.update(show.status(data), refresh=True)
                    if looks == count:
                        return
                    time.sleep(every)
        except (Unreachable, MemoryUnreadable, NoInstance) as error:
            if read_instance(found.path) is None:
                print("corec-ctl: the instance stopped", file=sys.stderr)
                return
            raise error


@app.command()
def workers(
    count: Annotated[
        int | None, typer.Argument(metavar="[N]", min=1, max=1024, help="Go on with N workers.")
    ] = None,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the worker processes, or change their number (blocks move, no tick is lost)."""
    with explained():
        found = find_instance(instance, config)
        if count is not None:
            with waiting(f"going over to {count} workers…", quiet=as_json):
                resize(found, count)
        rows = [row for row in status_of(found)["processes"] if row["role"] == "worker"]
        output({"workers": rows}, as_json, lambda data: show.processes(data["workers"]))


def _change(
    number: int, change: str, instance: str | None, config: Path | None, as_json: bool
) -> None:
    """Ask the supervisor for a change by signal, wait for its outcome, show it."""
    with explained():
        found = find_instance(instance, config)
        before = asked_behind(found.path)
        signal_supervisor(found, number)
        with waiting(f"{change}: the instance works on it…", quiet=as_json):
            outcome = outcome_of(found, before, change)
        output(outcome, as_json, show.pairs)
        if not outcome["accepted"]:
            fail(f"refused: {outcome['reason']}", EXIT_FAILED)


@app.command()
def reload(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Take over the changed configuration file, or keep the old one and say why."""
    _change(signal.SIGHUP, "reload", instance, config, as_json)


@app.command()
def upgrade(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    migrate: Annotated[
        bool,
        typer.Option("--migrate", help="Let the values of fields go that a processor has no more."),
    ] = False,
) -> None:
    """Restart every process onto the current code, the world kept in memory."""
    number = MIGRATE_SIGNAL if migrate else signal.SIGUSR2
    _change(number, "upgrade", instance, config, as_json)


@app.command()
def blocks(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    offset: Annotated[int, typer.Option(min=0, max=ENTITY_MAX, help="First block's index.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
) -> None:
    """List blocks."""
    with explained():
        found = find_instance(instance, config)
        data = ask(found, "blocks", HELD_SECONDS, offset=offset, limit=limit)
        output(data, as_json, lambda data: show.blocks(data["blocks"]))


@app.command()
def block(
    block_id: Annotated[str, typer.Argument(metavar="ID", help="Such as sensor_swarm:00000.")],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one block."""
    with explained():
        output(ask(find_instance(instance, config), "block", id=block_id), as_json, show.pairs)


@app.command()
def entity(
    entity_id: Annotated[
        int, typer.Argument(metavar="ID", min=0, max=ENTITY_MAX, help="The entity's number.")
    ],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one entity with its state."""
    with explained():
        output(ask(find_instance(instance, config), "entity", id=entity_id), as_json, show.pairs)


@app.command()
def digest(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Print a hash over the state of all entities at one tick."""
    with explained():
        data = ask_again(find_instance(instance, config), "digest", DIGEST_SECONDS)
        output(data, as_json, show.pairs)


@app.command()
def pause(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Stand still after the tick that runs."""
    with explained():
        data = ask(find_instance(instance, config), "pause", HELD_SECONDS)
        output(data, as_json, show.pairs)


@app.command()
def resume(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Go on after a pause."""
    with explained():
        data = ask(find_instance(instance, config), "resume", HELD_SECONDS)
        output(data, as_json, show.pairs)


@app.command()
def step(
    ticks: Annotated[
        int, typer.Argument(metavar="[N]", min=1, max=NUMBER_MAX, help="How many ticks.")
    ] = 1,
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float, seconds_option("Seconds.")] = STEP_SECONDS,
) -> None:
    """Run exactly N ticks of a paused world, and say when they are done."""
    with explained():
        found = find_instance(instance, config)
        seconds = timeout + HELD_SECONDS
        data = ask(found, "step", seconds, ticks=ticks, timeout_seconds=timeout)
        output(data, as_json, show.pairs)


# so that -0.5 is a value
app.command("set", context_settings={"ignore_unknown_options": True})(set_value)
app.command("grow")(grow)


@app.command()
def snapshot(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout: Annotated[float, seconds_option("Seconds.")] = SNAPSHOT_SECONDS,
) -> None:
    """Make a checkpoint now; returns when it is on disk and everything before it in the sinks."""
    with explained():
        found = find_instance(instance, config)
        seconds = timeout + HELD_SECONDS
        data = ask_again(found, "snapshot", seconds, timeout_seconds=timeout)
        output(data, as_json, show.pairs)


@app.command()
def stop(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is gone.")] = True,
    timeout: Annotated[float, seconds_option("Seconds to wait.", most=None)] = STOP_SECONDS,
) -> None:
    """Drain and stop the instance."""
    with explained():
        found = find_instance(instance, config)
        try:
            ask(found, "stop")
            way = "control socket"
        except (Unreachable, ControlError):
            with contextlib.suppress(ProcessLookupError):  # it has just ended, as somebody wished
                signal_supervisor(found, signal.SIGTERM)
            way = "signal"
        stopped = gone(found, timeout, quiet=as_json) if wait else False
        data = {"stopping": True, "stopped": stopped, "pid": found.pid, "way": way}
        left = left_in_memory(found) if stopped else None
        output(data | ({"in_memory": left is not None} if stopped else {}), as_json, show.pairs)
        if wait and not stopped:
            fail(f"{found.instance_id} still drains after {timeout:g} s", EXIT_FAILED)
        if left is not None and not left.checkpoint:
            fail(left.told, EXIT_FAILED)
        if left is not None:
            print(f"corec-ctl: {left.told}", file=sys.stderr)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help='Such as "SELECT … FROM bloques".')],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run SQL in the instance's database; needs no psql."""
    most = console.CELL_MAX if sys.stdout.isatty() else console.CELL_MAX_PIPED
    with explained():
        results = console.sql(find_instance(instance, config), query)
        data = results[0] if len(results) == 1 else results
        output(data, as_json, lambda _: console.sql_tables(results, most))


@app.command("redis", context_settings={"ignore_unknown_options": True})
def redis_command(
    words: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="Such as XLEN key.")],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    r"""Send one command to the instance's Redis or Valkey; \xHH is a byte. Needs no redis-cli."""
    with explained():
        data = console.ask_redis(find_instance(instance, config), words)
        output(data, as_json, console.redis_text)


@app.command()
def errors(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show what processors raised: each kind with its line, its entity, its tick, how often."""
    with explained():
        output(ask(find_instance(instance, config), "errors"), as_json, show.errors)


app.command()(world)
app.command()(events)
app.command()(evolution)
app.command("fork", context_settings=FORK_SETTINGS)(fork)


@app.command()
def doctor(
    instance: InstanceOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Check processes, servers, lanes and room; exit 1 when something is wrong."""
    with explained():
        found = find_instance(instance, config)
        try:
            data = ask(found, "doctor")
        except Unreachable as error:
            check = {"check": "control socket", "ok": False, "detail": str(error)}
            data = {"ok": False, "checks": [check]}
        output(data, as_json, lambda data: show.rows(data["checks"]))
        if not data["ok"]:
            raise typer.Exit(EXIT_FAILED)


acting.add_to(app)


def app_main() -> None:
    """Entry point of ``corec-ctl``."""
    heard()
    make_valid()
    speak_any_encoding()
    told_in_a_line("corec-ctl", app)


if __name__ == "__main__":
    app_main()
