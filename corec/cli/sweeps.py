"""``corec sweep FILE``: many worlds with different parameters and seeds, one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from corec.cli.worlds import JsonOption, explained


def sweep(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON: config, over or latin, seeds, ticks, collect."),
    ],
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Worlds at once; one for each core. On celery: runs at once; 64."
        ),
    ] = None,
    on: Annotated[
        Literal["processes", "celery"],
        typer.Option(help="Who runs them: this machine's cores, or an instance's Celery workers."),
    ] = "processes",
    as_json: JsonOption = False,
) -> None:
    """Run a world for each point and seed; the same command goes on after a kill."""
    with explained():
        from corec.view.designs import read_sweep
        from corec.view.sweep import sweep as swept

        wanted = read_sweep(file)
        table = swept(
            wanted.config, over=wanted.over, seeds=wanted.seeds, ticks=wanted.ticks,
            every=wanted.every, collect=wanted.collect, processes=processes, on=on,
            path=wanted.out,
        )  # fmt: skip
        found = {"file": str(wanted.out), "rows": len(table), "columns": table.columns}
        print(json.dumps(found) if as_json else f"{wanted.out}: {len(table):,} rows")
