"""Readings of several values: each is a column of the file; what the entities take says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corec.config import Config
from corec.entities.registry import resolve
from corec.replay.series import (
    ReplayInputError,
    Series,
    Wanted,
    played,
    read_columns_of,
    read_series,
)


def names_of(config: Config, canal: int) -> tuple[str, ...]:
    """The values that the entities of ``canal`` take; none: one number.

    Raises:
        ReplayInputError: its bloques do not take the same. ProcessorError: one can't be imported.
    """
    found = {
        resolve(bloque.procesador, config.plugin_folders).values
        for bloque in config.bloques
        if bloque.canal == canal
    }
    if len(found) > 1:
        takes = " and ".join("one number" if not one else ", ".join(one) for one in sorted(found))
        raise ReplayInputError(
            f"--canal {canal}: its bloques take different readings: {takes}; play to one bloque, "
            "on a canal of its own"
        )
    return found.pop() if found else ()


def columns_of(value: str | None, names: tuple[str, ...], canal: int) -> list[str | None]:
    """The column of each value: as ``--value`` says, else those with the values' names."""
    if len(names) < 2:
        return [value]
    if value is None:
        return [*names]
    columns: list[str | None] = [part.strip() for part in value.split(",")]
    if len(columns) != len(names):
        takes = f"the entities of canal {canal} take {len(names)} values: {', '.join(names)}"
        raise ReplayInputError(f"--value {value}: found {len(columns)} columns; {takes}")
    return columns


def read_columns(path: Path, wanted: Wanted, columns: Sequence[str | None]) -> list[Series]:
    """One series for each column, all of the same rows: those in which each has a number.

    The columns meet row by row, before it is asked which row of a time is the first: joined by
    time, values of different rows would make a reading that no row has. Each series tells what was
    skipped for whichever column, every row once.
    """
    if len(columns) == 1:
        return [read_series(path, replace(wanted, value=columns[0]))]
    found = read_columns_of(path, [replace(wanted, value=column) for column in columns])
    faulty: dict[int, str] = {}
    for one in reversed(found):  # the first column's reason counts
        faulty |= one.faulty()
    newest_first = found[0].decided.newest_first
    series = [one.series(faulty, newest_first) for one in found]
    named = ", ".join(map(str, columns))
    return [played(path, one, f"a number in each of the columns {named}") for one in series]
