"""``corec-ctl`` for human eyes: rich tables of what the JSON says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_TONE = {
    "running": "green", "ready": "green", "drained": "green", "paused": "yellow",
    "starting": "yellow", "waiting": "yellow", "degraded": "yellow", "draining": "yellow",
    "down": "red", "frozen": "red", "parked": "red",
}  # fmt: skip


def human_bytes(count: float) -> str:
    """``count`` bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable: the last unit returns")


def human_span(seconds: float) -> str:
    """``seconds`` in days, hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days}d" if days else "", f"{hours}h" if hours else ""]
    return " ".join([*filter(None, parts), f"{minutes}m {rest}s" if minutes else f"{rest}s"])


def toned(state: str) -> Text:
    """A state's name in its colour."""
    return Text(state, style=_TONE.get(state, ""))


def pairs(data: Mapping[str, Any]) -> Table:
    """A mapping as two columns; nested data as compact text."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in data.items():
        if isinstance(value, float):
            value = f"{value:.6g}"
        elif isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        shown = value if isinstance(value, Text) else str(_rounded(value))
        table.add_row(Text(str(name), style="dim"), shown)
    return table


def _rounded(value: Any) -> Any:
    """``value`` with six significant digits in every number of its lists and mappings."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def rows(data: list[dict[str, Any]], columns: Mapping[str, str] | None = None) -> Table:
    """A list of like objects as a table; ``columns`` maps keys to headings, in order."""
    chosen = columns or ({key: key for key in data[0]} if data else {})
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in chosen.values():
        table.add_column(heading, overflow="fold")
    for row in data:
        table.add_row(*(_cell(key, row.get(key)) for key in chosen))
    return table


def _cell(key: str, value: Any) -> Text | str:
    if key == "state":
        return toned(str(value))
    if key.endswith("_bytes") and isinstance(value, (int, float)):
        return human_bytes(value)
    if isinstance(value, bool):
        return Text("yes", style="green") if value else Text("NO", style="red")
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _achieved(data: Mapping[str, Any]) -> str:
    """``0.25 of `` when the world is behind its pace."""
    return f"{data['achieved_hz']:g} of " if data.get("behind") else ""


def status(data: Mapping[str, Any]) -> RenderableType:
    """The whole picture of one instance."""
    head: dict[str, Any] = {
        "instance": f"{data['instance_id']}   (pid {data['pid']}, version {data['version']})",
        "state": toned(data["state"]),
    }
    if not data["bloques"]:  # a start that has no world yet has no figures either
        return pairs(head)
    rate = f"{data['tick_hz']:g} Hz" if data["tick_hz"] else "flat out"
    head |= {
        "tick": f"{data['tick']:,} at {_achieved(data)}{rate}, {data['overruns']:,} late",
        "up": human_span(data["uptime_seconds"]),
        "world": f"{data['entidades']:,} entities in {data['bloques']:,} blocks",
        "rows": f"{data['rows_persisted']:,}, {data['persist_lag_ticks']:,} ticks behind",
        "messages": f"{data['messages_out']:,} out, {data['messages_in']:,} in, "
        f"{data['messages_dead']:,} dead",
    }
    if data.get("entity_updates_per_second"):
        head["speed"] = (
            f"{data['ticks_per_second']:,.1f} ticks/s, "
            f"{data['entity_updates_per_second']:,.0f} entity updates/s"
        )
    if data.get("memory"):
        memory = data["memory"]
        head["memory"] = (
            f"{human_bytes(memory['resident_bytes'])} resident; "
            f"{human_bytes(memory['reserved_bytes'])} with all of the world and the lanes"
        )
    if data["http_url"]:
        head["http"] = data["http_url"]
    if data["source"] != "nucleus":
        head["source"] = Text(f"{data['source']}: the nucleus does not answer", style="yellow")
    for name, sink in data["sinks"].items():
        text = Text(str(sink["address"]))
        if not sink["reachable"]:
            text.append(f"   {sink['reason']}", style="red")
        head[name] = text
    told = data.get("processor_errors") or []
    failing: list[RenderableType] = [Text(), _errors(told)] if told else []
    return Group(pairs(head), Text(), processes(data["processes"]), *_lanes(data), *failing)


def errors(data: Mapping[str, Any]) -> RenderableType:
    """What processors raised."""
    if not data["errors"]:
        return Text("no entity has failed")
    more = data["not_listed"]
    rest = [Text(f"and {more} failures of kinds that are not listed")] if more else []
    return Group(_errors(data["errors"]), *rest)


def _errors(found: list[dict[str, Any]]) -> Table:
    return rows(
        [{**one, "ago": human_span(one["seconds_ago"])} for one in found],
        {
            "what": "what", "procesador": "processor", "last_entity": "entity",
            "last_tick": "tick", "ago": "ago", "failures_per_second": "failures/s",
        },
    )  # fmt: skip


def tasks(data: Mapping[str, Any]) -> RenderableType:
    """Tasks, and those that failed for good."""
    listed = rows(
        [{**one, "when": ", ".join(one["when"])} for one in data["tasks"]],
        {"name": "task", "on": "on", "run": "run", "canal": "canal", "when": "when",
         "workers": "processes", "pending": "pending", "unread": "unread"},
    )  # fmt: skip
    if not data["failed"]:
        return listed
    failed = rows(
        [{**one, "aviso": one["aviso"]["key"]} for one in data["failed"]],
        {"timestamp": "failed at", "tarea": "task", "aviso": "notice", "intentos": "attempts",
         "error": "error"},
    )  # fmt: skip
    return Group(listed, Text(), failed)


def world(data: Mapping[str, Any]) -> RenderableType:
    """What there is in a world: a paragraph for each swarm, without what it does not have."""
    head = {name: value for name, value in data.items() if name != "swarms" and value != {}}
    swarms: list[RenderableType] = []
    for swarm in data["swarms"]:
        there = {k: v for k, v in swarm.items() if v not in (None, False, {}, [])}
        swarms += [Text(), pairs(there)]
    return Group(pairs(head), *swarms)


def evolution(data: Mapping[str, Any]) -> RenderableType:
    """How swarms with genes evolve."""
    if not data["swarms"]:
        return Text("no swarm has genes")
    names = ("mejor", "media", "peor", "diversidad", "hijos", "cada")
    return rows(data["swarms"], {"id": "swarm", "generacion": "generation"} | {n: n for n in names})


def processes(data: list[dict[str, Any]]) -> Table:
    """The processes of one instance."""
    return rows(
        data,
        {
            "role": "role", "index": "#", "pid": "pid", "state": "state", "cpu": "cpu %",
            "resident_bytes": "memory", "restarts": "restarts", "tick": "tick", "error": "",
        },
    )  # fmt: skip


def blocks(data: list[dict[str, Any]]) -> Table:
    """Blocks, one line each; ``corec-ctl block ID`` and ``--json`` have the rest."""
    return rows(
        data,
        {
            "id": "block", "canal": "canal", "activas": "activas", "umbral": "umbral",
            "fitness": "fitness", "media": "media", "failures": "failed",
            "mensajes": "mensajes", "worker": "#",
        },
    )  # fmt: skip


def _lanes(data: Mapping[str, Any]) -> list[RenderableType]:
    lanes = data.get("lanes")
    if not lanes:
        return []
    shown = [
        {**lane, "fill": f"{lane['used_bytes'] / lane['capacity_bytes']:.1%}"} for lane in lanes
    ]
    columns = {"lane": "lane", "worker": "#", "fill": "fill", "capacity_bytes": "size"}
    return [Text(), rows(shown, columns)]
