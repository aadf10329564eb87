"""The rows of a text file: unpacked, decoded, and cut into cells by the delimiter that fits.

A file may be a pipe (``<(zcat …)``, ``/dev/stdin``): it can be opened once only, and no byte of it
twice. Nothing of one is read into memory for want of a line's end.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import fstat
from pathlib import Path
from typing import IO, Any, Final

from corec.replay.cells import is_number, is_written_time

DELIMITERS: Final = (",", ";", "\t", "|")
SAMPLE_ROWS: Final = 1000
CELL_CHARS_MAX: Final = 1 << 20
LINE_CHARS_MAX: Final = 1 << 22
GZIP_MAGIC: Final = b"\x1f\x8b"
PARQUET_MAGIC: Final = b"PAR1"
UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Lines = Callable[[], Iterator[str]]
"""The lines of a file from its beginning, whenever it is called."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the number of its (first) line, its cells, and how many lines it takes."""

    line: int
    cells: list[str]
    lines: int = 1
    sound: bool = True
    """Whether each quote that opens a cell closes it."""


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files below ``folder`` whose names end so, in order; links to folders lead out of it and
    are not followed. Raises OSError: a folder can't be read."""

    def refuse(error: OSError) -> None:
        raise error

    below = [
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if name.lower().endswith(suffixes)
    ]
    return sorted(path for path in below if path.is_file())


@contextmanager
def opened(path: Path) -> Iterator[Lines]:
    """A text file, or one packed with gzip, in UTF-8 or, as spreadsheets save it, UTF-16: by the
    first bytes. A BOM is passed over.
    """
    with _rewindable(path) as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        content: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        first = content.read(len(PARQUET_MAGIC))
        encoding = "utf-16" if first[:2] in UTF_16_MARKS else "utf-8-sig"

        def lines() -> Iterator[str]:
            if first == PARQUET_MAGIC:
                raise csv.Error("it is Parquet, of which another program can make one")
            content.seek(0)
            text = io.TextIOWrapper(content, encoding, "replace", newline="")
            try:
                while line := text.readline(LINE_CHARS_MAX + 1):
                    if len(line) > LINE_CHARS_MAX:
                        raise csv.Error(f"a line is longer than {LINE_CHARS_MAX:,} characters")
                    yield line
            finally:
                text.detach()

        yield lines


@contextmanager
def _rewindable(path: Path) -> Iterator[IO[bytes]]:
    """A file for reading; what comes through a pipe is laid down first, where no name leads."""
    with path.open("rb") as raw:
        if stat.S_ISREG(fstat(raw.fileno()).st_mode):
            yield raw
            return
        with tempfile.TemporaryFile() as kept:
            shutil.copyfileobj(raw, kept)
            kept.seek(0)
            yield kept


def rows(lines: Iterable[str]) -> tuple[str, Iterator[Row]]:
    """The delimiter, that which cuts the first lines evenly, and the rows, quoted cells and all.

    Raises csv.Error for a cell of more than ``CELL_CHARS_MAX``.
    """
    csv.field_size_limit(CELL_CHARS_MAX)
    rest = iter(lines)
    first = list(itertools.islice(rest, SAMPLE_ROWS))
    mark = _delimiter(first)
    return mark, _cut(itertools.chain(first, rest), mark)


def _cut(lines: Iterable[str], mark: str) -> Iterator[Row]:
    written: list[str] = []

    def remembered() -> Iterator[str]:
        for one in lines:
            written.append(one)
            yield one

    # a quote behind a character that is followed by more of the cell than another quote
    within = re.compile(rf'[^" {re.escape(mark)}]"(?!"| *(?:[\r\n{re.escape(mark)}]|$))')
    # skipinitialspace would take a tab for a space behind a delimiter
    reader = csv.reader(remembered(), delimiter=mark, skipinitialspace=True)
    line = 0
    for cells in reader:
        begin, line = line + 1, reader.line_num
        text = written[0] if len(written) == 1 else "".join(written)
        sound = '"' not in text
        if not sound:
            doubtful = line > begin or text.count('"') % 2 or within.search(text)
            sound = not doubtful or _quotes_close(written, mark)
        written.clear()
        yield Row(begin, [cell.strip(" \t\r\n\ufeff") for cell in cells], line + 1 - begin, sound)


def _quotes_close(written: list[str], mark: str) -> bool:
    """Whether a row's quoted cells end where a delimiter or the row does, spaces aside."""
    spaced = re.compile(rf'" +(?={re.escape(mark)}|[\r\n]*$)')
    for texts in (written, [spaced.sub('"', one) for one in written]):
        try:
            strict: Any = csv.reader(texts, delimiter=mark, skipinitialspace=True, strict=True)
            return sum(1 for _ in strict) == 1
        except csv.Error:
            continue
    return False


def _delimiter(lines: Sequence[str]) -> str:
    """Which delimiter gives most of the first lines the same number of columns, at least two; of
    two that do alike, as where a comma parts decimals, the one whose cells are times and numbers.
    """

    def fit(mark: str) -> tuple[float, float]:
        reader = csv.reader(lines[:50], delimiter=mark, skipinitialspace=True)
        try:
            found = [cells for cells in reader if any(cells)]
        except csv.Error:
            return 0.0, 0.0
        several = [len(cells) for cells in found if len(cells) > 1]
        if not several:
            return 0.0, 0.0
        usual = max(set(several), key=several.count)
        cells = [cell.strip() for row in found if len(row) == usual for cell in row]
        read = sum(is_number(cell) or is_written_time(cell) for cell in cells)
        return several.count(usual) / len(found), read / len(cells)

    return max(DELIMITERS, key=fit)
