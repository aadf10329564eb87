"""What the supervisor decides without doing anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corec.config import parse_config
from corec.process.roles import FROZEN_SECONDS, KILLED_SECONDS
from corec.supervisor.processes import PAUSED_SECONDS
from corec.supervisor.regroup import EVERYBODY, by_themselves, concerned, differing
from corec.supervisor.restarts import DELAY_SECONDS_MAX, Restarts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("paths", "roles"),
    [
        (["tick_hz"], {"nucleus"}),
        (["carga", "checkpoint.every_seconds", "modules"], {"nucleus"}),
        (["modules", "modules.sincronizacion"], {"nucleus", "worker"}),
        (["persist.spool_max_mb"], {"nucleus", "persister"}),
        (["persist.on_full"], {"nucleus", "persister"}),
        (["persist.every_ticks"], {"nucleus", "persister", "worker"}),
        (["persist.payload"], {"nucleus", "persister", "worker"}),
        (["streams.max_mb", "streams.on_full"], {"nucleus", "broker"}),
        (["streams.maxlen"], {"nucleus", "broker", "tasks"}),
        (["persist.retention"], {"nucleus", "persister", "tasks"}),
        (["streams.readings_per_tick"], {"nucleus", "broker", "worker"}),
        (["workers"], EVERYBODY),
        (["log.level"], EVERYBODY),
        (["bloques[0].umbral"], EVERYBODY),
        (["something.new"], EVERYBODY),
        ([], set()),
    ],
)
def test_a_reload_disturbs_whom_it_concerns(paths: list[str], roles: set[str]) -> None:
    """The limits that ticks may wait for do not need the ticks to rest."""
    assert concerned(paths) == roles


def test_who_looks_after_alerts_is_started_again_once() -> None:
    assert by_themselves(concerned(["persist.retention"])) == {"persister", "tasks"}
    assert by_themselves(concerned(["log.level"])) == {"persister", "broker"}  # all others, then
    assert by_themselves(concerned(["carga"])) == set()


@pytest.mark.parametrize(
    ("folder", "role"),
    [("broker", "broker"), ("persister", "persister"), ("tasks", "tasks"), ("worker", "worker")],
)
def test_who_reads_a_key_is_started_again_with_it(folder: str, role: str) -> None:
    """Of the limits: each that the sources of a role name. ``retention`` has a form in seconds."""
    text = "".join(path.read_text("utf-8") for path in (ROOT / "corec" / folder).glob("*.py"))
    named = set(re.findall(r"\bconfig\.((?:persist|streams)\.[a-z_]+)", text))
    paths = {path.removesuffix("_seconds") for path in named}
    assert paths or role == "persister", "the sources say it in another way"
    assert {path for path in paths if role not in concerned([path])} == set()


def test_what_the_workers_do_for_a_module_is_a_key_of_its_own() -> None:
    swarm = {"instance_id": "i", "bloques": [{"id": "a", "canal": 1, "entidades": 1}]}
    on, off, less = (
        parse_config({**swarm, "modules": modules})
        for modules in (["sincronizacion", "auditoria"], ["auditoria"], ["sincronizacion"])
    )
    assert differing(on, off, {}) == ["modules", "modules.sincronizacion"]
    assert differing(on, less, {}) == ["modules"]


@pytest.mark.parametrize(
    ("key", "before", "after", "path"),
    [
        ("db_config", {"host": "h", "dbname": "d", "user": "u", "password": "one"},
         {"host": "h", "dbname": "d", "user": "u", "password": "two"}, "db_config.password"),
        ("db_config", {"url": "postgresql://u:one@h/d"}, {"url": "postgresql://u:two@h/d"},
         "db_config.url"),
        ("redis_config", {"url": "redis://h?db=1"}, {"url": "redis://h?db=2"}, "redis_config.url"),
    ],
)  # fmt: skip
def test_a_secret_that_changed_is_a_change(
    key: str, before: dict[str, str], after: dict[str, str], path: str
) -> None:
    """Masked, both look alike; the instance goes on with the old one, and has to say so."""
    swarm = {"instance_id": "i", "bloques": [{"id": "s", "canal": 1, "entidades": 1}]}
    was, now = (parse_config({**swarm, key: one}) for one in (before, after))
    assert differing(was, now, {}) == [path]
    assert differing(was, was, {}) == []


def test_a_process_that_can_not_be_made_is_tried_again_and_no_death_is_counted() -> None:
    one = Restarts()
    delays = [round(one.not_started(100.0) - 100.0, 6) for _ in range(12)]
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == DELAY_SECONDS_MAX
    assert (one.count, one.parked, one.due) == (0, False, 100.0 + DELAY_SECONDS_MAX)
    one.start(200.0)
    assert one.due is None
    assert one.not_started(300.0) == pytest.approx(300.1)


def test_a_pause_is_told_from_a_frozen_process() -> None:
    assert PAUSED_SECONDS < FROZEN_SECONDS < KILLED_SECONDS
