from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corec.replay import series as S

START_S = 1392388200.0  # 2014-02-14 14:30:00 UTC


def parse_series(lines: list[str], name: str) -> S.Series:
    """What a file of these lines is replayed as."""
    found = S.parse_column(lines, name)
    return found.series({}, found.decided.newest_first)


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
    read = parse_series(["timestamp,value", f"{text},1"], "x")
    assert read.times_s.tolist() == [pytest.approx(seconds, abs=1e-6)]


@pytest.mark.parametrize("zone", [" UTC", "UTC", " GMT"])
def test_the_name_of_the_one_zone_that_has_no_other(zone: str) -> None:
    read = parse_series(["timestamp,value", f"2014-02-14 14:30:00{zone},1"], "x")
    assert read.times_s.tolist() == [START_S]


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "2014-13-01", "1_000", "14:30"])
def test_what_is_no_timestamp(text: str) -> None:
    read = parse_series(["timestamp,value", f"{text},1"], "x")
    assert read.skipped.counts == {S.TIMESTAMP: 1}


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
        '"2020-01-01 00:20:00", "3.5" ,',
        "2020-01-01 00:25:00,3,5",  # 15 more cells than the header has names
        '2020-01-01 00:30:00,"4',  # 16 a quote that never closes: it takes in what follows
        "2020-01-01 00:35:00,5",  # 17
    ]
    path.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode() + b"\r\n")
    read = S.read_series(path)
    assert read.values.dtype == np.float32
    assert read.values.tolist() == [1.5, 2.5, 3.5]
    assert np.diff(read.times_s).tolist() == [300.0, 900.0]
    assert read.skipped.lines == {
        S.BLANK: [3],
        S.REPEATED: [5],
        S.BACKWARDS: [6],
        S.EMPTY: [7],
        S.INFINITE: [8, 9],
        S.OVERFLOW: [10],
        S.NUMBER: [11],
        S.TIMESTAMP: [12],
        S.COLUMNS: [13],
        S.CELLS: [15],
        S.QUOTES: [16, 17],
    }
    assert read.skipped.total == 13
    assert "1 float32_overflow (line 10)" in read.skipped.describe()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,10\n2,20\n", [10, 20]),
        ("value;timestamp\n10;1\n20;2", [10, 20]),
        ("sensor\ttime\tvalor\na\t1\t10\na\t2\t20", [10, 20]),
        ("when,what\n1,10\n2,20", [10, 20]),
        ("# made by x\nwhen,what\n1,10\n2,20", [10, 20]),
        ("timestamp|note|value\n1|a|10\n2|b|20", [10, 20]),
        ("1,\n2,20", [20]),
        ("\n\n1,10\r2,20\r", [10, 20]),
        ("2024-01-01;1,5\n2024-01-02;2,5", [1.5, 2.5]),
        ("2024-01-01\t1,5\n2024-01-02\t2,5", [1.5, 2.5]),
        ("time;temp, C\n2024-01-01;1,5\n2024-01-02;2,5", [1.5, 2.5]),
        ("time;value\n1;1.234\n2;0.500", [np.float32(1.234), 0.5]),
        ("time;value\n1;0,125\n2;1,250", [0.125, 1.25]),
        ("time,value,\n1,10,\n2,20,", [10, 20]),
        ("time,note,value\n1,x,10\n2,lat 4, 52,20\n3,x,30", [10, 30]),
        ("time,value\n1,900\n2,1,200\n3,950", [900, 950]),
        ('time,value\n1,"1"2\n2,20', [20]),
        ('time,value\n1,"1" 234\n2,20', [20]),
        ('"time" ;"value"\n"1" ; "10" \n"2";"20"', [10, 20]),
        ('time,value,note\n1,10,"two\nlines"\n2,20,"say ""hi"" , you"', [10, 20]),
    ],
)
def test_headers_and_delimiters(tmp_path: Path, text: str, values: list[float]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, newline="")
    assert S.read_series(path).values.tolist() == values


def test_only_the_first_lines_of_a_reason_are_kept() -> None:
    read = parse_series(["1,1", *["1,1"] * 20], "x")
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
    assert S.find_files(["-"]) == [Path("/dev/stdin")]
    for missing in ("none", "gone.csv", "*.tsv"):
        with pytest.raises(S.ReplayInputError, match=missing.replace("*", r"\*")):
            S.find_files([str(tmp_path / missing)])


floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats32, min_size=1, max_size=50), st.integers(1, 10_000), st.booleans())
def test_good_rows_come_back_as_they_are(values: list[float], step: int, header: bool) -> None:
    lines = ["timestamp,value\n"] * header
    lines += [f"{1_400_000_000 + i * step},{value!r}\n" for i, value in enumerate(values)]
    read = parse_series(lines, "x")
    assert read.values.tolist() == values
    assert not read.skipped.counts
    assert read.times_s.tolist() == [1_400_000_000.0 + i * step for i in range(len(values))]


junk = st.sampled_from(["", "NaN", "x", "1e300", "-1e39", "inf", "1_0", "\x00", "ñ", "1,5"])
plain = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"')
cells = st.one_of(
    st.integers(0, 60).map(str), floats32.map(repr), junk, st.text(plain, max_size=12)
)


# a quote joins lines, a control character ends one: then there are not as many rows as lines
texts = st.text(plain, max_size=20)


@given(st.lists(st.one_of(st.tuples(cells, cells).map(",".join), texts)))
def test_every_line_is_a_reading_or_is_counted(lines: list[str]) -> None:
    try:
        read = parse_series(lines, "x")
    except S.ReplayInputError as doubt:
        assert "say it with --" in str(doubt)  # noqa: PT017  # that it asks is one right answer
        return
    accounted = len(read) + read.skipped.total
    assert accounted in (len(lines), len(lines) - 1)  # the first may be a header
    assert np.all(np.isfinite(read.values))
    assert np.all(np.diff(read.times_s) > 0)
    assert set(read.skipped.counts) <= set(S.REASONS)
    assert all(len(numbers) <= S.SAMPLE_LINES_MAX for numbers in read.skipped.lines.values())


@given(st.floats())
@example(3.4028235e38)  # rounds to the largest
@example(float(2**128 - 2**103))  # rounds to infinity
def test_every_float_is_played_or_has_a_reason(value: float) -> None:
    read = parse_series(["timestamp,value", "0,0", f"1,{value!r}"], "x")
    with np.errstate(over="ignore"):
        plays = bool(np.isfinite(np.float32(value)))
    if plays:
        assert read.values[1] == np.float32(value)
    else:
        assert read.skipped.total == 1


# what real files do, each made up here: (text, options, seconds of the first row, values)
DAY = 86_400.0
DECEMBER_16 = 1_166_227_200.0  # 2006-12-16
JANUARY_1 = 1_704_067_200.0  # 2024-01-01
REAL: dict[str, tuple[str, dict[str, str], float, list[float]]] = {
    "quoted delimiters": (
        'timestamp,note,value,flag\n2024-01-01,"ok",1.5,0\n2024-01-02,"lat 4, 52",2.5,0',
        {}, JANUARY_1, [1.5, 2.5]),
    "thousands": ('t,value\n2024-01-01,"1,234.5"\n2024-01-02,"12,001.25"',
                  {}, JANUARY_1, [1234.5, 12001.25]),
    "decimal comma": ("time;value\n01.01.2024 00:00;1.234,5\n13.01.2024 00:00;7,25",
                      {}, JANUARY_1, [1234.5, 7.25]),
    "an index first": (",date,temp\n0,2024-01-01,20.5\n1,2024-01-02,21.5\n2,2024-01-03,22.5",
                       {}, JANUARY_1, [20.5, 21.5, 22.5]),
    "by name": (",date,temp,humidity\n0,2024-01-01,20.5,80\n1,2024-01-02,21.5,79",
                {"value": "Humidity"}, JANUARY_1, [80, 79]),
    "by number": ("station,2024,when,x\n7,1,2024-01-01,20.5\n7,2,2024-01-02,21.5",
                  {"time": "3", "value": "4"}, JANUARY_1, [20.5, 21.5]),
    "compact dates": ("date,value\n20240101,1\n20240102,2", {}, JANUARY_1, [1, 2]),
    "months": ("date,value\n2024-01,1\n2024-02,2", {}, JANUARY_1, [1, 2]),
    "years": ("date,value\n2024,1\n2025,2", {}, JANUARY_1, [1, 2]),
    "newest first": ("t,value\n2024-01-02,2\n2024-01-01,1", {}, JANUARY_1, [1, 2]),
    "American": ("date,value\n1/1/2024 12:00 AM,1\n1/2/2024 12:00 AM,2", {}, JANUARY_1, [1, 2]),
    "day first": ("date,value\n01/01/2024,1\n13/01/2024,2", {}, JANUARY_1, [1, 2]),
    "asked for days": ("date,value\n01/01/2024,1\n01/02/2024,2",
                       {"dates": "day-first"}, JANUARY_1, [1, 2]),
    "two columns": ("Date;Time;Power\n16/12/2006;17:24:00;2.4\n16/12/2006;17:25:00;2.5",
                    {}, DECEMBER_16 + 17.4 * 3600, [2.4, 2.5]),
    "two columns asked for": ("Power;A;B\n2.4;16/12/2006;17:24\n2.5;16/12/2006;17:25",
                              {"time": "A+B"}, DECEMBER_16 + 17.4 * 3600, [2.4, 2.5]),
    "slashes": ("t,value\n2024/1/1 0:00,1\n2024/1/2 0:00,2", {}, JANUARY_1, [1, 2]),
    "a spreadsheet's days": ("date,value\n45292,1\n45292.5,2\n45293.000694444,3",
                             {"dates": "serial"}, JANUARY_1, [1, 2, 3]),
    "a spreadsheet's days with commas": ("date;value\n45292,25;1,5\n45292,5;2,5",
                                         {"dates": "serial"}, JANUARY_1 + 21_600, [1.5, 2.5]),
    "seconds of a day": ("s,value\n45292,1\n45292.5,2", {"dates": "unix"}, 45_292.0, [1, 2]),
    "digits that are no date": ("t,value\n20240101,1\n20240102,2",
                                {"dates": "unix"}, 20_240_101.0, [1, 2]),
    "no value here and there": ("t,value\n2024-01-01,1\n2024-01-02,?\n2024-01-03,3",
                                {}, JANUARY_1, [1, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", REAL)
@pytest.mark.parametrize("packed", [False, True])
def test_files_as_people_have_them(tmp_path: Path, case: str, packed: bool) -> None:
    text, options, first_s, values = REAL[case]
    path = tmp_path / ("a.CSV.gz" if packed else "a.CSV")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (found,) = S.find_files([str(tmp_path)])
    read = S.read_series(found, S.Wanted(**options))
    assert read.values.tolist() == [np.float32(v) for v in values]
    assert read.times_s[0] == pytest.approx(first_s)
    assert read.decided.newest_first == (case == "newest first")


DOUBTFUL = {
    "two numbers": ("t,a,b\n2024-01-01,1,2\n2024-01-02,3,4", "which column is the value"),
    "a station": ("t,station,b\n2024-01-01,17,2\n2024-01-02,17,4", "which column is the value"),
    "two times": ("from,to,value\n2024-01-01,2024-01-02,1\n2024-01-02,2024-01-03,2",
                  "which column is the time"),
    "two named so": ("t,value,valor\n2024-01-01,1,2\n2024-01-02,3,4", "which column is the value"),
    "twice the same": ("t,val,val\n2024-01-01,1,2\n2024-01-02,3,4", "which column is the value"),
    "two times of a name": ("time,time,value\n2024-01-01,2025-01-01,1\n2024-01-02,2025-01-02,2",
                            "which column is the time"),
    "day or month": ("t,value\n01/02/2024,1\n01/03/2024,2", "day or the month first"),
    "a spreadsheet's days": ("date,value\n45000.5,1\n45001,2", "45000.5 days since 1899-12"),
    "the first of them": ("date,value\n20000,1\n20001,2", "days since 1899-12-30"),
    "the last of them": ("date,value\n79999,1\n80000,2", "days since 1899-12-30"),
    "points": ("t;value\n2024-01-01;1.234\n2024-01-02;2.345", "a point in its values part"),
    "decimals parted": ("t,value\n2024-01-01,1,5\n2024-01-02,2,5", "line 2 has 3 cells"),
    "decimals without a header": ("2024-01-01,1,5\n2024-01-02,2,5\n2024-01-03,3,7",
                                  "which column is the value"),
    "a name that is missing": ("value,time\n1,5,2024-01-01\n2,6,2024-01-02", "line 2 has 3 cells"),
    "the time behind": ("temp,epoch\n20.5,1704067200\n21.5,1704067260", "which column is the time"),
    "two units": ("t,value\n1704067200,1\n1704067260000,2", "1704067200 and then 1704067260000"),
    "comma": ('t,value\n2024-01-01,"1,234"\n2024-01-02,"2,345"', "thousands or decimals"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL)
def test_where_two_could_be_meant_the_user_is_asked(tmp_path: Path, case: str) -> None:
    text, asks = DOUBTFUL[case]
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(S.ReplayInputError, match=asks) as asked:
        S.read_series(path)
    assert "say it with --" in str(asked.value)
    assert len(str(asked.value).splitlines()) == 1


@pytest.mark.parametrize("times", [(19999.5, 20001), (79999, 80000.5), (0, 45000), (45000, 1e8)])
def test_numbers_that_are_no_days_are_counted_or_unix_seconds(times: tuple[float, ...]) -> None:
    read = parse_series(["t,value", *(f"{one},1" for one in times)], "x")
    assert read.times_s.tolist() == [*times]
    counted = max(times) < 1e8
    assert read.decided.time_format == ("seconds, counted" if counted else "unix time, s")
    assert read.decided.plain != counted  # what is not plain is told, not in a dry run alone


def test_a_damaged_time_moves_no_other() -> None:
    times = [1704067200, 1704067260, 99999999999999, 1704067380]
    read = parse_series(["t,value", *(f"{one},1" for one in times)], "x")
    assert read.times_s[:2].tolist() == times[:2]
    assert read.decided.time_format == "unix time, s"


def test_columns_without_a_name_are_said_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("value,time\n1,5.5,2024-01-01\n2,6.5,2024-01-02\n")
    read = S.read_series(path, S.Wanted(time="3", value="2"))
    assert read.values.tolist() == [5.5, 6.5]
    assert read.times_s[0] == JANUARY_1


def test_numbers_too_long_to_be_any() -> None:
    digits = "1" * 5000
    lines = ["a,b,value", *(f"{digits},2024-01-0{k},{k}" for k in range(1, 4))]
    assert parse_series(lines, "x").values.tolist() == [1, 2, 3]
    with pytest.raises(S.ReplayInputError, match="there is no column"):
        S.parse_column(lines, "x", S.Wanted(value=digits))


def test_a_spreadsheets_minute_is_one() -> None:
    read = S.parse_column(["t,value", "45292.520833333,1", "45292.521527778,2"], "x",
                          S.Wanted(dates="serial")).times_s  # fmt: skip
    assert read.tolist() == [JANUARY_1 + 45_000.0, JANUARY_1 + 45_060.0]


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,a,b\n2024-01-01,1,2\n")
    for wanted in ("c", "0", "4"):
        with pytest.raises(S.ReplayInputError, match="there is no column"):
            S.read_series(path, S.Wanted(value=wanted))
    path.write_text("t,a,a\n2024-01-01,1,2\n")
    with pytest.raises(S.ReplayInputError, match="there are 2 columns 'a', the first is number 2;"):
        S.read_series(path, S.Wanted(value="a"))
    assert S.read_series(path, S.Wanted(value="3")).values.tolist() == [2.0]
