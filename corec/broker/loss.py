"""A server that comes back without its last writes: what it must have had, and what is missing.

No I/O. What was confirmed is known from the state in memory, or from the words that outlive a
broker (its slot, ``broker.json``). Redis writes its log in order, so a server that lost its end
holds an older hash *and* the streams as they were then: the totals say how much went. Streams that
went without the hash (deleted by hand, or with the whole data, the hash being written again) are
seen by their own count of entries. What is lost is counted and told; what still is in a lane is
sent again, for ``out_tick`` goes back with the hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from corec.broker.state import SinkState


@dataclass(frozen=True)
class Known:
    """What a world has had confirmed."""

    out_tick: int
    messages: int | None
    """None: not known any more."""
    total_out: dict[int, int] = field(default_factory=dict)
    total_dead: dict[int, int] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True)
class Loss:
    """What a server has lost of what it had confirmed."""

    messages: int | None
    """None: nobody knows."""
    entries: int
    """Entries the out-streams had got and know nothing of any more, trimmed ones included."""
    kept: int
    """Messages that are lost at least."""
    letters: int
    first_tick: int
    last_tick: int
    total_out: dict[int, int]
    """By canal, what the hash is to say, so that no total goes back."""
    total_dead: dict[int, int]

    @property
    def at_least(self) -> int:
        """Messages that are lost, as far as can be known."""
        return self.messages if self.messages is not None else self.kept


def known_of(state: SinkState) -> Known:
    """What ``state`` says was confirmed."""
    return Known(
        state.out_tick, sum(state.total_out.values()), dict(state.total_out),
        dict(state.total_dead), state.total_dropped,
    )  # fmt: skip


def _before(found: SinkState, known: Known) -> bool:
    """Whether the hash is of an earlier tick. Ticks count from 1: a known 0 is nothing confirmed,
    as is a hash that does not say a tick yet."""
    return max(found.out_tick, 0) < known.out_tick


def is_older(known: Known, found: SinkState) -> bool:
    """Whether the hash is of an earlier moment than what was confirmed."""
    return _before(found, known) or any(
        count > found.total_out.get(canal, 0) for canal, count in known.total_out.items()
    )


def compare(known: Known, found: SinkState, added: int | None, maxlen: int) -> Loss | None:
    """What is missing in ``found`` of what is ``known``; None when nothing is.

    ``added``: entries that all out-streams together have ever got; None: the server does not say.
    ``maxlen``: entries that an out-stream keeps.
    """
    have = sum(found.total_out.values())
    older = _before(found, known)
    back = max(0, known.messages - have) if known.messages is not None else 0
    uncounted = known.messages is None and older
    letters = sum(
        max(0, count - found.total_dead.get(canal, 0)) for canal, count in known.total_dead.items()
    )
    entries = max(0, found.total_entries - found.total_missing - added) if added is not None else 0
    if not (back or uncounted or letters or entries):
        return None
    return Loss(
        messages=None if uncounted or entries else back,  # no entry says how many it held
        entries=entries,
        kept=max(back, min(entries, maxlen * len(found.total_out))),
        letters=letters,
        first_tick=found.out_tick + 1 if older else 0,
        last_tick=max(known.out_tick, found.out_tick),
        total_out=_raised_out(known, found),
        total_dead=_raised(known.total_dead, found.total_dead),
    )


def _raised_out(known: Known, found: SinkState) -> dict[int, int]:
    """The totals by canal, so that they add up to what was confirmed.

    The last ones by canal may be a second old (``broker.json``): the canal of the messages between
    is not known any more, and they go to the busiest.
    """
    raised = _raised(known.total_out, found.total_out)
    whole = {**found.total_out, **raised}
    rest = (known.messages or 0) - sum(whole.values())
    if rest > 0 and whole:
        busiest = max(whole, key=lambda canal: whole[canal])
        raised[busiest] = whole[busiest] + rest
    return raised


def _raised(known: dict[int, int], found: dict[int, int]) -> dict[int, int]:
    return {canal: count for canal, count in known.items() if count > found.get(canal, 0)}
