"""``corec bench``: what it computes and prints, and one quick run as a user has it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from corec.lab.bench import chart, readme
from corec.lab.bench.groups import BY_NAME
from corec.lab.bench.lanes import expected_sum
from corec.lab.bench.recovery import percentile
from corec.lab.bench.render import as_markdown, as_text
from corec.lab.bench.results import Check, Row, Table, table_from_json
from corec.lab.bench.rivals.array_tick import ArrayTick
from corec.lab.bench.rivals.sensor import Uniforms, Values
from corec.lab.bench.rounds import Contender, Effort, interleave
from corec.lab.bench.runner import Report
from corec.lab.bench.tick import agrees
from tests.support.processes import patient

REPO = Path(__file__).parents[2]
MACHINE = {
    "cpu": "a CPU", "machine": "x86_64", "cores": 2, "caches": {"L2": "1M"}, "memory_gib": 4.0,
    "triad_gb_s": 30.0, "triad_all_gb_s": 50.0, "kernel": "6.1", "python": "3.11.7",
    "numpy": "2.0", "numba": "0.6", "postgresql": "18.1", "valkey": "9.0", "corec": "0.1",
    "load_before": 0.0, "date": "2026-01-01",
}  # fmt: skip


def made() -> Report:
    """A report with a table of rates, one of sizes, and a failed group."""
    tick = Table("tick", "One tick", "M updates/s")
    tick.rows = [Row("CoreC, kernel", [900.0, 1000.0, 1100.0], True), Row("NumPy", [250.0])]
    tick.checks = [Check("NumPy computes what CoreC computes", True, "difference 0")]
    scaling = Table("scaling", "Time of one tick", "ms", "neither")
    scaling.rows = [Row(f"{n:,}", [n * 1e-6], True) for n in (100_000, 200_000, 1_000_000)]
    return Report(MACHINE, Effort(), [tick, scaling], {"lanes": "not <here>"})


def test_ratios_say_how_much_better_the_first_of_ours_is() -> None:
    rates = Table("a", "", "per s", "higher", [Row("us", [200.0], True), Row("them", [50.0])])
    times = Table("b", "", "ms", "lower", [Row("us", [5.0], True), Row("them", [50.0])])
    assert rates.ratio(rates.rows[1]) == 4
    assert times.ratio(times.rows[1]) == pytest.approx(10)
    assert rates.ratio(rates.rows[0]) is None
    assert made().tables[1].ratio(made().tables[1].rows[1]) is None


def test_a_table_survives_json() -> None:
    for table in made().tables:
        again = table_from_json(json.loads(json.dumps(table.as_json())))
        assert again.as_json() == table.as_json()


def test_contenders_are_measured_in_turns() -> None:
    calls: list[str] = []

    def contender(name: str) -> Contender:
        def sample() -> float:
            calls.append(name)
            return float(len(calls))

        return Contender(name, sample)

    rows = interleave([contender("a"), contender("b")], 3)
    assert calls == ["a", "b"] * 4  # one round to warm up
    assert [row.samples for row in rows] == [[3, 5, 7], [4, 6, 8]]


def test_percentiles_are_samples() -> None:
    samples = [float(k) for k in range(1, 101)]
    assert [percentile(samples, p) for p in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([7.0], 99) == 7


def test_the_rival_celery_takes_its_tasks_from_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("celery")
    from corec.lab.bench.rivals import celery_tasks

    monkeypatch.setenv(celery_tasks.URL_VARIABLE, "unix:///run/valkey.sock?db=2")
    worker = importlib.reload(celery_tasks)
    assert worker.application.conf.broker_url == "redis+socket:///run/valkey.sock?db=2"


def test_the_consumer_of_a_lane_knows_what_it_must_add_up() -> None:
    for frames in (1, 5, (1 << 16) + 3):
        assert expected_sum(frames) == sum(k & 0xFFFF for k in range(frames)) + 3 * frames


def test_the_text_has_medians_spreads_ratios_and_what_failed() -> None:
    text = as_text(made())
    assert "a CPU, 2 cores" in text
    assert "CoreC, kernel        1,000  900 … 1,100" in text
    assert "4×" in text
    assert "ok    NumPy computes" in text
    assert "lanes: not measured: not <here>" in text


def test_the_readme_gets_the_figures_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"head\n{readme.START}\nold\n{readme.END}\ntail\n")
    readme.write(path, made())
    text = path.read_text()
    assert text.startswith(f"head\n{readme.START}\nMeasured by")
    assert text.endswith(f"{readme.END}\ntail\n")
    assert "old" not in text
    assert "| **CoreC, kernel** | 1,000 (900 … 1,100) | |" in text
    assert "| NumPy | 250 (250 … 250) | 4× |" in text
    assert as_markdown(made()) in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md"]


@pytest.mark.parametrize("text", ["", readme.START, f"{readme.END} {readme.START}"])
def test_a_readme_without_markers_is_left_alone(text: str) -> None:
    with pytest.raises(readme.NoPlace):
        readme.replaced(text, "figures")


def test_the_readme_of_the_checkout_has_the_markers() -> None:
    readme.replaced((REPO / "README.md").read_text(), "figures")


def test_the_chart_is_xml_and_shows_every_row() -> None:
    text = chart.svg(made())
    root = ET.fromstring(text)
    shown = "".join(root.itertext())
    assert "CoreC, kernel" in shown
    assert "NumPy" in shown
    assert len(root.findall(".//{*}circle")) == 3


def test_a_rival_that_computes_something_else_is_found_out() -> None:
    class Wrong(ArrayTick):
        """Forgets one entity."""

        def values(self) -> Values:
            found = super().values().copy()
            found[17] += 0.01
            return found

    def right(valor: Values, uniforms: Uniforms | None = None) -> ArrayTick:
        return ArrayTick(valor, uniforms)

    assert agrees("right", right, {}).ok
    assert not agrees("wrong", Wrong, {}).ok


def corec(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``corec ARGUMENTS``, waited for."""
    return subprocess.run(
        [sys.executable, "-m", "corec", *arguments],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(REPO)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=patient(110), check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_a_quick_run_prints_one_document(tmp_path: Path) -> None:
    done = corec("bench", "--quick", "--only", "tick", "--rounds", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["ok"] is True
    (table,) = found["tables"]
    rows = {row["name"]: row for row in table["rows"]}
    assert {"CoreC, kernel", "NumPy, Philox", "hand-written Numba loop"} <= rows.keys()
    assert all(row["median"] > 0 and len(row["samples"]) == 1 for row in rows.values())
    assert all(check["ok"] for check in table["checks"])
    assert found["machine"]["triad_gb_s"] > 0


def test_the_list_names_every_group(tmp_path: Path) -> None:
    done = corec("bench", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(BY_NAME)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing"], "found nothing, allowed: tick, "),
        (["--quick", "--write-readme"], "a quick run is not for the README"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = corec("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
