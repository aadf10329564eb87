"""Tables of columns, and a frame: the entities of a swarm at one tick."""

from __future__ import annotations

import csv
import html
import importlib
import os
from collections.abc import ItemsView, Iterator, KeysView
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.view import arrow

SHOWN: Final = 5


def library(name: str) -> Any:
    """The module ``name``; ImportError with what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        text = f"{package} is not installed here ({error}); pip install {package}"
        raise ImportError(text) from None


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its name when all went well. An OSError names
    ``path``, whatever went wrong with the file beside it."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield half
        os.replace(half, path)
    except OSError as error:
        if error.strerror and error.filename in (None, str(half), half):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        half.unlink(missing_ok=True)


class Table:
    """Columns of equal length by name: ``table["valor"]`` is a NumPy array, ``len`` counts rows.

    Libraries that know Arrow's PyCapsule interface take it as it is, such as
    ``polars.DataFrame(table)``, ``pyarrow.table(table)`` or DuckDB's ``FROM table``.
    """

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self._columns = columns

    def put(self, columns: dict[str, NDArray[Any]]) -> None:
        """For who makes the table: its columns, in this order."""
        self._columns.update(columns)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self._columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[name]
        except (KeyError, TypeError):  # a list of names, a slice
            have = ", ".join(self._columns)
            raise KeyError(f"found {name!r:.80}, expected one of the columns {have}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def keys(self) -> KeysView[str]:
        """The names, as of a mapping: ``dict(frame)`` works."""
        return self._columns.keys()

    def items(self) -> ItemsView[str, NDArray[Any]]:
        """Names and values, as of a mapping."""
        return self._columns.items()

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``; histories are lists. Raises ImportError without pandas."""
        plain = {k: v if v.ndim == 1 else list(v) for k, v in self._columns.items()}
        return library("pandas").DataFrame(plain, copy=False)

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``. Raises ImportError without Polars."""
        return library("polars").DataFrame(self)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``. Raises ImportError without pyarrow."""
        return library("pyarrow").table(self)

    def to_parquet(self, path: str | Path) -> None:
        """Write a Parquet file, whole or not at all. ImportError without pyarrow, OSError."""
        parquet = library("pyarrow.parquet")
        with written_whole(Path(path)) as half:
            parquet.write_table(self.to_arrow(), half)

    def to_csv(self, path: str | Path) -> None:
        """Write a CSV file with a line of names, whole or not at all. Raises OSError; ValueError
        for a history, which is no single value."""
        lists = [name for name, values in self._columns.items() if values.ndim > 1]
        if lists:
            raise ValueError(
                f"columns: found {lists[0]}, a history, expected numbers in a CSV file"
            )
        rows = zip(*(values.tolist() for values in self._columns.values()), strict=True)
        with (
            written_whole(Path(path)) as half,
            half.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(self._columns)
            writer.writerows(rows)

    def __arrow_c_schema__(self) -> Any:
        return arrow.schema_capsule(self._columns)

    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]:
        return arrow.array_capsules(self._columns)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return arrow.stream_capsule(self._columns)

    def _caption(self) -> str:
        return f"{len(self):,} rows"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._caption()}: {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        names = list(self._columns)
        shown = range(min(SHOWN, len(self)))
        rows = [[_shown(self._columns[name][k]) for name in names] for k in shown]
        return table_html(names, rows, self._caption())


class Frame(Table):
    """The entities of ``swarm``, one row for each, as they all were after ``tick``. A frame is a
    copy: the world goes on without it."""

    def __init__(
        self, swarm: str, tick: int, ids: NDArray[np.uint32] | range,
        columns: dict[str, NDArray[Any]],
    ) -> None:  # fmt: skip
        super().__init__(columns)
        self.swarm, self.tick, self._ids = swarm, tick, ids

    @property
    def ids(self) -> NDArray[np.uint32]:
        """u4[n]: which entities they are."""
        if isinstance(self._ids, range):  # made when it is asked for: memory is what a frame costs
            self._ids = np.arange(self._ids.start, self._ids.stop, dtype=np.uint32)
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def _caption(self) -> str:
        return f"{len(self):,} entities of {self.swarm} at tick {self.tick}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else str(value)


def table_html(names: list[str], rows: list[list[str]], caption: str) -> str:
    """A table for a notebook."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
