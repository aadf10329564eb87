"""NAB's mathematics: by hand, and against its own scorer where a checkout of it is named."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from corec.lab.bench import dense, detectors, nab, pictures
from corec.lab.bench.results import Table
from corec.lab.bench.rounds import Effort
from tests.bench.test_bench import corec
from tests.support.processes import patient

START = datetime(2026, 1, 1, tzinfo=UTC)
SCORER = Path(__file__).parents[3] / "shared" / "nab_score" / "score.py"


def made(rows: int, *windows: tuple[int, int], name: str = "a/b.csv") -> nab.Series:
    """A file of ``rows`` rows, a minute apart, with these windows (first and last row)."""
    times = [START + timedelta(minutes=k) for k in range(rows)]
    return nab.label(name, np.zeros(rows), times, [(times[a], times[b]) for a, b in windows])


def speaks(rows: int, *at: int) -> nab.Numbers:
    """1 at these rows, else 0."""
    return np.isin(np.arange(rows), at).astype(np.float64)


def sigma(y: float) -> float:
    """As the paper writes it."""
    return 2.0 / (1.0 + math.exp(5.0 * y)) - 1.0


def test_a_score_by_hand() -> None:
    board = nab.Board([made(40, (20, 29))])
    assert board.at([speaks(40)], 0.5).points == 0.0
    assert board.at([speaks(40, 20)], 0.5).points == pytest.approx(100.0)
    one = board.at([speaks(40, 3, 10, 25, 28, 33)], 0.5)  # row 3 is before the sixth: not scored
    gain = sigma(-5 / 10) / sigma(-1.0)
    assert one.points == pytest.approx(100 * (gain - 0.11 + 0.11 * sigma(4 / 9) + 1.0) / 2.0)
    assert (one.hit, one.windows, one.false_alerts) == (1, 1, 2)
    assert board.at([speaks(40, 10)], 0.5).points == pytest.approx(-5.5)
    assert board.at([speaks(40, 10)], 0.5, nab.Profile(0.22, 2.0)).points == pytest.approx(-22 / 3)


def test_far_behind_a_window_costs_all_of_it() -> None:
    series = made(100, (20, 29), (90, 90))
    assert series.gain[29 + 27] == pytest.approx(2 / (1 + math.exp(15)) - 1)
    assert series.gain[29 + 28] == -1.0
    assert series.gain[99] == -1.0  # behind a window of one row
    assert series.window[[19, 20, 29, 30, 90]].tolist() == [-1, 0, 0, -1, 1]


def test_the_best_threshold_is_the_one_with_the_largest_sum() -> None:
    board = nab.Board([made(60, (20, 29)), made(60, (40, 49))])
    first, second = speaks(60, 21) * 0.9, speaks(60, 45) * 0.6
    first[50] = second[10] = 0.7
    best = board.best([first, second])
    assert best.threshold == 0.6
    assert best.points == pytest.approx(max(board.at([first, second], t).points
                                            for t in (0.9, 0.7, 0.6, 0.0)))  # fmt: skip
    silent = board.best([speaks(60, 9), speaks(60, 9)])
    assert (silent.points, silent.hit) == (0.0, 0)


@pytest.mark.parametrize(
    ("rows", "unscored"), [(40, 6), (46, 6), (47, 7), (5000, 750), (9000, 750)]
)
def test_how_many_rows_are_not_scored(rows: int, unscored: int) -> None:
    assert nab.unscored_rows(rows) == unscored


def test_nabs_own_scorer_says_the_same() -> None:
    folder = os.environ.get("COREC_NAB", "")
    results = Path(folder, "results", "numenta")
    if not folder or not results.is_dir() or not SCORER.is_file():
        pytest.skip("COREC_NAB names no checkout with results, or shared/nab_score is not there")
    series = nab.read(Path(folder))
    scores = []
    for one in series:
        with (results / one.folder / f"numenta_{Path(one.name).name}").open() as file:
            scores.append(np.array([float(row["anomaly_score"]) for row in csv.DictReader(file)]))
    done = subprocess.run(
        [sys.executable, "-B", str(SCORER), str(results), folder],
        capture_output=True, text=True, check=True, timeout=patient(100),
    )  # fmt: skip
    board = nab.Board(series)
    for line, profile in zip(done.stdout.splitlines(), nab.PROFILES.values(), strict=True):
        assert board.best(scores, profile).points == pytest.approx(float(line.split()[1]), abs=1e-4)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files of NAB's form, one of them of a folder that the defaults were chosen on, and a
    bench of one small detector."""
    monkeypatch.setattr(detectors, "DETECTORS", ("stuck",))
    monkeypatch.setattr(detectors, "SCORED", ("stuck",))
    monkeypatch.delenv(detectors.ENVIRONMENT, raising=False)
    labels = {}
    for folder in ("realTraffic", "realTweets"):
        times = [(START + timedelta(minutes=k)).strftime("%Y-%m-%d %H:%M:%S") for k in range(60)]
        values = [1.0 if 30 <= k < 55 else float(k) for k in range(60)]
        lines = [f"{t},{v}" for t, v in zip(times, values, strict=True)]
        path = tmp_path / "data" / folder / "one.csv"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(["timestamp,value", *lines]) + "\n", encoding="utf-8")
        labels[f"{folder}/one.csv"] = [[times[45], times[54]]]
    (tmp_path / "labels").mkdir()
    (tmp_path / nab.WINDOWS_FILE).write_text(json.dumps(labels), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_the_bench_scores_a_checkout_that_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dense, "measure", lambda _: Table("parts", "", "ns"))
    cost, _ = detectors.measure(Effort(True, 1))
    assert cost.notes == [detectors.WITHOUT]
    assert capsys.readouterr().err.count("not scored: name a checkout") == 1
    assert cost.rows[0].note.endswith("ns a reading")
    monkeypatch.setenv(detectors.ENVIRONMENT, str(checkout))
    cost, _, own, fixed = detectors.measure(Effort(True, 1))
    assert fixed.notes[0].startswith("stuck: two alerts of one series are at least ")
    assert cost.notes == []
    names = ["stuck, all files", "stuck, chosen on", "stuck, held out"]
    assert [row.name for row in own.rows] == [row.name for row in fixed.rows] == names
    alert = 49  # the twentieth equal reading, in a window of ten
    gain = sigma(-(54 - alert + 1) / 10) / sigma(-1.0)
    for row in fixed.rows:
        assert row.samples == [pytest.approx(50.0 * (gain + 1.0))]
    assert fixed.rows[0].note.startswith("2 of 2 windows, 0 false alerts")


@pytest.mark.slow
def test_where_a_reading_goes() -> None:
    table = dense.measure(Effort(True, 1))
    assert len(table.rows) == 4
    assert all(row.median > 0.0 for row in table.rows)
    assert "M readings/s" in table.notes[0]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, labelled: bool) -> None:
    if labelled:
        (tmp_path / "labels").mkdir()
        (tmp_path / nab.WINDOWS_FILE).write_text('{"a/b.csv": []}')
        with pytest.raises(nab.NoCorpus, match=r"it has no data/a/b\.csv"):
            nab.read(tmp_path)
        return
    done = corec("bench", "--only", "detectors", "--nab", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "has no labels/combined_windows.json" in done.stderr


def test_the_pictures(tmp_path: Path) -> None:
    """Each is in the document; one, of a series of our own, shows its windows and its alerts."""
    document = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")
    for picture in pictures.PICTURES:
        assert f"(detectors/{picture.detector}.svg)" in document
    picture = pictures.Picture("rate", "a/b.csv", {"limit": 0.5})
    (tmp_path / "a").mkdir()
    rows = [f"{START + timedelta(minutes=k)},{float(k >= 60)}" for k in range(100)]
    (tmp_path / "a" / "b.csv").write_text("\n".join(["timestamp,value", *rows]))
    windows = [[str(START + timedelta(minutes=k)) for k in (58, 70)]]
    (tmp_path / "windows.json").write_text(json.dumps({"a/b.csv": windows}))
    series = pictures.read(tmp_path, "a/b.csv")
    found = pictures.alerts(picture, series.values)
    assert found == [60]
    text = pictures.drawn(picture, series, found)
    assert (text.count("<circle"), text.count("<rect")) == (1, 1)
    assert "rate, limit 0.5: a/b.csv, 100 readings, 1 alerts" in text
    assert pictures.main([str(tmp_path), str(tmp_path / "out")]) == 1
