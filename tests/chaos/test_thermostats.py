"""``corec chaos --thermostats``: a short run, and that what is missing or too many is told."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from corec.lab.chaos import plant
from corec.lab.chaos.thermostats import VICTIMS, Thermostats
from corec.lab.chaos.told import Found, report_lines
from corec.lab.instance import LabFailed
from corec.lab.oracle.alerting import Life
from tests.support.processes import patient

SEED = 20261127


def test_the_plan_follows_from_the_seed() -> None:
    one, same, other = (plant.Script(2000, 100, seed) for seed in (1, 1, 2))
    assert one.entries(7) == same.entries(7) != other.entries(7)
    assert (len(one.hot), len(one.gone)) == (20, 2)
    assert not set(one.hot) & set(one.gone)


def test_every_reading_has_the_tick_that_took_it_in() -> None:
    script = plant.Script(100, 100, SEED)
    (entry,) = script.entries(0)
    cuts: plant.Cuts = [(3, (1, 0, 40, 0)), (5, (1, 0, 100, 1)), (9, (2, 1, 10, 0))]
    recorded = plant.Recorded(100, cuts)
    recorded.entry((1, 0), entry)
    assert recorded.oracle.heard.tolist() == [3] * 40 + [5] * 60
    recorded.entry((2, 0), entry)  # between two cuts: whole
    recorded.entry((2, 1), entry)
    assert recorded.oracle.heard.tolist() == [9] * 100
    assert (recorded.readings, recorded.in_no_tick) == (300, 90)


def found(**changes: Any) -> list[str]:
    """The differences of one alert that was told as it should, but for ``changes``."""
    row = {"id": "0-5-501", "entidad": 501, "desde": 5, "ultimo": 7, "veces": 2, "hasta": 67}
    parts = {
        "messages": Counter({(5, 501): 1, (7, 501): 1}), "rows": [row], "failed": [],
        "taken": Counter({"0-5-501:raised": 2}), "answers": Counter({(1, 5): 1}), **changes,
    }  # fmt: skip
    wanted = Counter({(5, 501): 1, (7, 501): 1})
    return Found(**parts).differences(wanted, [Life(501, 5, 7, 2)], 68, celery=True)


def test_what_differs_is_told() -> None:
    assert found() == []
    assert found(messages=Counter({(5, 501): 1}))[0].startswith(
        "messages (tick, entity): 1 missing"
    )
    assert len(found(rows=[])) == 2, "the row is missing, and its webhook is of no alert"
    assert "webhooks: 1 missing" in found(taken=Counter())[0]
    assert "answers (id, tick): 0 missing" in found(answers=Counter({(1, 5): 2}))[0]
    assert found(failed=[{"tarea": "t", "error": "e"}]) == ["t failed for good: e"]


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(LabFailed, match="take fewer, or a shorter time"):
        Thermostats(1_000_000, 3600.0, SEED, print)


def test_it_is_a_command() -> None:
    command = [sys.executable, "-m", "corec", "chaos", "--thermostats", "99"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=patient(60)
    )
    assert ended.returncode == 2
    assert "Invalid value" in ended.stderr, "it knows the option, and what it may be"
    assert "100" in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("no_leaks")
def test_each_alert_is_told_once_whoever_is_killed() -> None:
    report = Thermostats(400, 8.0, SEED, print, tick_hz=40.0).run(keep=False)
    assert report["ok"], report_lines(report)
    has = importlib.util.find_spec("celery") is not None
    assert set(report["kills"]) == set(VICTIMS) - (set() if has else {"celery"})
    assert report["webhooks"] == report["alerts"] >= 4
    assert report["answers"] == (report["alerts"] if has else 0)
    assert report["webhook_calls"] > report["webhooks"]
    assert report["alerts_of_one_tick"] > 0
    assert report["digest"] == report["digest_replayed"] != ""
