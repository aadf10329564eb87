"""The command line of `corec replay`."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from corec.config import ConfigError
from corec.exits import EXIT_FAILED, EXIT_USAGE
from corec.log import mask
from corec.replay import summary as report
from corec.replay.frames import Framer, ValuesFramer
from corec.replay.player import Pace, play
from corec.replay.progress import ProgressView
from corec.replay.publish import MIB, Interrupted, Limits, Publisher
from corec.replay.schedule import Playback, make_playback, sampling_step_s
from corec.replay.series import ReplayInputError, Series, Wanted, find_files
from corec.replay.several import columns_of, read_columns
from corec.replay.target import Choice, Target, resolve
from corec.replay.wire import ReplayError, names_for

TOLD_FILES_MAX = 5
"""So many files are described one by one; of more, only with --dry-run."""

Dates = Literal["day-first", "month-first", "serial", "unix"]
Decimal = Literal[".", ","]


def replay(
    files: Annotated[
        list[str],
        typer.Argument(
            help="CSV files (timestamp,value), folders of them, or glob patterns.",
            show_default=False,
        ),
    ],
    canal: Annotated[
        int, typer.Option(min=-128, max=127, help="Canal to publish to.", show_default=False)
    ],
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Recorded seconds per second: 1 as recorded, 3600 an hour a second, 0 as fast as"
            " the server takes it. (default: 1, or 0 with --rate)",
            show_default=False,
        ),
    ] = None,
    map_: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FIRST-LAST|FIRST:COUNT",
            help="Entities to feed; several ranges with commas."
            " (default: all entities of the bloques with this canal)",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The instance's configuration. (default: that of the only running instance, else"
            " configs/corec_config.json)",
            show_default=False,
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(help="Instance id. (default: the configuration's)", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Redis or Valkey: redis://…, rediss://…, unix://…, redis+cluster://…"
            " (default: COREC_REDIS_URL, the configuration's, or the running instance's)",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="At most this many readings per second.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many readings.", show_default=False)
    ] = None,
    loop: Annotated[
        int, typer.Option(min=0, help="Times to play the longest series; 0 until stopped.")
    ] = 1,
    step: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help="Seconds of recorded time per round. (default: the series' median interval)",
            show_default=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the time: its name, its number from 1, or DATE+TIME for two.",
            show_default=False,
        ),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the value, or COLUMN,COLUMN… for each of several: name or number."
            " (default: of several, the columns with their names)",
            show_default=False,
        ),
    ] = None,
    dates: Annotated[
        Dates | None,
        typer.Option(
            help="Of dates such as 03/04/2024 which comes first; of bare numbers whether they are"
            " days since 1899-12-30 (serial, as spreadsheets store them) or unix times.",
            show_default=False,
        ),
    ] = None,
    decimal: Annotated[
        Decimal | None,
        typer.Option(help="What parts the decimals in the values.", show_default=False),
    ] = None,
    ahead: Annotated[float, typer.Option(min=1.0, help="MiB the instance may have unread.")] = 64.0,
    backlog: Annotated[
        float, typer.Option(min=1.0, help="MiB that may wait while no instance reads at all.")
    ] = 256.0,
    patience: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds a reader may stand still, or the server be away."),
    ] = 60.0,
    drain: Annotated[
        bool, typer.Option("--drain", help="At the end, wait until the instance applied it all.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and plan, publish nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON summary on stdout.")] = False,
) -> None:
    """Play time-series CSV files into an instance, in real or accelerated time.

    Each entity of the range gets one reading per round; with fewer series than entities, the
    entities that share a series are spread evenly over it. Rows that cannot be used are skipped
    and counted. Ctrl-C stops cleanly.

    Example: corec replay data/nab --canal 1 --speed 3600
    """
    pace = Pace(
        speed=(0.0 if rate else 1.0) if speed is None else speed,
        rate=rate or 0.0,
        passes=loop,
        readings_max=limit,
    )
    limits = Limits(int(ahead * MIB), int(backlog * MIB), patience, patience)
    choice = Choice(canal, url, instance, config, map_)
    wanted = Wanted(time, value, dates, decimal)
    try:
        _check_finite({"--speed": pace.speed, "--rate": pace.rate, "--step": step or 0.0,
                       "--ahead": ahead, "--backlog": backlog, "--patience": patience})  # fmt: skip
        summary = _run(files, wanted, choice, pace, step, limits, drain, dry_run)
    except (ReplayInputError, ConfigError) as error:
        _fail(str(error), EXIT_USAGE)
    except ReplayError as error:
        _fail(str(error), EXIT_FAILED)
    typer.echo(json.dumps(summary) if as_json else report.as_text(summary))


def _run(
    files: list[str],
    wanted: Wanted,
    choice: Choice,
    pace: Pace,
    step_s: float | None,
    limits: Limits,
    drain: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """The whole replay; its summary."""
    target = resolve(choice, need_url=not dry_run)
    columns = columns_of(wanted.value, target.values, choice.canal)
    paths = find_files(files)
    if pipes := [str(path) for path in paths if path.exists() and not path.is_file()]:
        told = ", ".join(pipes)
        typer.echo(f"corec replay: {told}: read to its end before it is played", err=True)
    found = [read_columns(path, wanted, columns) for path in paths]
    series = [one[0] for one in found]
    on_clock = (step_s or sampling_step_s(series)) if pace.speed else None
    playbacks = [
        make_playback(of_all, target.ranges, on_clock) for of_all in zip(*found, strict=True)
    ]
    playback = playbacks[0]
    stream = names_for(target.instance_id, choice.canal, "").stream
    summary = {"instance_id": target.instance_id, "canal": choice.canal, "stream": stream}
    summary |= report.about_input(series, playback)
    total = report.planned_readings(playback, pace)
    with ProgressView(total) as view:
        _tell_input(view, series, playback, target, every_file=dry_run)
        if dry_run:
            return summary | {"dry_run": True, "planned_readings": total}
        stop = threading.Event()
        framer = Framer(playback, choice.canal) if len(playbacks) == 1 else ValuesFramer(playbacks)
        with (
            _stop_on_signals(stop),
            Publisher(
                target.url, target.instance_id, choice.canal, limits, stop, view.tell, framer.field
            ) as publisher,
        ):
            played = play(
                playback, framer, pace, publisher, stop, lambda done: view.update(done.readings)
            )
            summary |= report.about_output(stream, played, publisher.done)
            if drain and not played.interrupted:
                summary |= _drain(publisher, played.seconds, played.readings)
    return summary


def _drain(publisher: Publisher, seconds: float, readings: int) -> dict[str, Any]:
    waited_before_s = publisher.done.waited_s
    try:
        publisher.drain()
    except Interrupted:
        return {"applied": False}
    seconds += publisher.done.waited_s - waited_before_s
    rate = round(readings / seconds, 1) if seconds > 0 else 0.0
    return {
        "applied": True,
        "applied_seconds": round(seconds, 6),
        "applied_readings_per_second": rate,
    }


def _tell_input(
    view: ProgressView, series: list[Series], playback: Playback, target: Target, *,
    every_file: bool,
) -> None:  # fmt: skip
    for one in series:
        if every_file or not (one.decided.plain or len(series) > TOLD_FILES_MAX):
            view.tell(report.file_text(one))
        if one.skipped.total:
            view.tell(f"{one.name}: skipped {one.skipped.describe()}")
    if len(series) > playback.entities:
        left = len(series) - playback.entities
        view.tell(f"{left} of {len(series)} series are not played: there is no entity for them")
    if playback.gaps_shortened:
        view.tell(f"{playback.gaps_shortened} very long gaps were shortened (see docs/replay.md)")
    if target.foreign:
        view.tell(
            f"{target.foreign:,} of the ids in --map are not on this canal in the configuration:"
            " the instance will put their messages in …:dead"
        )


@contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """The first INT or TERM sets `stop`; a second one acts at once."""
    previous: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, previous[number])

    in_main = threading.current_thread() is threading.main_thread()
    for number in (signal.SIGINT, signal.SIGTERM) if in_main else ():
        previous[number] = signal.getsignal(number)
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)


def _check_finite(options: dict[str, float]) -> None:
    for name, value in options.items():
        if not math.isfinite(value):
            raise ReplayInputError(f"{name} {value}: expected a finite number")


def _fail(line: str, code: int) -> None:
    typer.echo(f"corec replay: {mask(line)}", err=True)
    raise typer.Exit(code)
