"""Fusion as docs/rules.md gives it: weak blocks take over the state of strong ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from corec.oracle.block import Block

EVERY: Final = 100
STRONG: Final = 0.5


def fuse(blocks: Sequence[Block]) -> None:
    """Between two ticks, over all blocks of the world."""
    fitness = [block.fitness for block in blocks]
    states = [[dict(entity.state) for entity in block.entities] for block in blocks]
    weak = [block.fitness < block.min_fitness for block in blocks]
    count = len(blocks)
    for k, block in enumerate(blocks):
        if not weak[k]:
            continue
        order = [(k + step) % count for step in range(1, count)]
        donor = next(
            (d for d in order if fitness[d] > STRONG and not weak[d]
             and blocks[d].settings.fuses_with == block.settings.fuses_with), None,
        )  # fmt: skip
        if donor is None:
            continue
        kind = block.settings.kind
        own = {*kind.history, *kind.kept, *(("heard", "quiet") if kind.silence else ())}
        for i, entity in enumerate(block.entities):
            theirs = states[donor][i % len(states[donor])]
            entity.state = {**theirs, **{name: entity.state[name] for name in own}}
            entity.running_failures, entity.ran_well = 0, None
        block.fitness = 0.5 * (fitness[k] + fitness[donor])
