"""The commands as a user types them: help, check, schema, exit codes, what goes to stdout."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Make
from tests.support.instance import REPO, small_config

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

SUMMARY_KEYS = {
    "instance_id", "ticks", "seconds", "entidades", "bloques", "workers", "entity_updates",
    "entity_updates_per_second", "rows_persisted", "messages_out", "messages_in", "restarts",
    "digest", "digest_tick",
}  # fmt: skip


@pytest.mark.fresh_interpreter
def test_summary_is_the_only_thing_on_stdout(make: Make) -> None:
    one = make()
    ended = one.run("--ticks", "20", "--tick-hz", "0", "--workers", "2")
    summary = json.loads(ended.out)
    assert ended.code == 0
    assert set(summary) >= SUMMARY_KEYS
    assert summary["instance_id"] == "corec1"
    assert (summary["ticks"], summary["digest_tick"]) == (20, 20)
    assert (summary["entidades"], summary["bloques"], summary["workers"]) == (330, 8, 2)
    # detectors to which nothing arrives run nothing
    assert summary["entity_updates"] == 20 * 290
    assert summary["seconds"] > 0
    assert summary["entity_updates_per_second"] > 0
    assert summary["rows_persisted"] == 16
    assert summary["restarts"] == 0
    assert len(bytes.fromhex(summary["digest"])) == 16
    for line in ended.err.splitlines():
        assert json.loads(line)["level"] == "info", line

    one.fresh_interpreter = False  # from here on the same without the imports
    again = one.run("--ticks", "0").summary
    assert (again["ticks"], again["digest_tick"], again["entity_updates"]) == (0, 20, 0)
    assert again["digest"] == summary["digest"]
    assert again["rows_persisted"] == 16
    assert again["messages_out"] == summary["messages_out"]


def test_without_json_the_summary_is_for_people(make: Make) -> None:
    one = make()
    ended = one.command("run", "--ticks", "10", "--tick-hz", "0")
    assert ended.code == 0
    assert ended.out == ""
    assert "rows_persisted" in ended.err
    assert "Traceback" not in ended.err


def test_ticks_zero_makes_a_world(make: Make) -> None:
    one = make()
    summary = one.run("--ticks", "0").summary
    assert (summary["ticks"], summary["digest_tick"], summary["rows_persisted"]) == (0, 0, 0)
    assert one.run("--ticks", "5").summary["digest_tick"] == 5


@pytest.mark.fresh_interpreter
def test_help_schema_check_and_usage_errors(make_embedded: Make) -> None:
    one = make_embedded()
    helped = one.command("--help")
    assert helped.code == 0
    for name in ("run", "check", "schema", "replay"):
        assert name in helped.out
    one.fresh_interpreter = False  # the same words, without the imports
    assert one.command("--version").out.startswith("corec ")
    printed = one.command("schema")
    assert printed.code == 0
    kept = REPO / "configs" / "corec_config.schema.json"
    assert json.loads(printed.out) == json.loads(kept.read_text())

    checked = one.command("check", str(one.config_path))
    assert (checked.code, checked.complaints) == (0, [])
    assert "330 entities in 8 blocks" in checked.out
    told = json.loads(one.command("check", str(one.config_path), "--json").out)
    assert (told["ok"], told["faults"], told["entidades"]) == (True, [], 330)
    one.configure(small_config(carga=7))
    bad = one.command("check", str(one.config_path), "--json")
    assert bad.code == 2
    assert json.loads(bad.out)["faults"][0]["path"] == "carga"

    for wrong in (
        ("run", "--tickz", "5"), ("run", "--ticks", "-1"), ("dance",), ("run", "--workers", "two"),
        ("run", "--tick-hz", "nan"), ("run", "--config", "nowhere.json"),
        ("run", "--ticks", str(2**63)),
    ):  # fmt: skip
        ended = one.command(*wrong)
        assert ended.code == 2, wrong
        assert ended.out == ""
        assert "Traceback" not in ended.err
    assert not (one.home / "var").exists(), "nothing was started"

    asked = one.ctl("status")
    assert (asked.code, asked.out) == (3, "")
    assert len(asked.complaints) == 1
    assert one.ctl("status", "--nope").code == 2


def test_the_examples_that_come_along_are_fine(make_embedded: Make) -> None:
    one = make_embedded()
    for path in sorted((REPO / "configs").glob("*.json")):
        if "schema" not in path.name:
            checked = one.command("check", str(path))
            assert checked.code == 0, f"{path.name}: {checked.err}"
