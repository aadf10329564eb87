"""``corec-ctl events``: the rows of ``eventos``, those that are there and those that come.

Who follows asks again and again for the rows from a tick on, and shows those that it has not shown:
a row is known by its table and its place in it, which a row that nobody updates keeps. From which
tick on: the newest that was seen ``LATE_SECONDS`` ago, since the persister writes the events of one
process before another's, as they come.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from corec.command_line import NUMBER_MAX
from corec.control import console, show
from corec.control.asking import ConfigOption, InstanceOption, JsonOption, explained, output
from corec.control.discover import Instance, find_instance, read_instance
from corec.terminal import harmless

LOOK_SECONDS: Final = 0.5
LATE_SECONDS: Final = 30.0
"""An event that reaches the table later than others of so long ago is not followed."""
COLUMNS: Final = ("timestamp", "tick", "tipo", "bloque", "entidad", "detalle")
_WHERE: Final = """
    SELECT "timestamp", tick, tipo, bloque, entidad, detalle{more} FROM eventos
     WHERE instance_id = %(instance)s AND tick >= %(since)s
       AND (%(tipo)s::text IS NULL OR tipo = %(tipo)s::text)
"""
LAST: Final = (
    _WHERE.format(more="")
    + """ ORDER BY "timestamp" DESC, tick DESC, bloque DESC, entidad DESC LIMIT %(limit)s"""
)
_COMING: Final = (
    _WHERE.format(more=", tableoid::text || ctid::text AS place")
    + """ ORDER BY "timestamp", tick, bloque, entidad"""
)


def last_events(
    instance: Instance, tipo: str | None, since: int, limit: int
) -> list[dict[str, Any]]:
    """The last rows of the table, oldest first, as dicts of ``COLUMNS``.

    Raises AskFailed: the database can't be reached, or what it answered.
    """
    return _rows(instance, LAST, tipo=tipo, since=since, limit=limit)[::-1]


def _rows(instance: Instance, query: str, **words: Any) -> list[dict[str, Any]]:
    with console.database(instance) as connection:
        cursor = connection.execute(query, {"instance": instance.instance_id, **words})
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def followed_events(
    instance: Instance, tipo: str | None, since: int | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    """The last ``limit`` that are there (None: all), from tick ``since`` on, and those that come,
    until the instance stops.

    Raises AskFailed: what the database answered at first; if it goes away it is waited for.
    """
    start = since or 0
    if limit is not None:
        last = last_events(instance, tipo, start, max(1, limit))
        start = min((int(row["tick"]) for row in last), default=start)
    found = _rows(instance, _COMING, tipo=tipo, since=start)
    yield from found if limit is None else found[len(found) - limit :] if limit else []
    shown = {row["place"] for row in found}
    newest: deque[tuple[float, int]] = deque([(time.monotonic(), start)])
    stopped = False
    while not stopped:
        newest.append((time.monotonic(), max([newest[-1][1], *(int(r["tick"]) for r in found)])))
        while newest[1][0] < time.monotonic() - LATE_SECONDS:
            newest.popleft()
        time.sleep(LOOK_SECONDS)
        stopped = read_instance(instance.path) is None
        try:
            found = _rows(instance, _COMING, tipo=tipo, since=newest[0][1])
        except console.AskFailed:
            continue  # if it is the instance's own, it may have stopped with it
        yield from (row for row in found if row["place"] not in shown)
        shown = {row["place"] for row in found}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in COLUMNS} | {"timestamp": row["timestamp"].isoformat()}


def _line(row: dict[str, Any]) -> str:
    """One event for human eyes, and for grep."""
    one = _plain(row)
    where = " ".join(str(one[name]) for name in ("bloque", "entidad") if one[name] is not None)
    detail = json.dumps(one["detalle"], ensure_ascii=False)
    words = (one["timestamp"], f"tick {one['tick']}", one["tipo"], where, detail)
    return harmless(" ".join(filter(None, words)))


def events(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with those that come; until ^C.")
    ] = False,
    tipo: Annotated[
        str | None, typer.Option(help="Of this kind only, such as setting_changed.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(min=0, max=NUMBER_MAX, help="From this tick on.", show_default="0"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, max=NUMBER_MAX, help="The last so many of those that are there.",
            show_default="100; with --follow 10, or all from --since on",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Show the last events, oldest first (with --follow: a line each, with --json a JSON line)."""
    with explained():
        found = find_instance(instance, config)
        if not follow:
            rows = last_events(found, tipo, since or 0, 100 if limit is None else limit)
            output(
                {"events": [_plain(row) for row in rows]}, as_json,
                lambda data: show.rows(data["events"], dict(zip(COLUMNS, COLUMNS, strict=True))),
            )  # fmt: skip
            return
        try:
            most = 10 if limit is None and since is None else limit
            for row in followed_events(found, tipo, since, most):
                print(json.dumps(_plain(row), ensure_ascii=False) if as_json else _line(row))
                sys.stdout.flush()
            print("corec-ctl: the instance stopped", file=sys.stderr)
        except KeyboardInterrupt:
            return
