"""``corec bench`` and ``corec chaos``: of a checkout alone, since their folder is in no wheel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import typer

LABORATORY: Final = "corec.lab"
_OF_A_CHECKOUT: Final = {
    "context_settings": {"ignore_unknown_options": True, "allow_extra_args": True},
    "help": "Only in a checkout of CoreC: this installation comes without its laboratory.",
}


def _absent(name: str) -> Callable[[], None]:
    def say() -> None:
        print(
            f"corec {name}: found no {LABORATORY} in this installation, expected a checkout of "
            f"CoreC: there, bash run.sh {name}",
            file=sys.stderr,
        )
        raise typer.Exit(2)

    return say


def add_to(app: typer.Typer) -> None:
    """Give ``app`` both commands; where they are not installed, what says so."""
    found: dict[str, Callable[..., None]] = {}
    options: dict[str, Any] = {}
    try:
        from corec.lab.bench.command import bench
        from corec.lab.chaos.command import chaos
    except ModuleNotFoundError as error:
        if error.name != LABORATORY:
            raise
        found = {name: _absent(name) for name in ("bench", "chaos")}
        options = _OF_A_CHECKOUT
    else:
        found = {"bench": bench, "chaos": chaos}
    for name, command in found.items():
        app.command(name, **options)(command)
