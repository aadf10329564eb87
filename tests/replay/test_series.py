from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.replay import series as S

START_S = 1392388200.0  # 2014-02-14 14:30:00 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2014-02-14 14:30:00", START_S),
        ("2014-02-14T14:30:00", START_S),
        ("2014-02-14T14:30:00Z", START_S),
        ("2014-02-14T16:30:00+02:00", START_S),
        ("2014-02-14 14:30:00.250", START_S + 0.25),
        ("2014-02-14 14:30", START_S),
        ("1392388200", START_S),
        ("1392388200.5", START_S + 0.5),
        ("1392388200000", START_S),
        ("1392388200000000", START_S),
        ("1392388200000000000", START_S),
        ("0", 0.0),
        ("-5", -5.0),
    ],
)
def test_timestamps(text: str, seconds: float) -> None:
    assert S.parse_timestamp(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "2014-13-01", "1_000", "14:30"])
def test_what_is_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        S.parse_timestamp(text)


def test_a_file_with_everything_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "sensor.csv"
    lines = [
        "timestamp,value",  # 1
        "2020-01-01 00:00:00,1.5",
        "",  # 3
        "2020-01-01 00:05:00,2.5",
        "2020-01-01 00:05:00,99",  # 5 repeated
        "2020-01-01 00:01:00,99",  # 6 out of order
        "2020-01-01 00:10:00,",  # 7 empty
        "2020-01-01 00:10:00,NaN",  # 8
        "2020-01-01 00:10:00,-inf",  # 9
        "2020-01-01 00:10:00,1e39",  # 10 too large for float32
        "2020-01-01 00:10:00,off",  # 11
        "yesterday,3",  # 12
        "2020-01-01 00:15:00",  # 13 no second column
        '"2020-01-01 00:20:00", "3.5" ,ok',
    ]
    path.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n")
    read = S.read_series(path)
    assert read.values.dtype == np.float32
    assert read.values.tolist() == [1.5, 2.5, 3.5]
    assert np.diff(read.times_s).tolist() == [300.0, 900.0]
    assert read.skipped.lines == {
        S.BLANK: [3, 15],
        S.REPEATED: [5],
        S.BACKWARDS: [6],
        S.EMPTY: [7],
        S.INFINITE: [8, 9],
        S.OVERFLOW: [10],
        S.NUMBER: [11],
        S.TIMESTAMP: [12],
        S.COLUMNS: [13],
    }
    assert read.skipped.total == 11
    assert "1 float32_overflow (line 10)" in read.skipped.describe()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,10\n2,20\n", [10, 20]),
        ("value;timestamp\n10;1\n20;2", [10, 20]),
        ("sensor\ttime\tvalor\na\t1\t10\na\t2\t20", [10, 20]),
        ("when,what\n1,10\n2,20", [10, 20]),
        ("1,\n2,20", [20]),
        ("\n\n1,10\r2,20\r", [10, 20]),
    ],
)
def test_headers_and_delimiters(tmp_path: Path, text: str, values: list[float]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, newline="")
    assert S.read_series(path).values.tolist() == values


def test_only_the_first_lines_of_a_reason_are_kept() -> None:
    read = S.parse_series(["1,1", *["1,1"] * 20], "x")
    assert read.skipped.counts == {S.REPEATED: 20}
    assert read.skipped.lines[S.REPEATED] == [2, 3, 4, 5, 6]
    assert read.skipped.describe() == "20 repeated_timestamp (lines 2, 3, 4, 5, 6, …)"


@pytest.mark.parametrize("content", [b"", b"timestamp,value\n", b"\x00\xff\xfe\n", b"a,b\nc,d\n"])
def test_a_file_without_a_usable_row_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.csv"
    path.write_bytes(content)
    with pytest.raises(S.ReplayInputError, match=r"empty\.csv: no usable row"):
        S.read_series(path)


def test_find_files(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1,1")
    (tmp_path / "none").mkdir()
    names = [path.name for path in S.find_files([str(tmp_path)])]
    assert names == ["a.csv", "b.csv", "c.csv"]
    mixed = S.find_files([str(tmp_path / "notes.txt"), f"{tmp_path}/*.csv", str(tmp_path)])
    assert [path.name for path in mixed] == ["notes.txt", "a.csv", "b.csv", "c.csv"]
    for missing in ("none", "gone.csv", "*.tsv"):
        with pytest.raises(S.ReplayInputError, match=missing.replace("*", r"\*")):
            S.find_files([str(tmp_path / missing)])


floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats32, min_size=1, max_size=50), st.integers(1, 10_000), st.booleans())
def test_good_rows_come_back_as_they_are(values: list[float], step: int, header: bool) -> None:
    lines = ["timestamp,value\n"] * header
    lines += [f"{1_400_000_000 + i * step},{value!r}\n" for i, value in enumerate(values)]
    read = S.parse_series(lines, "x")
    assert read.values.tolist() == values
    assert not read.skipped.counts
    assert read.times_s.tolist() == [1_400_000_000.0 + i * step for i in range(len(values))]


junk = st.sampled_from(["", "NaN", "x", "1e300", "-1e39", "inf", "1_0", '"', "\x00", "ñ"])
cells = st.one_of(st.integers(0, 60).map(str), floats32.map(repr), junk, st.text(max_size=12))


@given(st.lists(st.one_of(st.tuples(cells, cells).map(",".join), st.text(max_size=20))))
def test_every_line_is_a_reading_or_is_counted(lines: list[str]) -> None:
    read = S.parse_series(lines, "x")
    accounted = len(read) + read.skipped.total
    assert accounted in (len(lines), len(lines) - 1)  # the first may be a header
    assert np.all(np.isfinite(read.values))
    assert np.all(np.diff(read.times_s) > 0)
    assert set(read.skipped.counts) <= set(S.REASONS)
    assert all(len(numbers) <= S.SAMPLE_LINES_MAX for numbers in read.skipped.lines.values())


@given(st.floats())
def test_every_float_is_played_or_has_a_reason(value: float) -> None:
    read = S.parse_series(["timestamp,value", "0,0", f"1,{value!r}"], "x")
    if math.isfinite(value) and abs(value) <= S.FLOAT32_MAX:
        assert read.values[1] == np.float32(value)
    else:
        assert read.skipped.total == 1
