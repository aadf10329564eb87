"""How far each lane is durable, where that is kept, and what a persister does with it at its start.

Theory.  The table ``corec_offsets`` has one row per lane and instance, changed in the transaction
that writes the lane's rows.  It is the only truth about what is durable: after a kill, a lost reply
to COMMIT or a restart of the server the persister reads it again and never guesses.

    epoch         the world's; a row of another epoch belongs to another world of this instance
    made          when the lane's segment was made (ns): positions of one lane compare only within
                  one ``made``; a world restored from a checkpoint gets new lanes
    position      the lane up to here is durable
    tick, block, step   of the last frame written; a frame not greater was published twice
    count         rows written through this lane for this world
    overlap_tick  frames up to this tick may be in the tables already (see below), -1: none

*Fencing.*  A transaction changes a lane's row only where epoch, made and position are those this
persister read or wrote last (compare and swap), else it is rolled back and the table is read again.
Two persisters of one world, or a transaction of a dead one that the server commits late, can
therefore never both write a frame.  A persister whose world has written before and that now finds
another epoch is a zombie: ``Fenced``, it stops.  The first take-over of a world (``first``) is the
one time that another epoch may be replaced: the older world's rows are set aside (``worlds``).

*A world restored from a checkpoint* runs ticks again whose rows are there: same epoch, new lanes,
perhaps another number of them, so that no old (tick, block, step) says anything about a new lane.
Whatever was written has a tick of at most ``overlap_tick`` = the highest tick in the rows of this
epoch.  Of frames up to that tick the row is looked up by (id, tick) and each repair by (bloque,
tick, entidad) before they are written, in the same transaction: exact whatever moved between lanes
and whichever of a tick's frames were committed, and it costs nothing past that tick.  The first
version of a row stays, as the messages that went out with it do.

Rejected: one high-water tick per block, taken from the tables (a block that changed lanes may have
tick 110 durable through the new lane while tick 100 waited in the old one, and was lost with it);
deleting the rows past the checkpoint (a reader would see rows vanish).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from corec.persister.batch import START, Mark

ROWS_PREFIX = "rows-"


class Fenced(RuntimeError):
    """Another world writes under this instance_id; this persister must not."""


class PositionMoved(RuntimeError):
    """Somebody else moved a lane's row; roll back and read the table again."""


class LaneNow(NamedTuple):
    """A lane as it is in memory."""

    name: str
    made: int
    tail: int
    """The first position that is still here, in the lane or in the spool."""
    head: int
    start: int | None = None
    """The lane's first position ever; None: as ``tail``."""


class Stored(NamedTuple):
    """A row of ``corec_offsets``."""

    lane: str
    epoch: int
    made: int
    mark: Mark
    overlap_tick: int


class Takeover(NamedTuple):
    """What the rows must become: ``lanes`` replaces the rows of the same name."""

    new_world: bool
    lanes: dict[str, Stored]
    rows_elsewhere: int
    """Rows of this world written through lanes that are no more."""
    behind: dict[str, int]
    """Bytes per lane that are neither here nor in the database: it went back in time, or a file of
    the spool is gone.  The lane goes on before them, so they become a gap."""


def plan_takeover(
    stored: Sequence[Stored],
    lanes: Sequence[LaneNow],
    epoch: int,
    *,
    first: bool,
    suspect_tick: int = START.tick,
) -> Takeover:
    """Decide where each lane goes on.

    ``first``: this world has not written before, so a row of another epoch is an older world's.
    ``suspect_tick``: rows lanes get at least this ``overlap_tick``, for a database that has refused
    a row because it is there already.
    Raises Fenced when it has, and such a row is there.
    """
    foreign = [row for row in stored if row.epoch != epoch]
    if foreign and not first:
        raise Fenced(
            f"the table corec_offsets belongs to world {foreign[0].epoch}, expected {epoch}: "
            "another CoreC with this instance_id writes to this database; stop one of them, or "
            "give it another instance_id"
        )
    own = {row.lane: row for row in stored if row.epoch == epoch}
    known_tick = max(
        (
            max(row.mark.tick, row.overlap_tick)
            for row in own.values()
            if row.lane.startswith(ROWS_PREFIX)
        ),
        default=START.tick,
    )
    known_tick = max(known_tick, suspect_tick)
    planned: dict[str, Stored] = {}
    behind: dict[str, int] = {}
    for lane in lanes:
        row = own.get(lane.name)
        if row is not None and row.made == lane.made and row.mark.position <= lane.head:
            if row.mark.position < lane.tail:
                behind[lane.name] = lane.tail - row.mark.position
            if lane.name.startswith(ROWS_PREFIX):
                row = row._replace(overlap_tick=max(row.overlap_tick, suspect_tick))
            planned[lane.name] = row
            continue
        rows = 0 if row is None else row.mark.rows
        overlap = known_tick if lane.name.startswith(ROWS_PREFIX) else START.tick
        start = lane.tail if lane.start is None else lane.start
        if start < lane.tail:
            behind[lane.name] = lane.tail - start
        mark = START._replace(position=start, rows=rows)
        planned[lane.name] = Stored(lane.name, epoch, lane.made, mark, overlap)
    elsewhere = sum(row.mark.rows for name, row in own.items() if name not in planned)
    return Takeover(not own, planned, elsewhere, behind)
