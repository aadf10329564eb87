"""A phase before a tick: blocks changed out of what other blocks hold, explored whole.

    process     its steps (one store or one look each)                   code
    --------    -----------------------------------------------------    ------------------------
    worker k    per block: is any of the tick in it? · if not, what is   corec.world.phases
                written from outside, in place
                per block of the phase: look at the word of each other   corec.kernels.islands
                block · read the copy that it named before the phase
                other copy · commit …                                    corec.kernels.evolution
                S_PHASE · wait for all                                   corec.worker.process
                per block of the tick: other copy · commit, twice        corec.kernels.block
                done
    leader      go                                                       corec.worker.leader

A block counts its commits: three in each tick, one of the phase and two steps of the tick, which
overwrite what the phase read, and the first of which takes readings in. What a copy holds is the
number of the commit that named it, so a phase that reads anything but what the last tick left shows
at once. A kill takes what a worker held in its own memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")
EACH: Final = 3
"""Commits of a block in a tick."""
IDLE: Final = ("idle", 0, 0, 0)
START: Final = ("start", 0, 0, 0)
"""A worker at the beginning of a tick, or one that was killed and goes on with it."""
MUTANTS: Final = {
    "no_barrier": "a worker goes on to the tick once it has done the phase itself",
    "word_too_early": "a worker says that it has done the phase before its last block",
    "reads_what_counts": "a phase reads of the others the copies that count by now",
    "in_place": "a phase writes over the copy that counts",
    "over_a_step": "what is written from outside goes into each block whose tick is not over",
}
Step = tuple[str, "State"]


class Block(NamedTuple):
    """How often it has committed, and its two copies: what counts is the one of that parity."""

    commits: int
    copies: tuple[int, int]

    def put(self, which: int, value: int) -> Block:
        """One copy written."""
        copies = (value, self.copies[1]) if which == 0 else (self.copies[0], value)
        return self._replace(copies=copies)


class State(NamedTuple):
    """Everything; ``workers`` (what each is about to do: what, block, other, copy) dies."""

    go: int
    phases: tuple[int, ...]
    done: tuple[int, ...]
    blocks: tuple[Block, ...]
    workers: tuple[tuple[str, int, int, int], ...]
    harm: str = ""


class Phases:
    """The model: ``owners`` has the worker of each block."""

    def __init__(self, ticks: int, owners: tuple[int, ...], mutant: str = "") -> None:
        assert mutant in ("", *MUTANTS), mutant
        self.ticks, self.owners, self.mutant = ticks, owners, mutant
        self.count = max(owners) + 1

    def first(self) -> State:
        """Tick 0."""
        nobody = (0,) * self.count
        return State(0, nobody, nobody, (Block(0, (0, -1)),) * len(self.owners),
                     (START,) * self.count)  # fmt: skip

    def steps(self, s: State) -> Iterator[Step]:
        """One store or look of one process."""
        if s.go < self.ticks and min(s.done) == s.go:
            yield f"leader: go {s.go + 1}", s._replace(go=s.go + 1)
        for k in range(self.count):
            if s.go > s.done[k]:
                for label, new in self._worker(s, k):
                    yield f"worker {k}: {label}", new

    def kills(self, s: State) -> Iterator[Step]:
        """Every worker, wherever it is."""
        for k, at in enumerate(s.workers):
            if at != START:
                yield f"KILL worker {k}", s._replace(workers=_put(s.workers, k, START))

    def _worker(self, s: State, k: int) -> Iterator[Step]:
        tick, (what, b, other, copy) = s.done[k] + 1, s.workers[k]
        left = EACH * (tick - 1)
        if what == "start":
            yield "writes what is written from outside", self._written(s, k, b, left)
        elif what == "look":
            block = s.blocks[other]
            counts = block.commits & 1
            before = block.commits > left and self.mutant != "reads_what_counts"
            at = ("read", b, other, 1 - counts if before else counts)
            yield f"looks at block {other}", s._replace(workers=_put(s.workers, k, at))
        elif what == "read":
            found = s.blocks[other].copies[copy]
            at = ("look", b, other + 1, 0) if other + 1 < len(self.owners) else ("write", b, 0, 0)
            harm = s.harm
            if found != left:
                harm = f"before tick {tick} block {b} reads {found} of block {other}, not {left}"
            new = s._replace(workers=_put(s.workers, k, at), harm=harm)
            yield f"reads block {other}", new
        elif what == "write":
            yield f"copy of block {b}", self._write(s, k, b, left)
        elif what == "commit":
            block = s.blocks[b]
            blocks = _put(s.blocks, b, block._replace(commits=block.commits + 1))
            yield f"commit {b}", s._replace(blocks=blocks, workers=_put(s.workers, k, IDLE))
        else:
            yield from self._next(s, k, tick, left)

    def _write(self, s: State, k: int, b: int, left: int) -> State:
        block = s.blocks[b]
        in_place = self.mutant == "in_place" and block.commits == left
        which = block.commits & 1 if in_place else 1 - (block.commits & 1)
        blocks = _put(s.blocks, b, block.put(which, block.commits + 1))
        return s._replace(blocks=blocks, workers=_put(s.workers, k, ("commit", b, 0, 0)))

    def _written(self, s: State, k: int, number: int, left: int) -> State:
        """Into the next of its blocks; nobody looks at it meanwhile."""
        mine = [b for b, owner in enumerate(self.owners) if owner == k]
        block = s.blocks[mine[number]]
        begun = block.commits > left
        again = begun and block.commits < left + EACH and self.mutant == "over_a_step"
        harm = f"a step of block {mine[number]} reads in vain" if again else s.harm
        at = ("start", number + 1, 0, 0) if number + 1 < len(mine) else IDLE
        return s._replace(workers=_put(s.workers, k, at), harm=harm)

    def _next(self, s: State, k: int, tick: int, left: int) -> Iterator[Step]:
        mine = [b for b, owner in enumerate(self.owners) if owner == k]
        todo = [b for b in mine if s.blocks[b].commits <= left]
        early = self.mutant == "word_too_early" and len(todo) == 1
        if s.phases[k] < tick and (not todo or early):
            yield f"has done phase {tick}", s._replace(phases=_put(s.phases, k, tick))
        elif todo:
            at = ("look", todo[0], 0, 0)
            yield f"phase of block {todo[0]}", s._replace(workers=_put(s.workers, k, at))
        elif min(s.phases) >= tick or self.mutant == "no_barrier":
            todo = [b for b in mine if s.blocks[b].commits < left + EACH]
            if todo:
                at = ("write", todo[0], 0, 0)
                yield f"a step of block {todo[0]}", s._replace(workers=_put(s.workers, k, at))
            else:
                workers = _put(s.workers, k, START)
                yield f"done {tick}", s._replace(done=_put(s.done, k, tick), workers=workers)

    def fault(self, s: State) -> str | None:
        """What a phase must not read."""
        return s.harm or None

    def finished(self, s: State) -> bool:
        """Every tick is done."""
        return min(s.done) == self.ticks


def _put(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])
