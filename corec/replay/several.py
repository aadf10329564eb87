"""Readings of several values: each is a column of the file; what the entities take says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np

from corec.config import Config
from corec.entities.registry import resolve
from corec.replay.series import ReplayInputError, Series, Wanted, read_series

_OF_VALUES = frozenset({"empty_value", "not_a_number", "not_finite", "float32_overflow"})


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
    """One series for each column, all of the same times: of rows in which each has a number.

    The first one tells what was skipped, for whichever column.
    """
    series = [read_series(path, replace(wanted, value=column)) for column in columns]
    if len(series) == 1:
        return series
    times = reduce(np.intersect1d, [one.times_s for one in series])
    if not len(times):
        named = ", ".join(map(str, columns))
        raise ReplayInputError(f"{path}: no row has a number in each of the columns {named}")
    first = series[0]
    for other in series[1:]:
        for reason in _OF_VALUES & other.skipped.counts.keys():
            for line in other.skipped.lines[reason]:
                first.skipped.add(reason, line)
            rest = other.skipped.counts[reason] - len(other.skipped.lines[reason])
            first.skipped.counts[reason] += rest
    return [
        replace(one, times_s=times, values=one.values[np.isin(one.times_s, times)])
        for one in series
    ]
