"""``corec export --collected``: the files that ``collect`` has left of a bloque, as one.

A row group at a time, so memory holds one however many there are. What some files have not, since
``collect`` asked for other columns then, is null there; a field that had another type then has the
type that holds both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from corec.config import Config
from corec.view.frame import library, written_whole
from corec.world.collected import FOLDER

BATCH_ROWS: Final = 1 << 17


def export_collected(config: Config, swarm: str | None, out: Path) -> dict[str, Any]:
    """Write what was collected of ``swarm``, which may be left out where there is one, to ``out``,
    a .csv or a .parquet file, whole or not at all; swarm, files, rows.

    Raises:
        ValueError: there is nothing of it. ImportError: no pyarrow. OSError.
    """
    folder = config.state_folder / FOLDER
    names = sorted(path.name for path in folder.glob("*") if any(path.glob("[0-9]*.parquet")))
    if not names:
        raise ValueError(f"--collected: found no files in {folder}, expected some: collect with "
                         "columns, in the configuration, makes them")  # fmt: skip
    if swarm is None and len(names) == 1:
        swarm = names[0]
    if swarm not in names:
        found = "none" if swarm is None else repr(swarm)
        raise ValueError(f"--swarm: found {found}, expected one of {', '.join(names)}")
    paths = sorted((folder / swarm).glob("[0-9]*.parquet"))
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    schemas = [schema for path in paths for schema in _schema(parquet, path)]
    schema = _unified(arrow, swarm, [one.remove_metadata() for one in schemas])
    files = rows = 0
    with written_whole(out) as half, _writer(half, out.suffix, schema) as writer:
        for path in paths:
            for batch in _batches(parquet, path):
                columns = [
                    batch.column(field.name).cast(field.type) if field.name in batch.schema.names
                    else arrow.nulls(batch.num_rows, field.type)
                    for field in schema
                ]  # fmt: skip
                writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
                rows += batch.num_rows
            files += 1
    return {"file": str(out), "swarm": swarm, "files": files, "rows": rows}


def _unified(arrow: Any, swarm: str, schemas: list[Any]) -> Any:
    """One schema for all of them. Raises ValueError: a column is a number here and none there."""
    try:
        return arrow.unify_schemas(schemas, promote_options="permissive")
    except arrow.ArrowTypeError as error:
        raise ValueError(f"--collected: the files of {swarm} don't fit together: {error}") from None


def _schema(parquet: Any, path: Path) -> list[Any]:
    try:
        return [parquet.read_schema(path)]
    except FileNotFoundError:  # a later one took its place: ``keep``
        return []


def _batches(parquet: Any, path: Path) -> Iterator[Any]:
    try:
        file = parquet.ParquetFile(path)
    except FileNotFoundError:
        return
    with file:
        yield from file.iter_batches(BATCH_ROWS)


def _writer(path: Path, suffix: str, schema: Any) -> Any:
    if suffix == ".parquet":
        return library("pyarrow.parquet").ParquetWriter(path, schema, compression="zstd")
    return library("pyarrow.csv").CSVWriter(path, schema)
