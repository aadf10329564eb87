"""The journal: what entered each tick, on disk before anything that depends on it is in a sink.

Files ``state_dir/<instance>/journal/journal-<number>.jsonl``, one after the other, of lines::

    <CRC32C of what follows, 8 hex digits> <JSON object>

The first line of a file says which world it is of (``epoch``), behind which tick it begins
(``after``), and what counted there (``carga``, ``set``, ``config``). Each other one is a record of
a tick that took something in, or before which something was changed; a tick without a record took
in nothing, and ran with what counted before it. Keys of a record, but for ``tick`` only those that
say something new:

    in        canal -> [ms, seq, next_msg, last]: where its in-stream was cut, as in a checkpoint
    readings  how many readings the tick took in
    carga     the share of entities that run; ``carga_asked``: what it comes back to, or 0
    set       all that was set, as in a checkpoint (``settings.set_in_head``); ``revision``: of what
    config    what the configuration says of it (``live``, as ``live_values`` has it, or ``packed``:
              the same as JSON, zstd, base64), ``rules``, a mark of the rest, ``rows``, how often
              blocks write one and with which payload, ``collect``, what is told of them
              (``collecting_of``), and ``parts``, which entities there are ([bloque, entidades, cap]
              each); these packed likewise where they are long
    until     no tick behind this one goes before a later record says so; where it is before the
              record's own tick, that one waits: in a world that was paused, or with what is set to
              count from it on, so that who set it can be told that it is durable

A record counts from its tick on: what the file says of that tick or a later one before it was
written by a world that went on otherwise from there (a leader that was killed while it decided, or
a world put back to an earlier tick whose own journal was gone).

Who writes, and in which order::

    leader    the record into journal.lane, before it lets the tick go
    broker    takes it out, writes it, syncs, and only then releases it     [K journal.written,
    sinks     take what a tick made; then wait until nothing is in           journal.synced]
              journal.lane that was there by then; then COMMIT, EXEC, sync

So whatever is in a sink, or in the spool, comes of ticks whose records are durable, and of none
behind the last ``until``: a restored world knows without asking a sink how far its output may be
out, the ticks included in which nothing happened. Killed before the release, the broker's successor
writes the record again. A line that was cut short is cut off by the next broker. Only the broker
writes and removes; the nucleus removes whole files once no checkpoint begins before their end.

The readings are not in it: they are in the in-streams, where nobody removes what a checkpoint still
needs (``corec checkpoint trim-bound``).
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import google_crc32c
import orjson

from corec.durable import sync_file, sync_folder
from corec.log import get_logger
from shm.killpoint import kill_point, register

log = get_logger(__name__)
FOLDER: Final = "journal"
FILE_BYTES: Final = 4 << 20
"""A new file is begun behind so many."""
FILES_MAX: Final = 64
"""So many are kept at most: a world that makes no checkpoint would fill any disk."""
_CRC_DIGITS: Final = 8
register("journal.written")
register("journal.synced")

Record = dict[str, Any]


def waits(record: Mapping[str, Any]) -> bool:
    """Whether it says nothing but that its tick has not gone."""
    return int(record.get("until", record["tick"])) < int(record["tick"])


def record_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of a file."""
    return checked_line(orjson.dumps(record))


def checked_line(text: bytes) -> bytes:
    """JSON of a record as a line of a file."""
    return b"%08x %b\n" % (google_crc32c.value(text), text)


class Lines(NamedTuple):
    """The sound lines of a file."""

    records: list[Record]
    end: int
    """Bytes that they take; what is behind them was cut short."""


def read_lines(path: Path) -> Lines:
    """What ``path`` holds up to its first line that is not sound. Raises OSError."""
    data = path.read_bytes()
    records: list[Record] = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        crc, text = data[at : at + _CRC_DIGITS], data[at + _CRC_DIGITS + 1 : end]
        try:
            if int(crc, 16) != google_crc32c.value(text):
                break
            found = orjson.loads(text)
        except ValueError:
            break
        records.append(found)
        at = end + 1
    return Lines(records, at)


def journal_files(folder: Path) -> list[Path]:
    """The files of the journal in an instance's state folder, in their order."""
    return sorted((folder / FOLDER).glob("journal-*.jsonl"))


@dataclass
class State:
    """What counts from some tick on."""

    carga: float | None = None
    entries: Record = field(default_factory=dict)
    """What was set."""
    config: Record = field(default_factory=dict)
    revision: int = 0
    """Of ``entries``; 0: nobody has said so (an older version)."""
    asked: float | None = None
    """What carga comes back to; 0: it is not lowered."""
    until: int = 0
    """No tick behind this one has gone; 0: nobody has said so (an older version)."""

    def follow(self, record: Mapping[str, Any]) -> bool:
        """Take over what ``record`` says; whether it changes a setting."""
        self.carga = record.get("carga", self.carga)
        self.asked = record.get("carga_asked", self.asked)
        self.entries = record.get("set", self.entries)
        self.revision = record.get("revision", self.revision)
        self.config = record.get("config", self.config)
        self.until = record.get("until", self.until)
        return "set" in record or "config" in record

    def as_json(self) -> Record:
        """For the first line of a file."""
        return {
            "carga": self.carga, "carga_asked": self.asked, "set": self.entries,
            "config": self.config, "until": self.until, "revision": self.revision,
        }  # fmt: skip


class Stretch(NamedTuple):
    """What the journal says of the ticks behind one."""

    state: State
    """What counted in that one."""
    records: list[Record]
    """Of later ticks, each of another one, in their order."""
    after: int | None
    """Behind which tick the journal begins; None: it has nothing of this world."""


def read_stretch(
    folder: Path, epoch: int, after: int, waiting: Iterable[Record] | None = None
) -> Stretch:  # fmt: skip
    """What the journal in an instance's state folder says of the ticks behind ``after``. One that
    begins later than there says so, and says nothing of them. ``waiting``: of a world that ticks,
    what is not in the file yet; no more is read then than its last ticks take."""
    begin: int | None = None
    state, records = State(), list[Record]()
    files = journal_files(folder)
    if waiting is not None:
        files = _last_from(files, epoch, after)
    for record in itertools.chain(_records(files, epoch), waiting or ()):
        if "damaged" in record:
            begin, state, records = None, State(), []
            continue
        if "after" in record:
            if begin is None:
                begin = int(record["after"])
                state.follow(record)
            continue
        while records and records[-1]["tick"] >= record["tick"]:
            records.pop()
        records.append(record)
    if begin is None or begin > after:
        return Stretch(state, [], begin)
    behind = [record for record in records if record["tick"] > after]
    for record in records[: len(records) - len(behind)]:
        state.follow(record)
    return Stretch(state, behind, begin)


def _last_from(files: list[Path], epoch: int, after: int) -> list[Path]:
    """Of ``files`` those from the last one on that begins behind ``after`` or an earlier tick."""
    for k in reversed(range(len(files))):
        with contextlib.suppress(OSError):
            first = _first_line(files[k])
            if first.get("epoch") == epoch and int(first.get("after", after + 1)) <= after:
                return files[k:]
    return files


def _records(files: list[Path], epoch: int) -> Iterator[Record]:
    """The lines of the world ``epoch``; the first line of each file has ``after``. Where one of
    them is missing, ``damaged``: only the last file may be cut short."""
    for path in files:
        try:
            lines, size = read_lines(path), path.stat().st_size
        except OSError as error:
            log.warning("a file of the journal cannot be read", path=str(path),
                        reason=error.strerror)  # fmt: skip
            yield {"damaged": str(path)}
            continue
        if lines.records and lines.records[0].get("epoch") == epoch:
            yield from lines.records
        if lines.end < size and path != files[-1]:
            log.warning("a file of the journal is damaged", path=str(path), at_byte=lines.end)
            yield {"damaged": str(path)}


class Journal:
    """The journal as its writer has it, the broker, alone."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """``folder``: the state folder of the instance."""
        self.folder, self.epoch = folder, epoch
        self.cut_short = 0
        """Files that had to go because there were too many."""
        self._state = State()
        self._file: IO[bytes] | None = None

    def write(self, records: list[Record], after: int) -> None:
        """Append ``records``, durably. ``after``: the tick behind which the journal begins if it
        has nothing of this world yet.

        Raises OSError: some may be there, none of them counts as written, and all may be written
        again.
        """
        file = self._open(after)
        for record in records:
            self._state.follow(record)
        try:
            file.write(b"".join(map(record_line, records)))
            file.flush()
            kill_point("journal.written")
            os.fdatasync(file.fileno())
        except OSError:
            self.close()  # what is there is looked at again by the next
            raise
        kill_point("journal.synced")
        if file.tell() >= FILE_BYTES:
            self.close()
            with contextlib.suppress(OSError):  # the records are there; the next ones begin it
                self._begin(int(records[-1]["tick"]))

    def _open(self, after: int) -> IO[bytes]:
        if self._file is not None:
            return self._file
        self._state = State()
        for path in reversed(journal_files(self.folder)):
            lines = read_lines(path)
            if not lines.records:
                path.unlink()  # killed before its first line was whole
                continue
            if lines.records[0].get("epoch") != self.epoch:
                break
            for record in lines.records:
                self._state.follow(record)
            self._file = open(path, "r+b")  # noqa: SIM115 - closed by ``close``
            self._file.truncate(lines.end)
            self._file.seek(lines.end)
            return self._file
        return self._begin(after)

    def _begin(self, after: int) -> IO[bytes]:
        """A new file; raises OSError."""
        place = self.folder / FOLDER
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = journal_files(self.folder)
        number = 1 + int(files[-1].stem.rpartition("-")[2]) if files else 0
        path = place / f"journal-{number:08d}.jsonl"
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        file = open(made, "r+b")  # noqa: SIM115 - closed by ``close``
        try:
            file.write(record_line({"epoch": self.epoch, "after": after, **self._state.as_json()}))
            sync_file(file)
            sync_folder(place)
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            path.unlink(missing_ok=True)
            raise
        self._file = file
        for old in files[: max(0, len(files) + 1 - FILES_MAX)]:
            old.unlink(missing_ok=True)
            self.cut_short += 1
        return file

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # it tries once more what a full disk refused
                file.close()


def trim_journal(folder: Path, epoch: int, first_tick: int) -> None:
    """Remove the files that are over before ``first_tick``, the tick of the oldest checkpoint of
    the world ``epoch``: a file is, when the next one begins there or before. Raises OSError."""
    files = journal_files(folder)
    for path, following in itertools.pairwise(files):
        begin = int(_first_line(following).get("after", first_tick + 1))
        if {_first_line(one).get("epoch") for one in (path, following)} != {epoch}:
            continue
        if begin > first_tick:
            return
        path.unlink(missing_ok=True)


def begins_at(folder: Path, epoch: int, default: int) -> int:
    """Behind which tick the journal of the world ``epoch`` begins. Raises OSError."""
    for path in journal_files(folder):
        first = _first_line(path)
        if first.get("epoch") == epoch:
            return int(first.get("after", default))
    return default


def _first_line(path: Path) -> Record:
    with path.open("rb") as file:
        line = file.readline()
    try:
        found: Record = orjson.loads(line[_CRC_DIGITS + 1 :])
        return found
    except ValueError:
        return {}
