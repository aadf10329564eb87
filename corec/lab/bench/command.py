"""The command line of ``corec bench``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from corec.lab.bench.groups import BY_NAME, GROUPS
from corec.lab.bench.rounds import Effort
from corec.libpq import forget

ROUNDS = 5
ROUNDS_QUICK = 2


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Small worlds, short samples: to see that it works.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="This group; may be given again.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=100, help="Samples of each contender.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout; progress on stderr.")
    ] = False,
    write_readme: Annotated[
        bool,
        typer.Option(
            "--write-readme", help="Write the table into README.md and the chart to docs/bench.svg."
        ),
    ] = False,
    nab: Annotated[
        Path | None,
        typer.Option(
            envvar="COREC_NAB",
            metavar="FOLDER",
            help="A checkout of github.com/numenta/NAB, for the scores of --only detectors.",
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show the groups, measure nothing.")
    ] = False,
) -> None:
    """Measure CoreC beside its rivals, in turns, and check that nothing was left out."""
    if show_list:
        for group in GROUPS:
            print(f"{group.name:10s} {group.about}")
        raise typer.Exit
    unknown = sorted(set(only or ()) - BY_NAME.keys())
    if unknown:
        names = ", ".join(BY_NAME)
        print(f"corec: --only: found {', '.join(unknown)}, allowed: {names}", file=sys.stderr)
        raise typer.Exit(2)
    if write_readme and quick:
        print("corec: --write-readme: a quick run is not for the README", file=sys.stderr)
        raise typer.Exit(2)
    _name_nab(nab)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    forget()
    from corec.lab.bench import chart, readme
    from corec.lab.bench.render import as_text
    from corec.lab.bench.runner import run_groups

    place: Path | None = None
    if write_readme:
        try:
            place = readme.checkout()
        except readme.NoPlace as error:
            print(f"corec: --write-readme: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
    chosen = [group for group in GROUPS if not only or group.name in only]
    report = run_groups(chosen, Effort(quick, rounds or (ROUNDS_QUICK if quick else ROUNDS)))
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    else:
        sys.stdout.write(as_text(report))
    if place is not None:
        chart.write(place / "docs" / "bench.svg", report)
        readme.write(place / "README.md", report)
    raise typer.Exit(0 if report.ok else 1)


def _name_nab(folder: Path | None) -> None:
    """Tell the group's process where NAB is; exit code 2 when it is not there."""
    if folder is None:
        return
    from corec.lab.bench.nab import WINDOWS_FILE

    if not (folder / WINDOWS_FILE).is_file():
        print(
            f"corec: --nab: {folder} has no {WINDOWS_FILE}, allowed: a checkout of "
            "github.com/numenta/NAB",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    os.environ["COREC_NAB"] = str(folder.resolve())
