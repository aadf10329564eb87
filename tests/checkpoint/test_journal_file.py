"""The journal's files: what is read of them, cut short, damaged, rewound, trimmed, or too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corec.journal import file as journal
from corec.journal.file import Journal, journal_files, read_lines, read_stretch, trim_journal
from corec.journal.past import Past
from corec.world.past import found_behind, head_after, settled_head
from tests.support.full import no_file_over

EPOCH = 7


def cut(tick: int, at: int = 0) -> journal.Record:
    """A record of a tick that took in one reading."""
    return {"tick": tick, "in": {"1": [at or tick, 0, 0, 1]}, "readings": 1}


def written(folder: Path, *batches: list[journal.Record], after: int = 0) -> Journal:
    one = Journal(folder, EPOCH)
    for batch in batches:
        one.write(batch, after)
    return one


def ticks(folder: Path, after: int) -> list[int]:
    return [record["tick"] for record in read_stretch(folder, EPOCH, after).records]


def test_what_was_written_is_read_from_any_tick(tmp_path: Path) -> None:
    written(tmp_path, [{"tick": 1, "carga": 1.0, "set": {}}], [cut(3), cut(9)]).close()
    lowered = {"tick": 12, "carga": 0.5, "carga_asked": 0.75}
    written(tmp_path, [lowered], after=11).close()  # its successor
    assert ticks(tmp_path, 0) == [1, 3, 9, 12]
    found = read_stretch(tmp_path, EPOCH, 3)
    assert [one["tick"] for one in found.records] == [9, 12]
    assert found.state.carga == 1.0
    past = Past(found)
    assert (past.until, past.carga(11, 9.0), past.carga(12, 9.0)) == (12, 1.0, 0.5)
    after = head_after(past, {"settings": {"carga": [1.0, 1.0], "carga_asked": [0.0]}})["settings"]
    assert after == {"carga": [0.5, 1.0], "carga_asked": [0.75]}
    assert past.cut(9) is not None
    assert past.cut(10) is None
    assert read_stretch(tmp_path, EPOCH + 1, 0).after is None


def test_a_line_cut_short_is_cut_off(tmp_path: Path) -> None:
    written(tmp_path, [cut(1), cut(2)]).close()
    (path,) = journal_files(tmp_path)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        assert ticks(tmp_path, 0) == [1], size
    written(tmp_path, [cut(3)], after=2).close()
    assert ticks(tmp_path, 0) == [1, 3]
    assert read_lines(path).end == path.stat().st_size


def test_a_file_without_a_whole_line_is_begun_again(tmp_path: Path) -> None:
    written(tmp_path, [cut(1)]).close()
    (tmp_path / journal.FOLDER / "journal-00000001.jsonl").write_bytes(b"0000")
    written(tmp_path, [cut(2)], after=1).close()
    assert ticks(tmp_path, 0) == [1, 2]
    assert len(journal_files(tmp_path)) == 1


def test_a_later_record_of_an_earlier_tick_rewinds(tmp_path: Path) -> None:
    """A leader that was killed decides its tick anew; a world put back lives on otherwise."""
    written(tmp_path, [cut(4), cut(5, 50), cut(6)], [cut(5, 51)]).close()
    found = read_stretch(tmp_path, EPOCH, 0)
    assert [(one["tick"], one["in"]["1"][0]) for one in found.records] == [(4, 4), (5, 51)]


def test_damage_in_the_middle_says_nothing_of_what_is_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 1)  # a file for each batch
    written(tmp_path, [cut(1)], [cut(2)], [cut(3)], [cut(4)]).close()
    files = journal_files(tmp_path)
    assert len(files) == 5  # the last has no record yet
    data = bytearray(files[1].read_bytes())
    data[-5] ^= 1
    files[1].write_bytes(data)
    assert ticks(tmp_path, 2) == [3, 4]
    found = read_stretch(tmp_path, EPOCH, 1)
    assert (found.records, found.after) == ([], 2)


def test_what_no_checkpoint_needs_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 1)
    one = written(tmp_path, [{"tick": 1, "carga": 0.25}], [cut(5)], [cut(9)], [cut(12)])
    trim_journal(tmp_path, EPOCH + 1, 100)
    assert len(journal_files(tmp_path)) == 5, "another world's is nobody's to remove"
    trim_journal(tmp_path, EPOCH, 4)
    assert ticks(tmp_path, 4) == [5, 9, 12]
    trim_journal(tmp_path, EPOCH, 9)
    assert ticks(tmp_path, 9) == [12]
    found = read_stretch(tmp_path, EPOCH, 8)
    assert (found.records, found.after) == ([], 9), "it does not reach back"
    assert read_stretch(tmp_path, EPOCH, 9).state.carga == 0.25, "what counted goes along"
    one.write([cut(13)], 12)
    one.close()
    assert ticks(tmp_path, 9) == [12, 13]


def test_a_world_without_checkpoints_fills_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 1)
    monkeypatch.setattr(journal, "FILES_MAX", 3)
    one = written(tmp_path, *[[cut(tick)] for tick in range(1, 9)])
    one.close()
    assert len(journal_files(tmp_path)) == 3
    assert one.cut_short == 6
    assert read_stretch(tmp_path, EPOCH, 0).after == 6
    assert ticks(tmp_path, 6) == [7, 8]


@pytest.mark.parametrize("room", [10, 300], ids=["not even the first line", "one batch"])
def test_a_full_disk_is_told_each_time_and_then_all_is_written(tmp_path: Path, room: int) -> None:
    one = Journal(tmp_path, EPOCH)
    batches = [[cut(tick) for tick in range(first, first + 3)] for first in (1, 4)]
    if room == 300:
        one.write(batches.pop(0), 0)
    with no_file_over(room):
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                one.write(batches[0], 0)
        one.close()
        assert len(journal_files(tmp_path)) == (0 if room == 10 else 1)
    for batch in batches:
        one.write(batch, 0)
    one.close()
    assert ticks(tmp_path, 0) == [1, 2, 3, 4, 5, 6]


SAID = {
    "tick": 6, "carga": 1.0, "carga_asked": 0.0, "set": {"globals.beta": [0.1, 0.0, 6, 1, "", 0.0]},
    "config": {"parts": [["ears", 60, 20]]}, "until": 11,
}  # fmt: skip
HEAD = {
    "tick": 10, "epoch": EPOCH, "follow": 0, "entidades": 60, "set": SAID["set"],
    "settings": {"carga": [1.0, 1.0], "carga_asked": [0.0]},
}  # fmt: skip


@pytest.mark.parametrize("change", [
    {"set": {"globals.beta": [0.5, 0.0, 11, 2, "", 0.1]}},
    {"settings": {"carga": [0.5, 1.0], "carga_asked": [0.0]}},
    {"entidades": 90},
], ids=["set", "carga", "grown"])  # fmt: skip
def test_a_change_that_only_a_checkpoint_holds_counts_at_once(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """No tick behind it went, whatever the journal allowed before: one that did has a record."""
    written(tmp_path, [SAID]).close()
    calm = found_behind(tmp_path, HEAD)[1]
    assert calm is not None
    assert calm.until == 11
    assert settled_head(HEAD, calm) is HEAD
    head = {**HEAD, **change}
    assert found_behind(tmp_path, head)[1] is None
    assert settled_head(head, None) is head
    within = found_behind(tmp_path, {**head, "follow": 11})[1]  # it counts behind the stretch
    assert within is not None
    assert within.until == 11
    written(tmp_path, [{"tick": 11, "set": {}, "until": 16}], after=10).close()
    gone = found_behind(tmp_path, head)[1]
    assert gone is not None
    assert gone.until == 16
    assert settled_head(head, gone)["set"] == {}


def test_an_adopted_world_is_fed_nothing_behind_its_stretch(tmp_path: Path) -> None:
    """A leader that was killed may have told of the tick behind it; that one is decided anew."""
    written(tmp_path, [SAID, cut(10), cut(11), {**SAID, **cut(12)}]).close()
    past = Past(read_stretch(tmp_path, EPOCH, 9))
    past.end(11)
    assert (past.until, past.last) == (11, 11)
    assert [one.tick for one in past.cuts] == [10, 11]
    assert past.states[-1][0] <= 11


def test_of_a_world_that_ticks_its_last_ticks_alone_are_read(tmp_path: Path) -> None:
    """With what is not in the file yet; a long life is not read to know of its last tick."""
    one = Journal(tmp_path, EPOCH)
    for tick in range(1, 4):
        one.write([{"tick": tick, "set": {"told": [tick]}, "revision": tick}], 0)
        one.close()
        one._begin(tick)
    one.close()
    for path in journal_files(tmp_path)[:-1]:
        path.write_bytes(b"not looked at")
    waiting = [{"tick": 4, "set": {"told": [4]}, "revision": 4}]
    found = read_stretch(tmp_path, EPOCH, 3, waiting)
    assert (found.state.entries, found.records, found.after) == ({"told": [3]}, waiting, 3)
    assert read_stretch(tmp_path, EPOCH + 1, 3, waiting).after is None, "another world's"
