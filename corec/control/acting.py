"""``corec-ctl alerts`` and ``tasks``: what was raised, who is told of it, what could not be told.

Read from the instance's own servers; an acknowledgement is an entry of ``…:acuses``, which the
process ``tasks`` takes in.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from corec.command_line import NUMBER_MAX
from corec.config import load_config
from corec.config.acting import TaskConfig
from corec.control import console, show
from corec.control.asking import (
    ConfigOption,
    InstanceOption,
    JsonOption,
    explained,
    fail,
    output,
    waiting,
)
from corec.control.discover import Instance, find_instance
from corec.exits import EXIT_FAILED

ACK_SECONDS: Final = 10.0
ALERT_ID: Final = re.compile(r"[0-9a-f]{16}-\d+-\d+", re.ASCII)
ALERT_COLUMNS: Final = {
    "id": "alert", "estado": "state", "entidad": "entity", "canal": "canal", "desde": "since tick",
    "ultimo": "last tick", "veces": "ticks", "valor": "valor", "campos": "fields", "acuse": "by",
}  # fmt: skip
_ALERTS: Final = """
    SELECT id, estado, canal, procesador, entidad, "timestamp", desde, ultimo, hasta, veces, valor,
           campos, acuse
      FROM alertas WHERE instance_id = %s AND (%s OR estado <> 'cleared')
     ORDER BY "timestamp" DESC, id LIMIT %s
"""
_FAILED: Final = """
    SELECT entrada, "timestamp", tarea, run, aviso, intentos, error
      FROM tareas_fallidas WHERE instance_id = %s ORDER BY "timestamp" DESC, entrada LIMIT %s
"""


def _rows(instance: Instance, query: str, *words: Any) -> list[dict[str, Any]]:
    """What ``query`` finds; nothing in a database that no alert was followed in yet."""
    import psycopg  # as in ``console.database``

    with console.database(instance) as connection:
        try:
            cursor = connection.execute(query, (instance.instance_id, *words))
        except psycopg.errors.UndefinedTable:
            return []
        names = [column.name for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor]
    return [{**one, "timestamp": one["timestamp"].isoformat()} for one in found]


def _stand(instance: Instance, alerts: list[str]) -> dict[str, tuple[str, str | None]]:
    """The state of those that there are, and who acknowledged them."""
    query = """SELECT id, "timestamp", estado, acuse FROM alertas
                WHERE instance_id = %s AND id = ANY (%s)"""
    return {one["id"]: (one["estado"], one["acuse"]) for one in _rows(instance, query, alerts)}


def _refusals(alerts: list[str], stand: dict[str, tuple[str, str | None]]) -> dict[str, str]:
    """Those that can't be acknowledged, and why. An alert is in the table before anybody is told of
    it, so what is not there will not come."""
    found = {}
    for alert in alerts:
        if ALERT_ID.fullmatch(alert) is None:
            found[alert] = "expected <world's epoch>-<tick raised>-<entity>, as the list shows them"
        elif alert not in stand:
            found[alert] = "there is no such alert in this instance; corec-ctl alerts lists them"
        elif stand[alert][0] == "cleared":
            found[alert] = "it is cleared already, nobody needs to take care of it"
    return found


def _acknowledge(instance: Instance, alerts: list[str], who: str, *, quiet: bool) -> dict[str, str]:
    """Ask for it, and wait until the table says so; why not, of those that it did not come to."""
    stand = _stand(instance, alerts)
    refused = _refusals(alerts, stand)
    asked = [one for one in alerts if one not in refused and stand[one][1] is None]
    if not asked:
        return refused
    key = f"corec:{{{instance.instance_id}}}:acuses"
    with console.streams(instance) as client:
        for alert in asked:
            client.xadd(key, {"id": alert, "quien": who}, maxlen=100_000)
    deadline = time.monotonic() + ACK_SECONDS
    late = (
        f"not taken in within {ACK_SECONDS:g} s, it will be; the process tasks takes it in, and "
        "corec-ctl status says how that is"
    )
    with waiting("the instance takes it in…", quiet=quiet):
        while True:
            stand = _stand(instance, asked)
            gone = _refusals(asked, stand)  # cleared meanwhile
            left = [one for one in asked if one not in gone and stand[one][1] is None]
            if not left or time.monotonic() > deadline:
                return refused | gone | dict.fromkeys(left, late)
            time.sleep(0.1)


def _user() -> str:
    """Who this is; the number where nobody knows a name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def alerts(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    every: Annotated[bool, typer.Option("--all", help="Those that are cleared, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=NUMBER_MAX, help="How many at most.")] = 100,
    ack: Annotated[
        list[str] | None,
        typer.Option("--ack", metavar="ALERT", help="Say that somebody takes care of it."),
    ] = None,
    ack_all: Annotated[bool, typer.Option("--ack-all", help="Of all that are shown.")] = False,
    who: Annotated[
        str | None, typer.Option("--by", help="Who does. (default: this user)", show_default=False)
    ] = None,
) -> None:
    """List the alerts that are open, latest first, or acknowledge them."""
    with explained():
        found = find_instance(instance, config)
        wanted = list(ack or ())
        if ack_all:
            listed = _rows(found, _ALERTS, False, limit)
            wanted += [one["id"] for one in listed if one["estado"] == "raised"]
        wanted = list(dict.fromkeys(wanted))
        left = _acknowledge(found, wanted, who or _user(), quiet=as_json) if wanted else {}
        rows = _rows(found, _ALERTS, every or bool(left), limit)
        output({"alerts": rows}, as_json, lambda data: show.rows(data["alerts"], ALERT_COLUMNS))
        if left:
            why = "; ".join(f"{alert}: {reason}" for alert, reason in left.items())
            fail(f"not acknowledged: {why}", EXIT_FAILED)


def _waiting(client: Any, prefix: str, one: TaskConfig, canales: set[int]) -> dict[str, int | None]:
    """Entries of all streams that start the task: ``pending`` were taken and are not done,
    ``unread`` not taken yet (None: of a stream the server does not know it)."""
    import redis  # as above

    names = ["avisos"]
    if one.on == "mensajes":
        names = [f"out:{canal}" for canal in canales if one.canal in (None, canal)]
    pending, unread = 0, [0]
    for name in names:
        with contextlib.suppress(redis.ResponseError):  # no group yet: nothing came
            for group in client.xinfo_groups(prefix + name):
                if group["name"] == f"tarea:{one.title}".encode():
                    pending += int(group["pending"])
                    unread.append(group["lag"])
    return {"pending": pending, "unread": None if None in unread else sum(unread)}


def tasks(
    instance: InstanceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    limit: Annotated[
        int, typer.Option(min=0, max=NUMBER_MAX, help="Failed ones to list at most.")
    ] = 20,
) -> None:
    """Show the tasks: how much waits, and what failed for good, latest first."""
    with explained():
        found = find_instance(instance, config)
        path = found.config_path
        read = load_config(Path(path)) if path else None
        declared, bloques = (read.tasks, read.bloques) if read else ((), ())
        canales = {bloque.canal for bloque in bloques}
        prefix = f"corec:{{{found.instance_id}}}:"
        with console.streams(found) as client:
            rows = [
                {
                    "name": one.title, "on": one.on, "run": one.run, "canal": one.canal,
                    "when": list(one.events), "workers": one.workers,
                    **_waiting(client, prefix, one, canales),
                }
                for one in declared
            ]  # fmt: skip
        failed = _rows(found, _FAILED, limit)
        output({"tasks": rows, "failed": failed}, as_json, show.tasks)


def add_to(app: typer.Typer) -> None:
    """Register both commands."""
    app.command()(alerts)
    app.command()(tasks)
