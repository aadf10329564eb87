"""Posts and the settlement: what a tick leaves to the next, and who is born of it, explored whole.

    process     its steps (one store or look each)                       code
    --------    -----------------------------------------------------    --------------------------
    worker k    before tick T, per block: read the posts of T − 1 and    corec.kernels.settlement
                the copies from before of all blocks · other copy ·
                commit, with the mark T … S_PHASE · wait for all
                in tick T, per block: read the posts of T − 1 · other    corec.kernels.mail, .post,
                copy · post of T, copy T & 1 · commit … done             .block
    leader      go                                                       corec.worker.leader

A copy of a block holds which tick left it, and before which tick it was settled last; a post holds
which tick left it. So whatever a worker reads that is not what tick T − 1 left shows at once, and
so does a block that is settled twice. A kill takes what a worker held in its own memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")
IDLE: Final = ("idle", 0, 0)
MUTANTS: Final = {
    "one_post": "there is one copy of a block's post",
    "reads_this_tick": "the settlement reads the posts of the tick that comes",
    "post_after_commit": "a block commits its tick, then writes its post",
    "no_mark": "a block does not say that it is settled",
    "marks_changed_only": "only blocks that somebody comes to say that they are settled",
    "no_wait": "a worker goes on to the tick once its own blocks are settled",
    "no_barrier": "a tick goes once worker 0 alone has done the last one",
}
Step = tuple[str, "State"]


class Block(NamedTuple):
    """Its tick, the tick before which it was settled, its two copies and which one counts, its two
    posts."""

    tick: int = 0
    settled: int = 0
    which: int = 0
    copies: tuple[tuple[int, int], ...] = ((0, 0), (-1, -1))
    posts: tuple[int, int] = (0, -1)


class State(NamedTuple):
    """Everything; ``workers`` (what each is about to do, block, other block) dies."""

    go: int
    phases: tuple[int, ...]
    done: tuple[int, ...]
    blocks: tuple[Block, ...]
    workers: tuple[tuple[str, int, int], ...]
    harm: str = ""


class Posts:
    """The model: ``owners`` has the worker of each block; block 0 is one that somebody comes to."""

    def __init__(self, ticks: int, owners: tuple[int, ...], mutant: str = "") -> None:
        assert mutant in ("", *MUTANTS), mutant
        self.ticks, self.owners, self.mutant = ticks, owners, mutant
        self.count = max(owners) + 1

    def first(self) -> State:
        """Tick 0."""
        nobody = (0,) * self.count
        return State(0, nobody, nobody, (Block(),) * len(self.owners), (IDLE,) * self.count)

    def steps(self, s: State) -> Iterator[Step]:
        """One store or look of one process."""
        waits_for = s.done[:1] if self.mutant == "no_barrier" else s.done
        if s.go < self.ticks and min(waits_for) == s.go:
            yield f"leader: go {s.go + 1}", s._replace(go=s.go + 1)
        for k in range(self.count):
            if s.go > s.done[k]:
                label, new = self._worker(s, k)
                if new != s:
                    yield f"worker {k}: {label}", new

    def kills(self, s: State) -> Iterator[Step]:
        """Every worker, wherever it is."""
        for k, at in enumerate(s.workers):
            if at != IDLE:
                yield f"KILL worker {k}", s._replace(workers=_put(s.workers, k, IDLE))

    def _worker(self, s: State, k: int) -> Step:
        tick, (what, b, other) = s.done[k] + 1, s.workers[k]
        if what == "survey":
            return f"looks at block {other}", self._survey(s, k, tick, b, other)
        if what == "read":
            following = ("read", b, other + 1) if other + 1 < len(s.blocks) else ("write", b, 0)
            new = self._read_post(s, tick, b, other, tick - 1)
            return f"post of block {other}", new._replace(workers=_put(s.workers, k, following))
        if what == "settle":
            new = self._commit(s, b, s.blocks[b].tick, tick)
            mine = [i for i, owner in enumerate(self.owners) if owner == k]
            following = ("phase", mine.index(b) + 1, 0)
            return f"settles block {b}", new._replace(workers=_put(new.workers, k, following))
        if what == "write":
            return f"copy of block {b}", self._write(s, k, tick, b)
        if what == "post":
            new = self._post(s, b, tick)
            late = self.mutant == "post_after_commit"
            following = ("tick", 0, 0) if late else ("commit", b, 0)
            return f"post of {tick}", new._replace(workers=_put(s.workers, k, following))
        if what == "commit":
            new = self._commit(s, b, tick, s.blocks[b].settled)
            late = self.mutant == "post_after_commit"
            following = ("post", b, 0) if late else ("tick", 0, 0)
            return f"commit {b}", new._replace(workers=_put(new.workers, k, following))
        return self._next(s, k, tick)

    def _next(self, s: State, k: int, tick: int) -> Step:
        what, at, _ = s.workers[k]
        mine = [b for b, owner in enumerate(self.owners) if owner == k]
        if what != "tick":  # whoever begins, or begins again, goes through the settlement
            for b in mine[at:] if tick > 1 else ():
                if s.blocks[b].settled < tick:
                    following = ("survey", b, 0)
                    return f"settlement of {b}", s._replace(workers=_put(s.workers, k, following))
            new = s._replace(workers=_put(s.workers, k, ("tick", 0, 0)))
            return f"has settled {tick}", new._replace(phases=_put(s.phases, k, tick))
        if min(s.phases) < tick and self.mutant != "no_wait":
            return "waits", s
        todo = [b for b in mine if s.blocks[b].tick < tick]
        if todo:
            following = ("read", todo[0], 0)
            return f"tick of block {todo[0]}", s._replace(workers=_put(s.workers, k, following))
        new = s._replace(done=_put(s.done, k, tick), workers=_put(s.workers, k, IDLE))
        return f"done {tick}", new

    def _survey(self, s: State, k: int, tick: int, b: int, other: int) -> State:
        """Read of another block its post and the copy from before the settlement."""
        wanted = tick if self.mutant == "reads_this_tick" else tick - 1
        new = self._read_post(s, tick, b, other, wanted)
        block = s.blocks[other]
        which = 1 - block.which if block.settled >= tick else block.which
        left = block.copies[which][0]
        if left != tick - 1 or block.copies[which][1] >= tick:
            found = block.copies[which]
            new = new._replace(harm=f"before tick {tick} block {b} reads {found} of block {other}")
        following = ("survey", b, other + 1) if other + 1 < len(s.blocks) else ("settle", b, 0)
        return new._replace(workers=_put(s.workers, k, following))

    def _read_post(self, s: State, tick: int, b: int, other: int, wanted: int) -> State:
        found = s.blocks[other].posts[self._copy(wanted)]
        if found == tick - 1:
            return s
        harm = f"for tick {tick} block {b} reads the post of {found} of block {other}"
        return s._replace(harm=harm)

    def _copy(self, tick: int) -> int:
        return 0 if self.mutant == "one_post" else tick & 1

    def _post(self, s: State, b: int, tick: int) -> State:
        block = s.blocks[b]
        posts = (tick, block.posts[1]) if self._copy(tick) == 0 else (block.posts[0], tick)
        return s._replace(blocks=_put(s.blocks, b, block._replace(posts=posts)))

    def _write(self, s: State, k: int, tick: int, b: int) -> State:
        following = "commit" if self.mutant == "post_after_commit" else "post"
        block = s.blocks[b]
        copies = _other(block, (tick, block.copies[block.which][1]))
        return s._replace(blocks=_put(s.blocks, b, block._replace(copies=copies)),
                          workers=_put(s.workers, k, (following, b, 0)))  # fmt: skip

    def _commit(self, s: State, b: int, tick: int, settled: int) -> State:
        """Name the other copy; of a settlement, which is told by its mark, write it first."""
        block, harm = s.blocks[b], s.harm
        new = block._replace(tick=tick, which=1 - block.which, settled=settled)
        if settled != block.settled:
            left, before = block.copies[block.which]
            if before == settled:
                harm = f"block {b} is settled twice before tick {settled}"
            new = new._replace(copies=_other(block, (left, settled)))
            unmarked = self.mutant == "no_mark" or (self.mutant == "marks_changed_only" and b > 0)
            new = new._replace(settled=block.settled) if unmarked else new
            if self.mutant == "marks_changed_only" and b > 0:
                new = block  # nothing changes in it
        return s._replace(blocks=_put(s.blocks, b, new), harm=harm)

    def fault(self, s: State) -> str | None:
        """What was read, or done twice."""
        return s.harm or None

    def finished(self, s: State) -> bool:
        """Every tick is done."""
        return min(s.done) == self.ticks


def _other(block: Block, value: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return _put(block.copies, 1 - block.which, value)


def _put(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])
