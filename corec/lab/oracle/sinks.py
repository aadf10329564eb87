"""What an instance left in PostgreSQL and on its streams, read as the documents say, and held
against the world that the oracle computed.

Reading is this file's own: ``struct`` for messages, Zstandard and JSON for payloads, plain SQL.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import psycopg
import redis
import zstandard
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from corec.lab.oracle import compare
from corec.lab.oracle.compare import Disagreement, lists
from corec.lab.oracle.measures import same_statistics
from corec.lab.oracle.phases import FIGURES, GENERATION, KINDS, LINEAGE, Told, same_told
from corec.lab.oracle.rows import Row
from corec.lab.oracle.world import World

MESSAGE: Final = struct.Struct("!Ibf?")
LOSSES: Final = ("filas_perdidas", "mensajes_perdidos")
ENTRIES_PER_PAGE: Final = 1000
Sent = tuple[int, int, int, float, bool]
"""Tick, id, canal, valor, activo."""
Named = tuple[int, float, tuple[tuple[str, Any], ...]]
"""What an alert says of one entity: id, valor, fields."""


@dataclass
class Sinks:
    """Rows, events and entries of one instance."""

    rows: list[dict[str, Any]]
    events: list[dict[str, Any]]
    messages: dict[int, list[Sent]]
    alerts: dict[tuple[int, int], tuple[int, list[Named]]]
    told: list[Told]
    """Of phases: generations and births as their views have them."""


def read(dsn: str, url: str, instance_id: str, world: World) -> Sinks:
    """All that belongs to the blocks of ``world``."""
    blocks = [block.settings.name for block in world.blocks]
    canales = sorted({block.settings.canal for block in world.blocks})
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        rows = connection.execute(
            "SELECT * FROM bloques WHERE instance_id = %s AND id = ANY(%s) ORDER BY tick, id",
            (instance_id, blocks),
        ).fetchall()
        events = connection.execute(
            "SELECT * FROM eventos WHERE instance_id = %s AND (bloque = ANY(%s) OR bloque IS NULL)"
            " ORDER BY tick, bloque, entidad",
            (instance_id, blocks),
        ).fetchall()
        told = _told(connection, instance_id, blocks)
    told += [
        Told(event["tick"], event["tipo"], event["bloque"], None, event["detalle"])
        for event in events if event["tipo"] in ("fusion", "division")
    ]  # fmt: skip
    with redis.Redis.from_url(url) as client:
        messages = {canal: _messages(client, instance_id, canal) for canal in canales}
        alerts = {
            key: alert for key, alert in _alerts(client, instance_id).items() if key[1] in canales
        }
    return Sinks(rows, events, messages, alerts, told)


def _told(
    connection: psycopg.Connection[dict[str, Any]], instance_id: str, blocks: list[str]
) -> list[Told]:
    """What the views show of evolutions of these blocks."""
    found = []
    for view, kind, entity, names in (
        ("generaciones", GENERATION, None,
         (*FIGURES, "generacion", "activas", "hijos", "mejor_id", "genes")),
        ("linaje", LINEAGE, "hijo", ("madre", "padre", "how", "generacion", "genes")),
    ):  # fmt: skip
        query = SQL("SELECT * FROM {} WHERE instance_id = %s AND bloque = ANY(%s)")
        those = connection.execute(query.format(Identifier(view)), (instance_id, blocks))
        for row in those.fetchall():
            if kind == GENERATION:
                swarm = row["bloque"].partition(":")[0]
                compare.same(f"{view} of {row['bloque']}: enjambre", row["enjambre"], swarm)
            who = None if entity is None else row[entity]
            detail = {name: row[name] for name in names}
            found.append(Told(row["tick"], kind, row["bloque"], who, detail))
    return found


def _entries(client: redis.Redis, key: str) -> list[dict[bytes, bytes]]:
    found: list[dict[bytes, bytes]] = []
    start = "-"
    while True:
        page: Any = client.xrange(key, start, "+", ENTRIES_PER_PAGE)
        found += [fields for _, fields in page]
        if len(page) < ENTRIES_PER_PAGE:
            return found
        start = "(" + page[-1][0].decode()


def _messages(client: redis.Redis, name: str, canal: int) -> list[Sent]:
    found: list[Sent] = []
    for fields in _entries(client, f"corec:{{{name}}}:out:{canal}"):
        whole = set(fields) == {b"m", b"n", b"t"}
        if not whole or len(fields[b"m"]) != MESSAGE.size * int(fields[b"n"]):
            raise Disagreement(f"canal {canal}: an entry with {sorted(fields)}")
        found += [(int(fields[b"t"]), *m) for m in MESSAGE.iter_unpack(fields[b"m"])]
    return found


def _named(one: dict[str, Any]) -> Named:
    identity, valor = one.pop("id"), float(np.float32(one.pop("valor")))
    return identity, valor, tuple(one.items())


def _alerts(client: redis.Redis, name: str) -> dict[tuple[int, int], Any]:
    """By tick and canal: how many, and the named ones."""
    found: dict[tuple[int, int], tuple[int, list[Any]]] = {}
    for fields in _entries(client, f"corec:{{{name}}}:alertas"):
        alert = json.loads(fields[b"alerta"])
        if alert["tipo"] == "anomaly":  # of auditoria, which goes by what blocks have been like
            continue
        key = (alert["tick"], alert["canal"])
        n, named = found.get(key, (0, []))
        more = [_named(one) for one in alert["entidades"]]
        if alert["n"] != len(more) + alert["omitidas"]:
            raise Disagreement(f"alert {key}: n {alert['n']}, {len(more)} and {alert['omitidas']}")
        found[key] = (n + alert["n"], named + more)
    return found


def same(found: Sinks, world: World, times: bool = True) -> None:
    """Every row with its payload, every repair with its time, every generation, every fusion, every
    message, every alert. ``times`` False: of a tick that ran again some may have the time of the
    first run.

    Raises:
        Disagreement: at the first difference.
    """
    losses = [event for event in found.events if event["tipo"] in LOSSES]
    if losses:
        raise Disagreement(f"losses: {losses[:2]}")
    repairs = [event for event in found.events if event["tipo"] == "repair"]
    told = [event for event in found.events if event["tipo"] == "statistics"]
    same_statistics([(e["tick"], e["bloque"], e["detalle"]) for e in told], world.statistics)
    same_told(found.told, world.told)
    _same_rows(found.rows, world)
    _same_repairs(repairs, world)
    if times:
        _same_times(found.rows + repairs)
        _same_times(told + [event for event in found.events if event["tipo"] in KINDS])
    _same_messages(found, world)
    _same_alerts(found, world)


def same_letters(url: str, name: str, wanted: Sequence[tuple[str, str]]) -> None:
    """What could not be understood lies there once, with where it came from. ``wanted``: (stream,
    id of the entry).

    Raises:
        Disagreement: it does not.
    """
    with redis.Redis.from_url(url) as client:
        letters = _entries(client, f"corec:{{{name}}}:dead")
    if not all(letter.get(b"reason") for letter in letters):
        raise Disagreement("dead letters: one without a reason")
    found = [(letter[b"stream"].decode(), letter[b"source"].decode()) for letter in letters]
    lists("dead letters", sorted(found), sorted(wanted))


def _same_rows(found: list[dict[str, Any]], world: World) -> None:
    keys = Counter((row["id"], row["tick"]) for row in found)
    doubled = [key for key, count in keys.items() if count > 1]
    if doubled:
        raise Disagreement(f"rows: {len(doubled)} twice {doubled[:3]}")
    wanted = {(row.block, row.tick): row for row in world.rows}
    mine = {(row["id"], row["tick"]): row for row in found}
    compare.keys("rows", mine, wanted)
    for key, row in wanted.items():
        _same_row(f"row {key}", mine[key], row)


def _same_row(at: str, found: dict[str, Any], row: Row) -> None:
    for name in ("canal", "num_entidades", "activas", "errores", "reparadas", "mensajes"):
        compare.same(f"{at}.{name}", found[name], getattr(row, name))
    for name in ("carga", "umbral", "fitness", "media", "desviacion"):
        compare.same(f"{at}.{name}", found[name], float(getattr(row, name)))
    compare.same(f"{at}.payload", found["payload"] is not None, row.has_payload)
    if not row.has_payload:
        return
    payload = json.loads(zstandard.decompress(found["payload"]))
    compare.keys(f"{at}.payload", payload, dict.fromkeys(
        ("desde", "hasta", "mensajes", "omitidos", "histograma")))  # fmt: skip
    compare.same(f"{at}.desde", payload["desde"], row.desde)
    compare.same(f"{at}.hasta", payload["hasta"], row.tick)
    compare.same(f"{at}.omitidos", payload["omitidos"], row.omitidos)
    said = payload["mensajes"]
    messages = [
        (i, t, float(np.float32(v)))
        for i, t, v in zip(said["id"], said["tick"], said["valor"], strict=True)
    ]
    lists(f"{at}.mensajes", messages, [(m.id, m.tick, float(m.valor)) for m in row.messages])
    bins = payload["histograma"]
    compare.same(f"{at}.min", float(np.float32(bins["min"])), float(row.histogram.low))
    compare.same(f"{at}.max", float(np.float32(bins["max"])), float(row.histogram.high))
    lists(f"{at}.cuentas", bins["cuentas"], list(row.histogram.counts))


def _same_times(found: Sequence[dict[str, Any]]) -> None:
    """One tick has one time, whoever tells it, and time does not go back."""
    times: dict[int, datetime] = {}
    for thing in sorted(found, key=lambda thing: int(thing["tick"])):
        time = times.setdefault(thing["tick"], thing["timestamp"])
        if time != thing["timestamp"]:
            raise Disagreement(f"tick {thing['tick']}: two times, {time}, {thing['timestamp']}")
    ticks = sorted(times)
    for before, after in itertools.pairwise(ticks):
        if times[after] < times[before]:
            raise Disagreement(f"tick {after} is earlier than tick {before}: {times[after]}")


def _same_repairs(found: list[dict[str, Any]], world: World) -> None:
    mine = sorted(
        (e["tick"], e["bloque"], e["entidad"], e["detalle"]["donor"], e["detalle"]["how"])
        for e in found
    )
    wanted = sorted((r.tick, r.block, r.id, r.donor, r.how) for r in world.repairs)
    lists("repairs", mine, wanted)


def _same_messages(found: Sinks, world: World) -> None:
    """In the order of ticks; within a tick the blocks may come in any order, whole."""
    number = {i: k for k, block in enumerate(world.blocks) for i in block.ids}
    for canal, messages in found.messages.items():
        ticks = [message[0] for message in messages]
        if ticks != sorted(ticks):
            raise Disagreement(f"messages of canal {canal}: ticks out of order")
        by_block = sorted(messages, key=lambda m: (m[0], number[m[1]]))
        wanted = [
            (m.tick, m.id, m.canal, float(m.valor), True)
            for m in world.messages
            if m.canal == canal
        ]
        lists(f"messages of canal {canal}", by_block, wanted)


def _same_alerts(found: Sinks, world: World) -> None:
    wanted: dict[tuple[int, int], list[Named]] = {}
    for block in world.blocks:
        for m in block.messages:
            if m.alert:
                wanted.setdefault((m.tick, m.canal), []).append((m.id, float(m.valor), m.named))
    compare.keys("alerts", found.alerts, wanted)
    for key, messages in wanted.items():
        n, texts = found.alerts[key]
        compare.same(f"alert {key}.n", n, len(messages))
        types = {(i, name): type(value) for i, _, values in messages for name, value in values}
        named = [  # a text has the digits that its field's type needs
            (i, valor, tuple((name, types.get((i, name), float)(v)) for name, v in values))
            for i, valor, values in texts
        ]
        strange = Counter(named) - Counter(messages)
        if strange or len(named) < min(100, len(messages)):
            raise Disagreement(f"alert {key}: {len(named)} of {n} named, strange {strange}")
