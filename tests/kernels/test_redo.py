"""A worker killed at every store of a step: the successor ends where an undisturbed one does.

The block and its lanes lie in memory shared with a forked child; the child is really killed. What
the consumer sees is compared after it dropped what repeats, as the sinks do.
"""

from __future__ import annotations

import mmap
import os
import signal
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from corec import layout as L
from corec.entities.processor import Processor
from corec.layout.frames import message_step, row_step
from corec.testing import Block, LaneFull
from shm import killpoint
from shm.lane import Lane, lane_region_bytes
from tests.kernels.subjects import answerer, listener, mortal, neighbour, poster, worker

LANE = 1 << 19
TICKS = 5
POINTS = (
    "block.before_publish",
    "block.between_publish",
    "block.after_publish",
    "block.between_public",
    "block.before_commit",
    "block.after_commit",
)
KINDS = ["micro", "celu", "meeting"]
POSTING = ("block.before_post", "block.after_post", "block.before_commit")
CASES = [
    *((one, point) for one in (worker, listener, neighbour, mortal) for point in POINTS),
    *((one, point) for one in (poster, answerer) for point in POSTING),
    (mortal, "block.before_post"),
]
Frames = list[tuple[int, int, bytes]]


def shared(size: int) -> NDArray[np.uint8]:
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def shared_block(processor: Processor, n: int) -> Block:
    public = 4096 if processor.public else 0
    space = {"kind": "grid", "width": 8, "height": n // 8} if processor.public else None
    memory = shared(Block.bytes_needed(processor) + public)
    block = Block(
        processor, entities=n, every_ticks=2, max_errores=0.02, keep=True, memory=memory,
        space=space, living=n - 10 if processor.mortal else None,
    )  # fmt: skip
    block.out = Lane.create(shared(lane_region_bytes(LANE)))
    block.rows = Lane.create(shared(lane_region_bytes(LANE)))
    return block


def readings(processor: Processor, n: int, tick: int) -> list[tuple[int, float]]:
    """A few failures and off-and-on values; for a Celu block more than one step's worth."""
    if processor.kind == "micro":
        return [(3, 2000.0), (tick % n, -2000.0), (5, 0.5)] if tick % 2 else []
    found = [(1, 2000.0), (7, 2000.0), (8, 2000.0)]  # long before the step that repairs
    found += [(k % n, float((k * tick) % 11)) for k in range(2 * n) if k % n not in (7, 8)]
    found += [(8, 1.0), (9, 2000.0)]
    found += [(k % n, float((k * tick) % 7)) for k in range(n) if k % n not in (7, 9)]
    found += [(2, float(k)) for k in range(12)]
    return [*found, (4, 2000.0), (4, 2000.0), (6, -2000.0)] if tick != 3 else found


def run_on(block: Block, processor: Processor, ticks: int = TICKS) -> None:
    while block.view.tick < ticks:
        block.tick(readings(processor, block.n, block.view.tick + 1))


def frames(lane: Lane) -> Frames:
    """What a sink keeps: every frame whose (tick, step) is greater than the last one's."""
    kept: Frames = []
    last = (-1, -1)
    for frame in lane.frames():
        messages = frame.kind == L.KIND_MESSAGES_FRAME
        step = message_step(frame.c) if messages else row_step(frame.c)
        if (frame.tick, step) > last:
            last = (frame.tick, step)
            kept.append((frame.tick, step, bytes(frame.payload)))
    return kept


def state(block: Block) -> dict[str, Any]:
    view = block.view
    names = ["valor", *(f.name for f in block.processor.fields)]
    found: dict[str, Any] = {name: view.column(name).tobytes() for name in names}
    found.update(
        dyn=view.dyn.tobytes(), activo=view.activo.tobytes(), fallos=view.fallos.tobytes(),
        racha=view.racha.tobytes(), word=view.word,
    )  # fmt: skip
    (swarm,) = block.plan.swarms
    if swarm.meeting is not None:  # this copy is what the next tick reads
        start = swarm.public_off + (view.tick & 1) * swarm.meeting.copy_bytes
        found["public"] = block.memory[start : start + swarm.meeting.copy_bytes].tobytes()
    found["post"] = view.sent.tobytes(), view.children.tobytes()
    for ring in block.processor.history:
        found[ring.name] = [part.tobytes() for part in view.history(ring.name)]
    return found


def killed_at(block: Block, processor: Processor, point: str, passes: int) -> bool:
    """Run ``block`` in a child that dies at ``point``; false when it never got there."""
    with warnings.catch_warnings():
        # Python 3.12 warns when another test left a thread; this child runs compiled code only
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            killpoint.arm(point, passes)
            run_on(block, processor)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 7
    assert block.view.tick == TICKS
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "point"), CASES, ids=[f"{one.function.__name__} {point}" for one, point in CASES]
)
def test_a_kill_at_every_store_leaves_the_same_world(processor: Processor, point: str) -> None:
    n = 40
    if point == "block.between_public" and not processor.public:
        pytest.skip("it shows nothing")
    whole = shared_block(processor, n)
    run_on(whole, processor)
    expected = state(whole), frames(whole.out), frames(whole.rows)
    assert expected[1]
    assert any(len(payload) > L.ROW.itemsize for _, _, payload in expected[2])
    assert int(whole.view.dyn[L.D_REPAIRS]) > 2
    assert (int(whole.view.dyn[L.D_BIRTHS]) > 2) == processor.mortal
    assert (int(whole.view.dyn[L.D_SENDS]) > 2) == (processor.sends > 0)
    kills = 0
    while True:
        block = shared_block(processor, n)
        if not killed_at(block, processor, point, kills + 1):
            break
        kills += 1
        run_on(block, processor)
        assert (state(block), frames(block.out), frames(block.rows)) == expected, kills
    assert kills >= TICKS


@pytest.mark.slow
@pytest.mark.parametrize("processor", [worker, listener, neighbour], ids=KINDS)
def test_a_full_lane_stops_the_tick_and_changes_nothing_of_its_outcome(
    processor: Processor,
) -> None:
    n, ticks = 40, 60
    whole = shared_block(processor, n)
    run_on(whole, processor, ticks)
    expected = state(whole), frames(whole.out), frames(whole.rows)
    for which in ("out", "rows"):
        block = shared_block(processor, n)
        size = (16_384 if processor.kind == "celu" else 4096) * (1 if which == "out" else 2)
        narrow = Lane.create(shared(lane_region_bytes(size)))
        setattr(block, which, narrow)
        got: Frames = []
        stopped = 0
        while block.view.tick < ticks:
            arriving = readings(processor, n, block.view.tick + 1)
            try:
                block.tick(arriving)
            except LaneFull:
                stopped += 1
                for _ in range(3):  # again and again with no room: nothing moves any more
                    committed, heads = state(block), (block.out.head, block.rows.head)
                    with pytest.raises(LaneFull):
                        block.tick(arriving)
                    assert (state(block), (block.out.head, block.rows.head)) == (committed, heads)
                got += frames(narrow)
                narrow.release(narrow.head)
        got += frames(narrow)
        other = block.rows if which == "out" else block.out
        index = 1 if which == "out" else 2
        assert stopped > 0, which
        assert state(block) == expected[0]
        assert got == expected[index]
        assert frames(other) == expected[3 - index]
