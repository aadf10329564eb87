"""``corec-ctl set`` and ``grow``: what changes a living world, and stays with it."""

from __future__ import annotations

from typing import Annotated

import typer

from corec.command_line import ENTITY_MAX
from corec.control import show
from corec.control.asking import (
    ConfigOption,
    InstanceOption,
    JsonOption,
    as_value,
    explained,
    output,
    waiting,
)
from corec.control.discover import find_instance
from corec.control.setting import ask_grow, ask_set


def set_value(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="Such as carga, globals.beta, bloques.ID.umbral."),
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A number, or JSON.")],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a setting of the living world; holds until the configuration says something new.

    tick_hz, carga, globals.NAME, bloques.ID.parametros.NAME (or ID.NAME), bloques.ID.umbral,
    bloques.ID.autoreparacion.KEY, persist.KEY, streams.KEY, checkpoint.KEY, log.level.
    """
    with explained():
        found = find_instance(instance, config)
        with waiting(f"{path}: the instance takes it over…", quiet=as_json):
            done = ask_set(found, {path: as_value(value)})
        output(done, as_json, show.pairs)


def grow(
    bloque: Annotated[str, typer.Argument(metavar="BLOQUE", help="Its id.")],
    more: Annotated[int, typer.Argument(metavar="N", min=1, max=ENTITY_MAX, help="How many more.")],
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a bloque N more entities; their ids come after all that exist, and no id moves."""
    with explained():
        found = find_instance(instance, config)
        with waiting(f"{bloque} grows by {more:,} entities…", quiet=as_json):
            done = ask_grow(found, bloque, more)
        output(done, as_json, show.pairs)
