"""Fusion and division as docs/rules.md gives them: weak blocks take over from strong ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corec.lab.oracle.block import Block
from corec.lab.oracle.held import own_of
from corec.lab.oracle.phases import Told

EVERY: Final = 100
STRONG: Final = 0.5


def fuse(blocks: Sequence[Block], after: int) -> list[Told]:
    """Behind tick ``after``, over all blocks of the world; what is told of it."""
    told: list[Told] = []
    fitness = [block.fitness for block in blocks]
    states = [[dict(entity.state) for entity in block.entities] for block in blocks]
    genes = [[dict(entity.genes) for entity in block.entities] for block in blocks]
    weak = [block.fitness < block.min_fitness for block in blocks]
    count = len(blocks)
    for k, block in enumerate(blocks):
        how = block.settings.symbiosis
        if not weak[k] or how == "ninguna":
            continue
        order = [(k + step) % count for step in range(1, count)]
        donor = next(
            (d for d in order if fitness[d] > STRONG and not weak[d]
             and blocks[d].settings.symbiosis == how
             and blocks[d].settings.fuses_with == block.settings.fuses_with), None,
        )  # fmt: skip
        if donor is None:
            continue
        kind = block.settings.kind
        own = own_of(kind)
        for i, entity in enumerate(block.entities):
            if how == "division":
                if i % 2 != after // EVERY % 2:
                    continue
                entity.genes = dict(genes[donor][i % len(genes[donor])])
            theirs = states[donor][i % len(states[donor])]
            entity.state = {**theirs, **{name: entity.state[name] for name in own}}
            entity.running_failures, entity.ran_well = 0, None
        block.fitness = 0.5 * (fitness[k] + fitness[donor])
        detail = {"donor": blocks[donor].settings.name, "fitness": fitness[k],
                  "donor_fitness": fitness[donor]}  # fmt: skip
        if how == "division":
            detail["places"] = "odd" if after // EVERY % 2 else "even"
        told.append(Told(after, how, block.settings.name, None, detail))
    return told
