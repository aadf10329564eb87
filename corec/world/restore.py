"""Reading checkpoints back: into a world, or piece by piece to see whether they are sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corec.plan import Plan
from corec.world.checkpoint import PLAIN, STATE, Checkpoint, CheckpointRefused, Contents, Part
from corec.world.create import write_headers
from corec.world.digest import Digest, WorldMoved
from corec.world.packing import Packing, columns_in, part_of_plan, plan_of, shape_of


def check_parts(path: Path) -> Checkpoint:
    """Read the whole file and check every checksum, without unpacking it to a world.

    Raises:
        CheckpointRefused: what was found. OSError: it can't be read.
    """
    with Contents(path) as contents:
        head = contents.head()
        found = list(contents.parts(contents.head_offset()))
        for part in found:
            contents.body(part)
        if len(found) != head["parts"]:
            raise contents.refuse(f"found {len(found)} parts, expected {head['parts']}")
        return Checkpoint(path, head)


def load_checkpoint(
    checkpoint: Checkpoint, plan: Plan, world: NDArray[np.uint8],
    progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Fill a zeroed world segment (u8[plan.world_bytes]) from ``checkpoint``.

    ``progress(done, total)`` is called with counts of entities.
    Raises:
        CheckpointRefused: damaged, or made for another plan. The world may be half filled then.
    """
    with Contents(checkpoint.path) as contents:
        head = contents.head()
        if columns_in(head["swarms"]) != columns_in(shape_of(plan)):
            raise contents.refuse("its blocks have other columns than those configured")
        _load_parts(contents, head, plan, world, progress)
    write_headers(plan, world)


def load_to_read(
    checkpoint: Checkpoint, memory: Callable[[int], NDArray[np.uint8]]
) -> tuple[Plan, NDArray[np.uint8]]:
    """The world in ``checkpoint`` with the plan that the file itself says: good for reading it,
    without its processors. ``memory`` gives so many zeroed bytes.

    Raises:
        CheckpointRefused: damaged.
    """
    with Contents(checkpoint.path) as contents:
        head = contents.head()
        plan = plan_of(head["swarms"])
        world = memory(plan.world_bytes)
        _load_parts(contents, head, plan, world, None)
    return plan, world


def _load_parts(
    contents: Contents, head: dict[str, Any], plan: Plan, world: NDArray[np.uint8],
    progress: Callable[[int, int], None] | None,
) -> None:  # fmt: skip
    packing = Packing(plan, world)
    missing = np.ones(plan.n_blocks, np.bool_)
    parts = 0
    end = contents.head_offset()
    for part in contents.parts(end):
        contents.load_into(packing, 0, part)
        parts += 1
        if part.kind & ~PLAIN == STATE:
            missing[part.lo : part.hi] = False
        if progress is not None:
            progress(plan.entidades * part.offset // end, plan.entidades)
    if parts != head["parts"] or missing.any():
        raise contents.refuse(
            f"found {parts} parts, expected {head['parts']}; "
            f"{int(missing.sum())} blocks are missing"
        )


def digest_in(
    path: Path, parts: list[Part], shape: list[dict[str, Any]],
    step: Callable[[float], None], shown: Path | None = None,
) -> tuple[int, str]:  # fmt: skip
    """(tick, digest) of the world that ``parts`` of the file hold, a chunk of blocks at a time.

    ``step(share)`` is called after each chunk with the share that is done.
    Raises:
        CheckpointRefused: a checksum, a record or a block's tick is wrong.
    """
    plan = plan_of(shape)
    ranges = sorted({(part.lo, part.hi) for part in parts if part.kind & ~PLAIN == STATE})
    digest = Digest()
    space = np.zeros(0, np.uint64)  # one for all chunks: to map it anew costs as much as to fill it
    with Contents(path, shown) as contents:
        reached = 0
        for lo, hi in ranges:
            if lo != reached or hi > plan.n_blocks:
                raise contents.refuse(f"found blocks {lo}–{hi - 1} after block {reached - 1}")
            reached = hi
            piece = part_of_plan(plan, lo, hi)
            if space.size < piece.world_bytes // 8:
                space = np.zeros(piece.world_bytes // 8, np.uint64)
            words = space[: piece.world_bytes // 8]
            words.fill(0)
            packing = Packing(piece, words.view(np.uint8))
            for part in parts:
                if (part.lo, part.hi) == (lo, hi):
                    contents.load_into(packing, lo, part)
            try:
                digest.add(piece, words)
            except WorldMoved as error:
                raise contents.refuse(str(error)) from None
            step(hi / plan.n_blocks)
        if reached != plan.n_blocks:
            raise contents.refuse(f"blocks from {reached} on are missing")
    return digest.tick, digest.hexdigest()


def verify(path: Path, step: Callable[[float], None] = lambda _: None) -> Checkpoint:
    """Read everything: checksums, records, and the digest recomputed from the contents.

    Raises:
        CheckpointRefused: what was found. OSError: it can't be read.
    """
    with Contents(path) as contents:
        head = contents.head()
        parts = list(contents.parts(contents.head_offset()))
    try:
        if len(parts) != head["parts"]:
            raise CheckpointRefused(f"{path}: found {len(parts)} parts, expected {head['parts']}")
        tick, digest = digest_in(path, parts, head["swarms"], step)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointRefused(f"{path}: its head makes no sense: {error!r}") from None
    if (tick, digest) != (head["tick"], head["digest"]):
        raise CheckpointRefused(
            f"{path}: its contents are tick {tick}, digest {digest}; its head says "
            f"tick {head['tick']}, digest {head['digest']}"
        )
    return Checkpoint(path, head)
