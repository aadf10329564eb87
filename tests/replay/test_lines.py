"""A file's lines, before anybody asks what they say: packed, in any code, through a pipe."""

from __future__ import annotations

import gzip
import os
import tempfile
import threading
import tracemalloc
from pathlib import Path

import pytest

from corec.replay import series as S
from corec.replay.lines import LINE_CHARS_MAX


@pytest.mark.parametrize("mark", ["utf-16", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_spreadsheets_save_as_unicode_text(tmp_path: Path, mark: str, packed: bool) -> None:
    path, text = tmp_path / "a.csv", "t\tvalue\r\n2024-01-01\t1,5\r\n2024-01-02\t2,5\r\n"
    content = ("\ufeff" if mark == "utf-16-be" else "").encode(mark) + text.encode(mark)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert S.read_series(path).values.tolist() == [1.5, 2.5]


def test_what_comes_through_a_pipe_is_read_once_and_whole(tmp_path: Path) -> None:
    text = "".join(f"{k},{k},{-k}\n" for k in range(5_000))  # more than a pipe has room for
    for content in (text.encode(), gzip.compress(text.encode())):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        wanted = [S.Wanted(time="1", value=column) for column in ("2", "3")]
        first, second = S.read_columns_of(path, wanted)
        writer.join()
        path.unlink()
        assert first.values.tolist() == list(range(5_000))
        assert second.values.tolist() == [-k for k in range(5_000)]


def test_parquet_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1\x15\x04,\n1,2\n3,4\nPAR1")
    with pytest.raises(S.ReplayInputError, match=r"a.parquet: is no CSV file: it is Parquet"):
        S.read_series(path)


def test_a_folder_that_cannot_be_read_is_named() -> None:
    """Its files were left out without a word."""
    with tempfile.TemporaryDirectory(prefix="corec-test-", dir="/dev/shm") as name:
        closed = Path(name, "closed")
        closed.mkdir()
        for folder in (Path(name), closed):
            (folder / "a.csv").write_text("2024-01-01,1\n")
        assert len(S.find_files([name])) == 2
        os.chmod(name, 0o755)
        closed.chmod(0o000)
        pid = os.fork()
        if pid == 0:
            if os.getuid() == 0:  # who reads everything
                os.setresuid(65531, 65531, 65531)
            try:
                S.find_files([name])
            except S.ReplayInputError as refused:
                os._exit(0 if str(refused) == f"{closed}: cannot be read: Permission denied" else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        closed.chmod(0o700)


def test_a_line_that_never_ends_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for _ in range(8):
            packed.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(S.ReplayInputError, match=r"a line is longer than 4,194,304 characters"):
        S.read_series(path)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 32 << 20


@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_line(tmp_path: Path, more: int) -> None:
    cells = ",".join(["x" * 1_000_000] * 4)
    long = cells + "," + "x" * (LINE_CHARS_MAX + more - len(cells) - 2) + "\n"
    assert len(long) == LINE_CHARS_MAX + more
    path = tmp_path / "a.csv"
    path.write_text("time,value\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n" + long)
    if more:
        with pytest.raises(S.ReplayInputError, match=r"a line is longer than 4,194,304 char"):
            S.read_series(path)
    else:
        assert S.read_series(path).values.tolist() == [1.0, 2.0, 3.0]


def test_a_damaged_pack_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 1000)[:30])
    with pytest.raises(S.ReplayInputError, match=r"a\.csv\.gz: cannot be read"):
        S.read_series(path)
    whole = gzip.compress("".join(f"{k},{k * k % 97}\n" for k in range(500)).encode())
    for at in range(10, len(whole), len(whole) // 8):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with pytest.raises(S.ReplayInputError, match=r"a\.csv\.gz: (cannot be read|is no CSV)"):
            S.read_series(path)
