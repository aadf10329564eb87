"""The journal: what a tick took in is on disk before a sink has anything of it, explored whole.

    process   its steps (one store or look each)                             code
    -------   ------------------------------------------------------------   ----------------------
    leader    record of T into journal.lane, if it took something in or      corec.worker.leader
              no tick so late was told of yet · go T
    worker    run T, done
    broker    write what is in the lane · sync · release                     corec.broker
    sink      take what ticks made, look up to where the lane goes · wait    corec.persister, …
              until it is empty up to there · COMMIT

Input arrives by itself, entry after entry. A kill takes what one process held in its own memory.
The loss of the machine takes all but what was synced, what was committed and what has arrived: the
world begins at tick 0 again, follows the journal up to the last tick that it was told of, and goes
on. The state of the world is how many entries each tick had taken in by its end, and so is a row: a
tick that is run again otherwise than what a sink has of it shows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

AHEAD: Final = 1
"""So many ticks behind its own a record says that they may go."""
LANE_MAX: Final = 2
MUTANTS: Final = {
    "go_before_record": "a tick goes, then its record is written",
    "first_record_counts": "of two records of a tick the first one counts",
    "quiet_ticks_untold": "only a tick that takes something in is told of",
    "release_before_sync": "the broker gives the lane back before it syncs",
    "no_wait": "a sink commits without waiting for the journal",
    "looks_then_takes": "a sink looks up to where the lane goes, then takes what ticks made",
}
Step = tuple[str, "State"]


class Record(NamedTuple):
    """What a tick had taken in by its end, and up to where ticks may go without another one."""

    tick: int
    entries: int
    until: int


class State(NamedTuple):
    """``durable``, ``rows``, ``arrived`` and ``losses`` survive the loss of the machine; ``told``,
    ``leader``, ``broker``, ``taken`` and ``seen`` die with their process."""

    arrived: int = 0
    go: int = 0
    cut: int = 0
    """Entries that the tick which went last had taken in by its end."""
    life: tuple[int, ...] = ()
    told: int = 0
    """The last tick that may go, as far as this leader has told."""
    lane: tuple[Record, ...] = ()
    """What journal.lane holds."""
    written: tuple[Record, ...] = ()
    """In the file, not synced."""
    durable: tuple[Record, ...] = ()
    """What the file says: one record of a tick, each later than the one before."""
    rows: tuple[int, ...] = ()
    follow: int = 0
    """Up to this tick the journal says what is taken in."""
    leader: tuple[str, int] = ("", 0)
    broker: tuple[str, int] = ("", 0)
    """What it is about to do, and with how many records."""
    taken: tuple[int, ...] = ()
    seen: int = -1
    """How many records journal.lane has to give up for this sink; −1: it has not looked."""
    losses: int = 0


class Journal:
    """The model: so many ticks, entries that arrive, and losses of the machine."""

    def __init__(self, ticks: int, entries: int, losses: int, mutant: str = "") -> None:
        assert mutant in ("", *MUTANTS), mutant
        self.ticks, self.entries, self.losses, self.mutant = ticks, entries, losses, mutant

    def first(self) -> State:
        """Tick 0, with an empty journal."""
        return State()

    def steps(self, s: State) -> Iterator[Step]:
        """One store or look of one process."""
        if s.arrived < self.entries:
            yield f"entry {s.arrived} arrives", s._replace(arrived=s.arrived + 1)
        yield from self._leader(s)
        if len(s.life) < s.go:
            yield f"worker: runs {s.go}", s._replace(life=(*s.life, s.cut))
        yield from self._broker(s)
        yield from self._sink(s)

    def kills(self, s: State) -> Iterator[Step]:
        """Every process, wherever it is, and the machine."""
        if s.leader[0] or s.told > s.follow:
            yield "KILL leader", s._replace(leader=("", 0), told=s.follow)
        if s.broker[0]:
            yield "KILL broker", s._replace(broker=("", 0))
        if s.taken or s.seen >= 0:
            yield "KILL sink", s._replace(taken=(), seen=-1)
        if s.losses < self.losses:
            follow = max((r.until for r in s.durable[-1:]), default=0)
            if self.mutant == "quiet_ticks_untold":
                follow = max((r.tick for r in s.durable), default=0)
            yield "the machine is lost", State(
                arrived=s.arrived, durable=s.durable, rows=s.rows, losses=s.losses + 1,
                follow=follow, told=follow,
            )  # fmt: skip

    def _leader(self, s: State) -> Iterator[Step]:
        tick, (at, entries) = s.go + 1, s.leader
        if at == "go":
            yield f"leader: go {tick}", s._replace(go=tick, cut=entries, leader=("", 0))
        elif at == "late":
            new = self._record(s, s.go, entries)
            yield f"leader: record of {s.go}, late", new._replace(leader=("", 0))
        elif len(s.life) == s.go < self.ticks:
            if tick <= s.follow:
                entries = self._followed(s, tick)
                yield f"leader: go {tick} again", s._replace(go=tick, cut=entries)
                return
            entries = s.arrived
            quiet = self.mutant == "quiet_ticks_untold" or tick <= s.told
            if entries == s.cut and quiet:
                yield f"leader: go {tick}, quiet", s._replace(go=tick)
            elif self.mutant == "go_before_record":
                late = s._replace(go=tick, cut=entries, leader=("late", entries))
                yield f"leader: go {tick} first", late
            elif len(s.lane) < LANE_MAX:
                new = self._record(s, tick, entries)
                yield f"leader: record of {tick}", new._replace(leader=("go", entries))

    def _record(self, s: State, tick: int, entries: int) -> State:
        record = Record(tick, entries, tick + AHEAD)
        return s._replace(lane=(*s.lane, record), told=record.until)

    def _followed(self, s: State, tick: int) -> int:
        """What the journal says that ``tick`` took in."""
        return {record.tick: record.entries for record in s.durable}.get(tick, s.cut)

    def _with(self, durable: tuple[Record, ...], record: Record) -> tuple[Record, ...]:
        """What the file says with one more: it counts from its tick on, and takes back what the
        file says of that tick and of later ones before it."""
        if self.mutant == "first_record_counts" and any(r.tick == record.tick for r in durable):
            return durable
        return (*(r for r in durable if r.tick < record.tick), record)

    def _broker(self, s: State) -> Iterator[Step]:
        at, count = s.broker
        early = self.mutant == "release_before_sync"
        if at == "" and s.lane:
            following = ("release" if early else "sync", len(s.lane))
            yield "broker: writes", s._replace(written=s.lane, broker=following)
        elif at == "sync":
            durable = s.durable
            for record in s.written:
                durable = self._with(durable, record)
            following = ("", 0) if early else ("release", count)
            yield "broker: syncs", s._replace(durable=durable, written=(), broker=following)
        elif at == "release":
            following = ("sync", 0) if early else ("", 0)
            new = s._replace(lane=s.lane[count:], seen=max(s.seen - count, min(s.seen, 0)))
            yield "broker: releases", new._replace(broker=following)

    def _sink(self, s: State) -> Iterator[Step]:
        first_look = self.mutant == "looks_then_takes"
        if first_look and s.seen < 0:
            if len(s.rows) < self.ticks:
                yield "sink: looks", s._replace(seen=len(s.lane))
        elif not s.taken:
            if len(s.life) > len(s.rows):
                seen = s.seen if first_look else len(s.lane)
                yield "sink: takes", s._replace(taken=s.life, seen=seen)
        elif s.seen == 0 or self.mutant == "no_wait":
            yield "sink: COMMIT", s._replace(rows=s.taken, taken=(), seen=-1)

    def fault(self, s: State) -> str | None:
        """A tick that is run again is what a sink has of it."""
        for tick, (row, now) in enumerate(zip(s.rows, s.life, strict=False), 1):
            if row != now:
                return f"tick {tick} took in {now} entries, a sink has it with {row}"
        return None

    def finished(self, s: State) -> bool:
        """Every tick is in the sink."""
        return len(s.rows) == self.ticks and len(s.life) == self.ticks
