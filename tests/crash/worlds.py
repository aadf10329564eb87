"""Worlds that are small enough to be killed often, and what they leave behind."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from shm.killpoint import ENVIRONMENT
from tests.e2e.conftest import Make
from tests.support.instance import Ended, Instance
from tests.support.ledger import Message, events_of, messages_of, rows_of

ENTITIES = Path(__file__).with_name("entities.py")
EVERY_TICKS = 4
SPACE = {"kind": "grid", "width": 24, "height": 10}
"""Rows of cells that lie across the borders of the blocks, and of the workers."""
HERD = {"entidades": 70, "capacidad": 120, "space": {"kind": "grid", "width": 12, "height": 10}}


def world(instance_id: str = "corec1", **changes: Any) -> dict[str, Any]:
    """Twenty blocks that emit, fail, repair themselves, hear of each other's means, see and send
    each other things, bear children and move. Shares are not evened out (``sincronizacion``): that
    replaces workers, and who is new has its kill points armed anew."""
    swarms = (
        ("sensor", 1, 7), ("crash_entities:crowd", 2, 6), ("kuramoto", 1, 4),
        ("crash_entities:herd", 1, 3),
    )  # fmt: skip
    config: dict[str, Any] = {
        "instance_id": instance_id,
        "http": {"port": 0},
        "persist": {"every_ticks": EVERY_TICKS},
        "streams": {"batch_ms": 5},
        "modules": ["registro", "ejecucion", "auditoria", "evolucion"],
        "bloques": [
            {
                "id": f"s{k}",
                "canal": canal,
                "entidades": 40 * blocks,
                "entidades_por_bloque": 40,
                "procesador": name,
                **({"space": SPACE} if name.endswith("crowd") else {}),
                **(HERD if name.endswith("herd") else {}),
            }
            for k, (name, canal, blocks) in enumerate(swarms)
        ],
    }
    return config | changes


def instance(make: Make, config: dict[str, Any], name: str = "home") -> Instance:
    """An instance whose configuration finds ``entities.py`` as ``crash_entities``."""
    made = make(config, name=name)
    plugins = made.home / "plugins"
    plugins.mkdir(exist_ok=True)
    shutil.copy(ENTITIES, plugins / "crash_entities.py")
    shutil.copy(ENTITIES, made.config_path.parent / "crash_entities.py")
    return made


@dataclass(frozen=True)
class Left:
    """Everything a run is held to: equal for every run of the same world."""

    tick: int
    digest: str
    rows: dict[tuple[str, int], dict[str, Any]]
    messages: dict[int, list[Message]]
    repairs: dict[tuple[int, str, int], int]


def left_by(summary: dict[str, Any], pg_dsn: str, valkey_url: str, name: str) -> Left:
    """What is in the sinks, each thing once and in order, or the test fails."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows_of(pg_dsn, name):
        key = (row["id"], row["tick"])
        assert key not in rows, f"a row twice: {key}"
        rows[key] = {k: v for k, v in row.items() if k not in ("instance_id", "timestamp")}
        rows[key]["payload"] = json.loads(zstandard.decompress(row["payload"]))
    messages = {}
    for canal in (1, 2):
        found = messages_of(valkey_url, canal, name)
        assert len(found) == len({(m.tick, m.id) for m in found}), "a message twice"
        ticks = [m.tick for m in found]
        assert ticks == sorted(ticks), "messages out of tick order"
        messages[canal] = sorted(found)
    repairs = Counter(
        (e["tick"], e["bloque"], e["entidad"])
        for e in events_of(pg_dsn, name)
        if e["tipo"] == "repair"
    )
    assert not repairs or max(repairs.values()) == 1, "a repair twice"
    assert summary["rows_persisted"] == len(rows)
    assert summary["messages_out"] == sum(map(len, messages.values()))
    return Left(summary["tick"], summary["digest"], rows, messages, dict(repairs))


def assert_same(found: Left, wanted: Left) -> None:
    """Nothing lost, nothing doubled, nothing different; says what differs in few words."""
    assert (found.tick, found.digest) == (wanted.tick, wanted.digest)
    assert sorted(found.rows) == sorted(wanted.rows)
    for key, row in wanted.rows.items():
        assert found.rows[key] == row, key
    for canal, messages in wanted.messages.items():
        gone = set(messages) - set(found.messages[canal])
        new = set(found.messages[canal]) - set(messages)
        assert not gone and not new, (canal, sorted(gone)[:5], sorted(new)[:5])  # noqa: PT018 - shown together
    assert found.repairs == wanted.repairs


def armed(one: Instance, deaths: Sequence[str]) -> Instance:
    """The instance with ``COREC_CRASH`` set to these ``role@point:pass``."""
    one.environment[ENVIRONMENT] = ",".join(deaths)
    return one


def spared(one: Instance) -> Instance:
    """The instance with no kill point armed."""
    one.environment.pop(ENVIRONMENT, None)
    return one


def deaths_expected(deaths: Sequence[str], workers: int) -> Counter[str]:
    """How often each process dies of these: ``worker`` means each of them."""
    counted: Counter[str] = Counter()
    for item in deaths:
        role = item.partition("@")[0]
        names = [f"worker {k}" for k in range(workers)] if role == "worker" else [role]
        counted.update(names)
    return counted


def killed(ended: Ended) -> list[str]:
    """Who died by SIGKILL, as the supervisor's log tells."""
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    return [
        line["process"] for line in lines
        if "process" in line and "SIGKILL" in str(line.get("exit"))
    ]  # fmt: skip
