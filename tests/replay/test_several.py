"""Readings of several values: every one that is played stands in one row of the file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from corec.replay.series import ReplayInputError, Series, Wanted
from corec.replay.several import read_columns

Cell = tuple[str, str, str]


def read(folder: Path, rows: list[Cell]) -> tuple[list[tuple[float, float, float]], Series]:
    """(time, t, h) of what is played, and the first column's series."""
    path = folder / "a.csv"
    path.write_text("time,t,h\n" + "".join(",".join(row) + "\n" for row in rows))
    first, second = read_columns(path, Wanted(), ["t", "h"])
    assert first.times_s.tolist() == second.times_s.tolist()
    assert first.skipped == second.skipped
    found = zip(first.times_s.tolist(), first.values.tolist(), second.values.tolist(), strict=True)
    return list(found), first


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([("2", "4", ""), ("2", "5", "50")], [(2, 5, 50)]),
        ([("2", "", "40"), ("2", "5", "50")], [(2, 5, 50)]),
        ([("2", "4", "40"), ("2", "5", "50")], [(2, 4, 40)]),
        ([("2", "4", ""), ("2", "", "50"), ("2", "6", "60")], [(2, 6, 60)]),
        ([("9", "4", ""), ("2", "5", "50"), ("3", "6", "60")], [(2, 5, 50), (3, 6, 60)]),
        ([("3", "6", "60"), ("2", "5", "50"), ("2", "4", "nan")], [(2, 5, 50), (3, 6, 60)]),
    ],
    ids=["second_empty", "first_empty", "both", "crossed", "time_of_a_faulty_row", "newest_first"],
)
def test_a_reading_is_one_row(
    tmp_path: Path, rows: list[Cell], wanted: list[tuple[float, float, float]]
) -> None:
    found, first = read(tmp_path, [("1", "1", "10"), *rows] if rows[0][0] != "3" else rows)
    assert [one for one in found if one[0] > 1] == wanted
    assert len(found) + first.skipped.total == len(rows) + (rows[0][0] != "3")


def test_rows_of_any_kind_are_played_as_they_stand(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rows = [("0", "1", "1")]
    for k in range(300):
        time = max(0, k // 2 + chance.choice([0, 0, 0, 1, -3]))
        t, h = (chance.choice(["", "x", "inf", *"123456"]) for _ in range(2))
        rows.append((str(time), t, h))
    wanted: list[tuple[float, float, float]] = []
    for time_s, t, h in rows:
        if t.isdigit() and h.isdigit() and (not wanted or float(time_s) > wanted[-1][0]):
            wanted.append((float(time_s), float(t), float(h)))
    found, first = read(tmp_path, rows)
    assert found == wanted
    assert len(found) + first.skipped.total == len(rows)


def test_a_row_that_is_too_short_for_one_column_is_told_of_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,t,h\n1,1,10\n2,2\n3\n4,4,40\n")
    first, second = read_columns(path, Wanted(), ["t", "h"])
    assert (first.values.tolist(), second.values.tolist()) == ([1, 4], [10, 40])
    assert first.skipped.counts == second.skipped.counts == {"missing_column": 2}
    path.write_text("time,t,h\n1,1,\n2,,20\n")
    with pytest.raises(ReplayInputError, match="no usable row; expected a number in each of the"):
        read_columns(path, Wanted(), ["t", "h"])
