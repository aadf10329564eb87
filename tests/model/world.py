"""A small world that can be explored whole: ticks, double-buffered blocks, lanes, sinks, inputs.

It keeps what decides over crash safety and nothing else: every store that another process, or a
successor of the same process, may see is one step, in the order the code has them; a kill leaves
shared memory and the databases as they are and takes everything else.

    process      its steps (one store each)                           code
    ---------    -----------------------------------------------      -------------------------
    worker k     other copy · a frame per lane · public columns ·     corec.kernels.block, .frames,
                 commit … · done                                      .public
    leader       cut · in-position table · inbox tail · go            corec.worker.leader
    (worker 0)
    sink         take over · take frames · transaction · release      corec.persister, corec.broker
    reader       inbox frames · table · publish an entry …            corec.broker.reader

Positions are relative to a lane's tail, so that the state stays finite however often a killed
worker publishes a frame again. Ticks start at 1; entry ``e`` of the one input stream is a reading
of block ``e % blocks``. The state of a block is what it lived through: for each tick the readings
it applied. So equal states mean equal lives, and a lost, doubled or reordered reading shows.

A mutant is the same world with one order of stores turned round, or one check left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.model.sinks import Step, sink_steps
from tests.model.state import (
    Block,
    Frame,
    Lane,
    Life,
    Sink,
    Size,
    State,
    position_after,
    put,
)

IDLE: Final = ("idle", 0)
CLOSED: Final = ("closed", 0)
MUTANTS: Final = {
    "commit_before_publish": "a block commits its tick, then publishes its frames",
    "in_place": "a tick writes over the copy that counts",
    "done_before_commit": "a worker says that it is done before its last block has committed",
    "no_barrier": "a tick goes once worker 0 alone has done the last one",
    "position_before_commit": "a sink commits its position before the rows",
    "release_before_durable": "a sink gives frames back to the worker before its COMMIT",
    "no_release": "a sink never gives frames back",
    "no_dedupe": "a sink writes a frame that was published twice, twice",
    "dedupe_by_tick": "a sink takes every frame of a tick it has seen for a repeat",
    "lanes_before_done": "the broker reads the lanes before it looks which tick is complete",
    "cut_after_go": "the cut of a tick is stored after the tick went",
    "early_inbox_release": "the inbox tail moves to the cut of the tick that goes",
    "table_after_go": "the in-position table is stored after the tick went",
    "table_by_flip": "which table counts is a word of its own, stored before go",
    "table_before_inbox": "the reader looks at the table, then at the inbox",
    "public_after_commit": "a block commits its tick, then writes what others see",
    "public_one_copy": "there is one copy of what others see",
    "public_this_tick": "a block looks at what this tick has left so far",
    "public_no_barrier": "as no_barrier, seen by those who look at others",
}


class World:
    """The model."""

    def __init__(self, size: Size, mutant: str = "") -> None:
        assert mutant in ("", *MUTANTS), mutant
        self.size, self.mutant = size, mutant
        self.n_blocks = len(size.owners)

    def first(self) -> State:
        """Tick 0."""
        size = self.size
        block = Block(0, 0, ((), ()))
        sink = Sink(((),) * self.n_blocks, ((0, -1),) * size.workers, 0, "start", (), 0)
        return State(
            go=0, cuts=(0,) * (size.ticks + 1), tables=(0, 0), flip=0, inbox=(), inbox_tail=0,
            done=(0,) * size.workers, blocks=(block,) * self.n_blocks,
            lanes=((Lane((), 0),) * size.workers,) * len(size.kinds),
            sinks=(sink,) * len(size.kinds),
            workers=(IDLE,) * size.workers, reader=CLOSED, harm="",
            public=((0,) * self.n_blocks,) * 2 if size.public else (),
        )  # fmt: skip

    def steps(self, state: State) -> Iterator[Step]:
        """One store of one process."""
        for k, (at, b) in enumerate(state.workers):
            if at.startswith("leader"):
                yield from self._leader(state, at)
            else:
                yield from self._worker(state, k, at, b)
        for kind in range(len(self.size.kinds)):
            yield from sink_steps(self.size, self.mutant, state, kind)
        yield from self._reader(state)

    def kills(self, s: State) -> Iterator[Step]:
        """Every process, wherever it is: what it held in its own memory is gone."""
        for k, at in enumerate(s.workers):
            if at != IDLE:
                yield f"KILL worker {k}", s._replace(workers=put(s.workers, k, IDLE))
        for kind, sink in enumerate(s.sinks):
            if sink.pc != "start":
                dead = sink._replace(pc="start", taken=(), complete=0)
                yield f"KILL sink {kind}", s._replace(sinks=put(s.sinks, kind, dead))
        if s.reader != CLOSED:
            yield "KILL reader", s._replace(reader=CLOSED)

    # a worker's blocks

    def _worker(self, s: State, k: int, at: str, b: int) -> Iterator[Step]:
        who = f"worker {k}: "
        tick = s.done[k] + 1
        if at == "show":
            yield f"{who}show block {b}", self._show(s, k, b)
        elif at == "commit":
            yield f"{who}commit block {b}", self._commit(s, k, b)
        elif at.startswith("publish"):
            kind = int(at[7:])
            if len(s.lanes[kind][k].frames) < self.size.lane_frames_max:
                yield f"{who}publish block {b} to lane {kind}", self._publish(s, k, b, kind)
        elif s.go >= tick:
            mine = [i for i, owner in enumerate(self.size.owners) if owner == k]
            todo = [i for i in mine if s.blocks[i].tick < tick]
            if todo:
                yield f"{who}copy of block {todo[0]}, tick {tick}", self._write(s, k, todo)
            else:
                yield f"{who}done {tick}", s._replace(done=put(s.done, k, tick))
        elif k == 0 and tick <= self.size.ticks:
            waits_for = s.done[:1] if self.mutant.endswith("no_barrier") else s.done
            if min(waits_for) >= tick - 1:
                yield from self._leader(s, "leader decides")

    def _write(self, s: State, k: int, todo: list[int]) -> State:
        """Read the committed copy and the readings of the tick, write the other copy."""
        b = todo[0]
        tick = s.done[k] + 1
        low, high = s.cuts[tick - 1], s.cuts[tick]
        harm = s.harm
        if low < high and low < s.inbox_tail:
            harm = f"worker {k} reads readings of tick {tick} that were given back"
        if self.size.public:
            seen = s.public[self._copy(tick if self.mutant == "public_this_tick" else tick - 1)]
            for other, shown in enumerate(seen):
                if shown != tick - 1:
                    harm = f"block {b} sees in tick {tick} what tick {shown} left of block {other}"
        block = s.blocks[b]
        life: Life = (*block.life, tuple(e for e in s.inbox[low:high] if e % self.n_blocks == b))
        target = block.which if self.mutant == "in_place" else 1 - block.which
        copies = (life, block.copies[1]) if target == 0 else (block.copies[0], life)
        done = s.done
        if self.mutant == "done_before_commit" and len(todo) == 1:
            done = put(s.done, k, tick)
        commit_now = self.mutant == "commit_before_publish" or not self.size.kinds
        return s._replace(
            blocks=put(s.blocks, b, block._replace(copies=copies)), harm=harm, done=done,
            workers=put(s.workers, k, self._to_commit(b) if commit_now else ("publish0", b)),
        )  # fmt: skip

    def _publish(self, s: State, k: int, b: int, kind: int) -> State:
        block = s.blocks[b]
        counts = self.mutant in ("commit_before_publish", "in_place")
        life = block.copies[block.which if counts else 1 - block.which]
        lane = s.lanes[kind][k]
        lane = lane._replace(frames=(*lane.frames, Frame(len(life), b, life)))
        to = self._to_commit(b)
        if kind + 1 < len(self.size.kinds):
            to = (f"publish{kind + 1}", b)
        elif self.mutant == "commit_before_publish":
            to = IDLE
        lanes = put(s.lanes, kind, put(s.lanes[kind], k, lane))
        return s._replace(lanes=lanes, workers=put(s.workers, k, to))

    def _copy(self, tick: int) -> int:
        """Which copy of the public columns belongs to ``tick``."""
        return 0 if self.mutant == "public_one_copy" else tick & 1

    def _to_commit(self, b: int) -> tuple[str, int]:
        shows = self.size.public and self.mutant != "public_after_commit"
        return ("show" if shows else "commit", b)

    def _show(self, s: State, k: int, b: int) -> State:
        """Write the block's stretch of the public columns of the tick that ends."""
        tick = s.done[k] + 1
        copy = self._copy(tick)
        public = put(s.public, copy, put(s.public[copy], b, tick))
        to = IDLE if self.mutant == "public_after_commit" else ("commit", b)
        return s._replace(public=public, workers=put(s.workers, k, to))

    def _commit(self, s: State, k: int, b: int) -> State:
        block = s.blocks[b]
        which = block.which if self.mutant == "in_place" else 1 - block.which
        late = self.mutant == "commit_before_publish" and self.size.kinds
        to = ("publish0", b) if late else IDLE
        if self.mutant == "public_after_commit":
            to = ("show", b)
        blocks = put(s.blocks, b, block._replace(tick=block.tick + 1, which=which))
        return s._replace(blocks=blocks, workers=put(s.workers, k, to))

    # the leader

    def _leader(self, s: State, at: str) -> Iterator[Step]:
        """One store of the leader; where each goes on is what the mutants turn round."""
        tick = s.done[0] + 1
        order = ["cut", "table", "tail", "go"]
        if self.mutant == "table_by_flip":
            order.insert(2, "flip")
        for mutant, late in (("cut_after_go", "cut"), ("table_after_go", "table")):
            if self.mutant == mutant:
                order.remove(late)
                order.append(late)
        place = 0 if at == "leader decides" else order.index(at[7:])
        following = ("leader " + order[place + 1], 0) if place + 1 < len(order) else IDLE
        new = s._replace(workers=put(s.workers, 0, following))
        store = order[place]
        if store == "cut":
            new = new._replace(cuts=put(s.cuts, tick, len(s.inbox)))
        elif store == "table":
            copy = 1 - s.flip if self.mutant == "table_by_flip" else tick & 1
            new = new._replace(tables=put(s.tables, copy, position_after(s.inbox[: s.cuts[tick]])))
        elif store == "flip":
            new = new._replace(flip=1 - s.flip)
        elif store == "tail":
            cut = s.cuts[tick if self.mutant == "early_inbox_release" else tick - 1]
            new = new._replace(inbox_tail=max(cut, s.inbox_tail))
        else:
            new = new._replace(go=tick)
        yield f"leader: {store} of tick {tick}", new

    def _table(self, s: State) -> int:
        """The in-position table that counts."""
        return s.tables[s.flip if self.mutant == "table_by_flip" else s.go & 1]

    # the reader of the input stream

    def _reader(self, s: State) -> Iterator[Step]:
        at, value = s.reader
        table_first = self.mutant == "table_before_inbox"
        in_lane = position_after(s.inbox[s.inbox_tail :])
        if at == "closed":
            found = self._table(s) if table_first else in_lane
            yield "reader: looks once", s._replace(reader=("half", found))
        elif at == "half":
            begin = in_lane or value if table_first else value or self._table(s)
            yield "reader: looks twice", s._replace(reader=("open", begin))
        elif value < self.size.entries and (
            len(s.inbox) - s.inbox_tail < self.size.inbox_frames_max
        ):
            yield (
                f"reader: publish entry {value}",
                s._replace(inbox=(*s.inbox, value), reader=("open", value + 1)),
            )

    # what must hold

    def fault(self, s: State) -> str | None:
        """What no state may show."""
        if s.harm:
            return s.harm
        for b, block in enumerate(s.blocks):
            seen = [e for tick in block.life for e in tick]
            wanted = [e for e in range(self.size.entries) if e % self.n_blocks == b]
            if seen != wanted[: len(seen)]:
                return f"block {b} has applied the readings {seen}, expected {wanted} in order"
            if len(block.life) != block.tick:
                return f"block {b} has lived through {len(block.life)} ticks, not {block.tick}"
        # A hold or a stop may come whenever the leader would decide a tick: what a checkpoint
        # takes then must fit together.
        if s.workers[0] == IDLE and set(s.done) == {s.go}:
            applied = [e for block in s.blocks for tick in block.life for e in tick]
            if self._table(s) != max(applied, default=-1) + 1:
                return (
                    f"a checkpoint says that {self._table(s)} entries are applied, "
                    f"the blocks have {applied}"
                )
        return None

    def finished(self, s: State) -> bool:
        """Every tick is committed, every frame written, and it says what was committed."""
        ticks = range(1, self.size.ticks + 1)
        return min(s.done) == self.size.ticks and all(
            rows == tuple(block.life[:t] for t in ticks)
            for sink in s.sinks
            for rows, block in zip(sink.rows, s.blocks, strict=True)
        )
