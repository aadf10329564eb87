"""``corec``: run, check, schema; the other commands are loaded when one of them is asked for."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from corec.cli.warm import warm
from corec.command_line import NUMBER_MAX, told_in_a_line, version_option
from corec.config import Config, ConfigError, json_schema, load_config
from corec.interrupts import heard
from corec.log import configure
from corec.private import sane_umask
from corec.project import default_config
from corec.terminal import Document, end_at_once, make_valid, protect, speak_any_encoding
from corec.version import __version__

if TYPE_CHECKING:  # light, and needed by one command
    from corec.supervisor.wishes import Wishes

app = typer.Typer(
    name="corec",
    help="A million ultralight entities in shared memory, on every core, written in Python.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DOCUMENT_SECONDS = 60.0

ConfigPath = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file.", show_default="configs/corec_config.json"
    ),
]


def _file(named: Path | None) -> Path:
    """The configuration file that is meant; where there is none, what to do is one line."""
    path = named or default_config()
    if named is None and not path.exists():
        print(
            f"corec: found no {path} here, expected a configuration: make a project with "
            "corec new NAME, or name a file",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    return path


def _load(path: Path, overrides: dict[str, object]) -> Config:
    try:
        return load_config(path, overrides=overrides)
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"corec: {line}", file=sys.stderr)
        raise typer.Exit(2) from None


@app.callback()
def main(version: Annotated[bool, version_option("corec", __version__)] = False) -> None:
    """A million ultralight entities in shared memory, on every core, written in Python."""
    sane_umask(0o022)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        print(
            "corec: NUMBA_DISABLE_JIT: found it set, expected it unset: kernels and processors run "
            "compiled only (try a processor in plain Python with corec.testing)",
            file=sys.stderr,
        )
        raise typer.Exit(2)


@app.command()
def run(
    config: ConfigPath = None,
    ticks: Annotated[
        int | None,
        typer.Option(min=0, max=NUMBER_MAX, help="Run N more ticks, then drain and stop."),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Set world and checkpoints aside, begin at tick 0."),
    ] = False,
    migrate: Annotated[
        bool,
        typer.Option("--migrate", help="Let the values of fields go that a processor has no more."),
    ] = False,
    tick_hz: Annotated[float | None, typer.Option(help="Ticks per second; 0 = flat out.")] = None,
    workers: Annotated[
        str | None, typer.Option(help="Number of workers, or auto: one per CPU.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Multiply every entidades of the config.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random numbers.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON summary on stdout at exit; logs on stderr.")
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="If another live instance holds this instance_id on the servers, stop that one.",
        ),
    ] = False,
) -> None:
    """Run an instance in the foreground. Ctrl-C drains and exits 0; twice stops at once."""
    overrides: dict[str, object] = {
        "tick_hz": tick_hz, "workers": workers, "scale": scale, "seed": seed,
    }  # fmt: skip
    sane_umask(0o077)  # whatever makes a file from now on, CoreC or a library, makes it ours alone
    protect()
    document = Document() if as_json else None
    path = _file(config)
    loaded = _load(path, overrides)
    try:
        configure(loaded.log.format, loaded.log.level, loaded.log_path, "supervisor")
    except OSError as error:
        print(f"corec: log.file: cannot write {loaded.log_path}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(2) from None
    from corec.control.folders import refusal

    refused = refusal(loaded)
    if refused is not None:
        print(f"corec: {refused}", file=sys.stderr)
        raise typer.Exit(2)
    from corec.supervisor.wishes import Wishes

    given = {name: value for name, value in overrides.items() if value is not None}
    wishes = Wishes(ticks, fresh, as_json, document, path, given, take_over, migrate)
    raise typer.Exit(_started(path, loaded, wishes))


def _started(path: Path, loaded: Config, wishes: Wishes) -> int:
    """The exit code of the instance. To compile what is new is part of its start: whoever stops
    that has stopped an instance."""
    from corec.supervisor.note import Notes
    from corec.supervisor.signals import StopWanted, stop_the_start
    from corec.supervisor.upgrade import inherited

    left = inherited(os.environ)
    if left is None:
        stop_the_start()
    try:
        warm(path)
        from corec.supervisor.begin import start

        return start(loaded, wishes, left)
    except StopWanted as stop:
        Notes().note(f"{stop}: stopped before the world ran")
        return 0


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Configuration file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Check too whether this code can adopt the live world.")
    ] = False,
    overrides: Annotated[str, typer.Option(hidden=True, help="JSON of dotted paths.")] = "{}",
) -> None:
    """Check a configuration, processors and their parameters included; start nothing."""
    document = Document() if as_json else None
    path = _file(file)
    faults: list[dict[str, str]] = []
    found: dict[str, Any] = {}
    refits = False
    try:
        loaded = load_config(path, overrides=json.loads(overrides))
        from corec.control.folders import instance_folder, no_folder, not_text

        if (odd := not_text(loaded)) is not None:
            raise ConfigError([odd])
        if missing := list(no_folder(loaded)):
            raise ConfigError(missing)
        warm(path)
        from corec.nucleus.loadable import check_loadable
        from corec.plan import make_plan
        from corec.supervisor.opening import compile_processors, next_start
        from corec.supervisor.room import bytes_needed, check_room, held_bytes
        from corec.supervisor.taking_over import takes_over
        from corec.supervisor.upgrade import REFITS, asked_to_refit
        from corec.supervisor.wishes import worker_count
        from corec.tasks.source import without_source
        from corec.world.past import check_journal

        check_loadable(loaded)
        plan = make_plan(loaded)
        check_journal(loaded, plan)
        folder = instance_folder(loaded)
        if not adopt:  # its room is taken already
            check_room(plan, worker_count(loaded), folder, held_bytes(folder))
        compile_processors(plan)
        if adopt:
            from corec.supervisor.importing import import_all

            import_all(loaded)
            refits = takes_over(loaded, folder, asked_to_refit(os.environ))
        found = {
            "entidades": plan.entidades,
            "bloques": plan.n_blocks,
            "bytes": bytes_needed(plan, worker_count(loaded)),
            "ignored": [*loaded.ignored, *without_source(loaded.tasks, plan)],
            "next_start": [] if adopt else next_start(loaded, plan, folder),
        }
    except ConfigError as error:
        faults = [{"path": f.path, "found": f.found, "allowed": f.allowed} for f in error.faults]
        if not as_json:
            for line in str(error).splitlines():
                print(f"corec: {line}", file=sys.stderr)
    if document is not None:
        told = json.dumps({"file": str(path), "ok": not faults, "faults": faults, **found})
        try:
            document.write(told.encode() + b"\n", DOCUMENT_SECONDS)
        except OSError as error:
            print(f"corec: standard output: {error.strerror}", file=sys.stderr)
            raise typer.Exit(1) from None
    elif not faults:
        size = found["bytes"] / 2**20
        print(
            f"{path}: fine: {found['entidades']:,} entities in {found['bloques']:,} blocks, "
            f"{size:,.0f} MiB of shared memory"
        )
        for key in found["ignored"]:
            print(f"  {key}: has no effect here")
        for text in found["next_start"]:
            print(f"  the next start: {text}")
    raise typer.Exit(2 if faults else REFITS if refits else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@functools.cache
def whole_app() -> typer.Typer:
    """``app`` with every command: a start does not wait for what the others import."""
    from corec.cli import laboratory
    from corec.cli.checkpoint import app as checkpoint
    from corec.cli.new import completion, new
    from corec.cli.sweeps import sweep
    from corec.cli.worlds import export, fork
    from corec.replay.command import replay

    app.command("new")(new)
    app.command("completion")(completion)
    app.command("replay")(replay)
    app.command("export")(export)
    app.command("fork")(fork)
    app.command("sweep")(sweep)
    laboratory.add_to(app)
    app.add_typer(checkpoint, name="checkpoint")
    return app


def app_main() -> None:
    """Entry point of ``corec``."""
    heard()
    make_valid()
    speak_any_encoding()
    configure(level="warning")  # until one reads its own: a library's default is standard output
    if sys.argv[1:2] == ["run"]:
        _run_and_leave()
    told_in_a_line("corec", lambda: whole_app()())


def _run_and_leave() -> NoReturn:
    """``corec run``. All is written, and closed or given back: what the interpreter would do at its
    end is to free object after object, a tenth of a stop."""
    code: object = 0
    try:
        told_in_a_line("corec", app)
    except SystemExit as ended:
        code = ended.code
    if code is not None and not isinstance(code, int):
        raise SystemExit(code)
    end_at_once(code or 0)
