"""Edges out of a file: ``.csv``, ``.npz`` or, where pyarrow is installed, ``.parquet``.

    csv      source, target[, weight], a line each; empty lines and those with # are passed over;
             separated by commas, semicolons, tabs or blanks; a first line of names says in which
             columns they are, where these names are among them (``places_of``). A line with more
             cells than the first one is refused where weights are read between commas
    npz      arrays source and target of whole numbers, and weight
    parquet  columns of these names, or the first two or three

What is wrong is told with its line (of a CSV) or its row.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec.graph.links import Doubled, Links, links_of

NAMES: Final = ("source", "target", "weight")
_TYPES: Final = (np.int64, np.int64, np.float32)
Columns = list[NDArray[Any]]
ID_END: Final = 1 << 63
QUOTE: Final = '"'
"""What R and others put about names, and numbers that they take for text."""


class BadEdges(ValueError):
    """A file of edges that can't be used."""

    def __init__(self, found: str, allowed: str) -> None:
        self.found, self.allowed = found, allowed
        super().__init__(f"found {found}, allowed {allowed}")


def read_links(path: Path, n: int, weights: bool, directed: bool) -> Links:
    """The graph of ``n`` entities in the file at ``path``.

    Raises:
        BadEdges: it is no such file, an edge leads nowhere or to itself, or has two weights.
    """
    read = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}[path.suffix.lower()]
    try:
        columns, place = read(path, 3 if weights else 2)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise BadEdges(f"{path}: {why}", "a file of edges that can be read") from None
    source, target = columns[0], columns[1]
    if source.size == 0:
        raise BadEdges(f"no edge in {path.name}", "at least one")
    wrong = (source < 0) | (source >= n) | (target < 0) | (target >= n) | (source == target)
    if wrong.any():
        row = int(np.argmax(wrong))
        a, b = int(source[row]), int(target[row])
        allowed = "two different ones" if a == b else f"entities from 0 to {n - 1}"
        raise BadEdges(f"{a},{b} in {place(row)} of {path.name}", allowed)
    weight = columns[2] if weights else None
    if weight is not None and not np.isfinite(weight).all():
        row = int(np.argmin(np.isfinite(weight)))
        raise BadEdges(f"weight {weight[row]} in {place(row)} of {path.name}", "a finite number")
    try:
        return links_of(n, source, target, weight, directed)
    except Doubled as error:
        edge = f"{int(source[error.row])},{int(target[error.row])}"
        found = f"{edge} in {place(error.row)} of {path.name} and in {place(error.first)}"
        raise BadEdges(found, "each edge once, where edges have weights") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that hold something."""
    with path.open("r", encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.partition("#")[0].strip()
            if text:
                yield number, text


def _parts(text: str) -> tuple[str | None, list[str]]:
    mark = next((mark for mark in ",;\t" if mark in text), None)
    return mark, [part.strip().strip(QUOTE) for part in text.split(mark)]


def places_of(names: list[str], count: int, path: Path) -> list[int]:
    """Which columns of a table are the first ``count`` of NAMES: those that are called so, or its
    first where none is. Raises BadEdges: ends are named, and stand elsewhere; the weight is not."""
    wanted = list(NAMES[:count])
    if set(wanted) <= set(names):
        return [names.index(name) for name in wanted]
    if set(NAMES[:2]) <= set(names) and names[:2] != wanted[:2]:
        raise BadEdges(f"no column {wanted[-1]} in {path.name}", ", ".join(wanted))
    return list(range(count))


def _numbers(text: str, places: list[int]) -> bool:
    parts = _parts(text)[1]
    if len(parts) <= max(places):
        return False
    try:
        ends = [int(parts[place]) for place in places[:2]]
        [float(parts[place]) for place in places[2:]]
    except ValueError:
        return False
    return all(-ID_END < end < ID_END for end in ends)


def _csv(path: Path, count: int) -> tuple[Columns, Callable[[int], str]]:
    first = next(_lines(path), None)
    if first is None:
        return [np.zeros(0, kind) for kind in _TYPES[:count]], str
    skipped, places = 0, list(range(count))
    mark, parts = _parts(first[1])
    names = [part.lower() for part in parts]
    if not _numbers(first[1], [0, 1]) and (names[0][:1].isalpha() or set(NAMES[:2]) <= set(names)):
        skipped, places = first[0], places_of(names, count, path)
    # a comma within a weight makes two cells of it
    filled = max((k for k, part in enumerate(parts, 1) if part), default=0)
    width = filled if mark == "," and count == len(NAMES) else None
    if width is not None and width > count and not skipped:
        found = f"{first[1][:40]!r} in line {first[0]} of {path.name}: more than {','.join(NAMES)}"
        raise BadEdges(found, "a first line that names the columns")

    def place(row: int) -> str:
        lines = (number for number, _ in _lines(path) if number > skipped)
        return f"line {next(number for k, number in enumerate(lines) if k == row)}"

    try:
        if width is not None and width > count and not all(_fits(path, skipped, width)):
            raise ValueError(width)
        table = _table(path, mark, skipped, places, width)
    except (ValueError, OverflowError):
        for number, text in _lines(path):
            if number > skipped and not (_numbers(text, places) and _no_more(text, width)):
                allowed = ",".join(NAMES[:count])
                shown = repr(text[:40])
                raise BadEdges(f"{shown} in line {number} of {path.name}", allowed) from None
        try:  # blanks before quotes, which NumPy takes for text: slowly, line by line
            split = (_parts(text)[1] for number, text in _lines(path) if number > skipped)
            cleaned = (",".join(parts[place] for place in places) for parts in split)
            table = _table(cleaned, ",", 0, list(range(count)))
        except (ValueError, OverflowError):
            found = f"{path.name}, which is no table of numbers"
            raise BadEdges(found, "a CSV file") from None
    return [np.ascontiguousarray(table[name]) for name in NAMES[:count]], place


def _no_more(text: str, width: int | None) -> bool:
    """Whether a line has no more cells than ``width``, but for empty ones."""
    return width is None or not any(_parts(text)[1][width:])


def _fits(path: Path, skipped: int, width: int) -> Iterator[bool]:
    """Of each line: whether it has no more cells. A quoted one may hold commas of its own."""
    for number, text in _lines(path):
        yield number <= skipped or QUOTE in text or _no_more(text, width)


def _table(
    lines: Path | Iterator[str], separator: str | None, skipped: int, places: list[int],
    width: int | None = None,
) -> NDArray[Any]:  # fmt: skip
    """As a table with a column for each of the first names; ``places``: where those are, of
    ``width`` columns, which NumPy counts when all of them are wanted. Raises ValueError,
    OverflowError: it is none."""
    count = len(places)
    order = sorted(range(count), key=places.__getitem__)
    all_wanted = width == count
    row_type = np.dtype([(NAMES[k], _TYPES[k]) for k in (order if all_wanted else range(count))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it holds nothing: it is told later
        found: NDArray[Any] = np.loadtxt(
            lines, row_type, delimiter=separator, skiprows=skipped,
            usecols=None if all_wanted else places, ndmin=1, encoding="utf-8-sig", quotechar=QUOTE,
        )  # fmt: skip
    return found


def _row(row: int) -> str:
    return f"row {row}"


def _npz(path: Path, count: int) -> tuple[Columns, Callable[[int], str]]:
    try:
        held = np.load(path, allow_pickle=False)
        if not isinstance(held, np.lib.npyio.NpzFile):
            raise TypeError("one array")  # told as all that is no npz file
        with held:
            found = {name: held[name] for name in NAMES[:count] if name in held}
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # zipfile, zlib and NumPy raise whatever they trip over
        raise BadEdges(f"{path.name}, which is no npz file", "what numpy.savez writes") from None
    return _columns(path, found, count), _row


def _parquet(path: Path, count: int) -> tuple[Columns, Callable[[int], str]]:
    try:
        reader: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        found = f"{path.name}, and no reader of Parquet"
        raise BadEdges(found, "a .csv or .npz file, or pyarrow installed") from None
    try:
        table = reader.read_table(path)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # pyarrow raises whatever it trips over
        raise BadEdges(f"{path.name}: {type(error).__name__}", "a Parquet file") from None
    there = range(table.num_columns)
    chosen = [place for place in places_of(list(table.column_names), count, path) if place in there]
    columns = {n: table.column(c).to_numpy() for n, c in zip(NAMES, chosen, strict=False)}
    return _columns(path, columns, count), _row


def _columns(path: Path, found: dict[str, NDArray[Any]], count: int) -> Columns:
    columns: Columns = []
    for name, kind in zip(NAMES[:count], _TYPES, strict=False):
        column = found.get(name)
        size = columns[0].size if columns else None
        if column is None or column.ndim != 1 or size not in (None, column.size):
            raise BadEdges(
                f"no column {name} in {path.name}, or one of another length",
                f"{', '.join(NAMES[:count])}, a number for each edge",
            )
        if column.dtype.kind not in ("iu" if kind is np.int64 else "iuf"):
            wanted = "whole numbers" if kind is np.int64 else "numbers"
            raise BadEdges(f"{name} of type {column.dtype} in {path.name}", wanted)
        with np.errstate(over="ignore"):  # what is infinite then is told with its row
            columns.append(np.ascontiguousarray(column, kind))
    return columns
