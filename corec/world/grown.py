"""More entities in a world that is there: behind all that exist, whose ids and places stay.

What a bloque grows by is a part of its own (``plan.Part``): blocks behind the last block, ids
behind the last id. Only where entities meet, evolve or are born its last part becomes larger
(``plan.stays_one``), which it can where it is the world's last and its blocks are full. So nothing
of a world moves when it grows; the old blocks are copied as they are, the new ones are made as in a
new world, at the world's tick.

When an instance's world grows (``corec.supervisor.growing``) the first record that its journal has
afterwards says which parts there are. Who runs that stretch again (``corec.world.past``) grows at
the same boundary: a restored instance, whose leader lets no tick from ``C_GROW_FIRST`` on go before
that, and a ``corec.World``. What the configuration has beyond that comes behind the stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.config import Config
from corec.entities.processor import Processor, ProcessorError
from corec.entities.silence import HEARD
from corec.journal.past import Growth, Past
from corec.kernels.desc import TOLD_WORDS
from corec.kernels.public import show_range
from corec.kernels.whole import init_range
from corec.plan import Part, Plan, make_plan
from corec.world.commits import commit_word
from corec.world.create import first_genes, free_at_first, leave_free, write_headers
from corec.world.past import parts_said
from corec.world.read import BlockView
from corec.world.tables import Tables, make_tables


def larger(
    config: Config, there: Plan, processors: Mapping[str, Processor] | None = None
) -> Plan | None:
    """The plan with all that ``config`` has; None when ``there`` has it all. Raises ConfigError."""
    plan = make_plan(config, processors, there.parts)
    return plan if plan.n_blocks > there.n_blocks else None


def growths(
    config: Config, there: Plan, past: Past, processors: Mapping[str, Processor] | None = None
) -> list[Growth]:
    """Where the world of ``there`` grew within the stretch, in order. ``config``: with what was
    set. Raises ConfigError: it has not all of that."""
    found: list[Growth] = []
    for tick, state in past.states:
        parts = parts_said(state.config)
        if tick and _goes_on(there.parts, parts):
            there = make_plan(config, processors, parts, grow=False)
            found.append(Growth(tick, there))
    return found


def parts_at_first(past: Past) -> tuple[Part, ...]:
    """What there was when the stretch began; nothing: the journal does not say. The first record of
    all does, of a world that begins at tick 0."""
    said = (parts_said(state.config) for _, state in past.states)
    return next((parts for parts in said if parts), ())


def _goes_on(before: Sequence[Part], after: Sequence[Part]) -> bool:
    """Whether ``after`` is ``before``, its last part perhaps larger, and more."""
    if tuple(before) == tuple(after) or len(after) < len(before):
        return False
    grown, last = after[len(before) - 1], before[-1]
    same = tuple(after[: len(before) - 1]) == tuple(before[:-1])
    return same and grown.entidades >= last.entidades and grown[::2] == last[::2]


def fill_grown(
    before: Plan, old: NDArray[np.uint8], plan: Plan, world: NDArray[np.uint8], tick: int,
    seed: int, settle: Callable[[Tables, int], object],
) -> Tables:  # fmt: skip
    """Make the world of ``plan`` in ``world`` (zeroed) out of that of ``before`` in ``old``, which
    stands still behind ``tick``; the tables for it. ``settle``: has them say what counts in a tick,
    which the new entities begin with.

    Raises:
        ProcessorError: the ``init`` of a processor fails for some of the new entities.
    """
    first, kept = before.n_blocks, before.blocks_bytes
    world[:kept] = old[:kept]
    tables = make_tables(plan, world)
    settle(tables, tick + 1)
    write_headers(plan, world)
    told = np.zeros(TOLD_WORDS, np.int64)
    first_genes(plan, tables, first, seed)
    arguments = (tables.blocks, tables.swarms, first, plan.n_blocks, np.uint64(seed))
    if init_range(*arguments, told.ctypes.data):
        raise ProcessorError("the init of a processor fails for some of the new entities")
    words = world.view(np.uint64)
    for index in range(first, plan.n_blocks):
        start = int(plan.blocks["offset"][index])
        for word in (L.D_TICK, L.D_ROW_TICK):
            words[(start + L.OFF_DYN[0]) // 8 + word] = tick
        words[(start + L.OFF_COMMIT) // 8] = commit_word(tick)
        view = BlockView(plan, words, index)
        if view.swarm.processor.silence:
            view.column(HEARD)[:] = tick
        if view.swarm.index >= len(before.swarms):
            free_at_first(plan, world, tables, index)
        elif view.swarm.living < view.swarm.entidades:
            leave_free(view, tables, 0)  # a larger ``capacidad`` is more room
    show_range(tables.blocks, tables.swarms, 0, plan.n_blocks)
    return tables
