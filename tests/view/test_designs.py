"""Latin hypercubes, and ``corec sweep FILE``: what ``corec.sweep`` gives, as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import corec
from tests.support.invoked import invoked
from tests.view.test_world import town


@pytest.mark.parametrize("points", [1, 2, 17])
def test_each_part_of_each_range_has_one_point(points: int) -> None:
    over = {"a.x": (-1.0, 3.0), "b": (0, points - 1)}
    found = corec.latin_hypercube(over, points, seed=3)
    assert len(found) == points
    assert sorted(int((one["a.x"] + 1.0) / 4.0 * points) for one in found) == [*range(points)]
    assert sorted(one["b"] for one in found) == [*range(points)]
    assert found == corec.latin_hypercube(over, points, seed=3)
    assert points == 1 or found != corec.latin_hypercube(over, points, seed=4)


@pytest.mark.parametrize(
    "wrong",
    [(1.0,), (2.0, 1.0), ("a", "b"), 3, (float("nan"), 1.0), (-1e308, 1e308), (0.5, 10**400)],
)
def test_what_is_no_range_is_told(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"over: x: found .*, expected \(low, high\)"):
        corec.latin_hypercube({"x": wrong}, 4)
    with pytest.raises(ValueError, match="points: found 0"):
        corec.latin_hypercube({"x": (0.0, 1.0)}, 0)


def swept(folder: Path, **changes: Any) -> Any:
    given = {
        "config": "town.json", "ticks": 6, "seeds": 2, "every": 3, "out": "found.csv",
        "collect": {"town": ["mean(fase == 1)"]}, "over": {"town.beta": [0.1, 0.9]},
    } | changes  # fmt: skip
    config = {"instance_id": "town", **town()}
    (folder / "town.json").write_text(json.dumps(config), encoding="utf-8")
    text = json.dumps({name: value for name, value in given.items() if value is not None})
    (folder / "plan.json").write_text(text, encoding="utf-8")
    return invoked("sweep", str(folder / "plan.json"), "--json")


@pytest.mark.slow
def test_a_file_is_the_call(tmp_path: Path) -> None:
    done = swept(tmp_path)
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "found.csv").read_text(encoding="utf-8").splitlines()
    wanted = corec.sweep(town(), over={"town.beta": [0.1, 0.9]}, seeds=2, ticks=6, every=3,
                         collect={"town": ["mean(fase == 1)"]})  # fmt: skip
    assert len(lines) == 1 + len(wanted) == 9
    assert [float(line.rpartition(",")[2]) for line in lines[1:]] == pytest.approx(
        wanted["town.mean(fase == 1)"].tolist()
    )
    assert not (tmp_path / "found.csv.runs").exists()
    latin = {"points": 3, "over": {"town.beta": [0.1, 0.9]}}
    assert swept(tmp_path, over=None, latin=latin).exit_code == 0
    assert len((tmp_path / "found.csv").read_text(encoding="utf-8").splitlines()) == 13


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tick": 3}, "found the key 'tick'"),
        ({"ticks": 0}, "ticks: found 0"),
        ({"collect": ["mean(valor)"]}, "collect: found"),
        ({"latin": {}}, "one of over and latin"),
        ({"over": None, "latin": {"points": 2}}, "latin.over"),
        ({"over": None, "latin": {"points": 0, "over": {"x": [0, 1]}}}, "latin.points: found 0"),
        ({"out": "found.txt"}, ".parquet or .csv"),
        ({"config": "none.json"}, "none.json"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    done = swept(tmp_path, **changes)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
