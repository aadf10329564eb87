"""The loop of a dense round: a reading for many entities of a block at once, in order of entities.

Theory.  Readings of one tick are given to an entity in their order, one call after the other;
those of different entities do not meet, since a processor that has this loop looks at nobody else
and counts no steps (``compile.is_dense``). So a round, in which each entity has one reading at
most, may run in any order, and in order of entities it is what a Micro block's update is: a loop
over columns that LLVM makes vectors of. The bits are those of one by one. What depends on the order
of the readings, the figures of the tick and the messages, is gathered from the columns afterwards
(``kernels.rounds``).

Reads copy ``cur``, writes all of copy ``new``. A history by time is written as one row, at the slot
that is the same for all: where entities differ in how many values they have pushed, or somebody has
no reading, the round is refused and the readings run one by one.
"""

from __future__ import annotations

from corec.entities.codetext import after, get, make, put, scalars
from corec.entities.processor import Processor
from corec.entities.silence import HEARD, QUIET

REFUSED = -1
DRAWS_PER_READING = 16  # a Celu entity's readings of one tick draw apart by that many
BEAT_EVERY = 256  # entities


def dense_round(processor: Processor, cap: int) -> list[str]:
    """The body: returns how many ran well, or REFUSED. ``value``: the numbers of each entity's
    reading, ``plane`` bytes apart; ``order``: u4[n], which reading of the step it is."""
    read = bool(processor.values)
    numbers = ", ".join(f"values{a}[k]" for a in range(processor.width))
    draw = f"uint32((ordinal + int64(places[k])) * {DRAWS_PER_READING})"
    me = make(processor, cap, "a", [], draw, None, kept=read, even=True)
    call = f"checked(me, {'reading' if read else 'values0[k]'}"
    lines = [f"    n = min(n, {cap})", "    a = pointer(cur)", "    b = pointer(new)"]
    lines += scalars(processor, means=True)
    views = [
        f"values{a} = f4_at(value + {a} * plane + 4 * lo, count)" for a in range(processor.width)
    ]
    views.append("places = u4_at(order + 4 * lo, count)")
    lines += [
        *_even(processor, cap),
        f"    budget = int64({processor.steps_max})",
        f"    for lo in range(0, n, {BEAT_EVERY}):",
        f"        count = min({BEAT_EVERY}, n - lo)",
        "        running = u1_at(run + lo, count)",
        "        good = u1_at(ok + lo, count)",
        *(f"        {view}" for view in views),
        "        beat()",
        "        for k in range(count):",
        "            i = lo + k",
        *([f"            reading = Reading({numbers})"] if read else []),
        "            me = " + me,
        f"            outcome = {call}, running[k] != 0, budget)",
        "            valor = outcome[1]",
        "            fine = outcome[0] & ((valor - valor) == float32(0.0)) & (running[k] != 0)",
    ]
    said = {HEARD: "tick", QUIET: "0"} if processor.silence else {}
    for name, value in [("valor", "valor"), *after(processor, None)]:
        old = get(processor, cap, "a", name)
        kept = (
            f"pick(running[k] != 0, {said[name]}, {old})"
            if name in said
            else f"pick(fine, {value}, {old})"
        )
        lines.append("            " + put(processor, cap, "b", name, kept))
    lines += [
        "            good[k] = fine",
        f"    good = u1_at(ok, {cap})[:n]",
        f"    running = u1_at(run, {cap})[:n]",
        "    fine = count_marks(good)",
        "    failed = count_marks(running) - fine if fine < n else 0",
        "    if failed > 0:",  # one of them once more, by turns: to tell what it raised
        "        i = nth_failed(running, good, tick % failed)",
        "        lo, k, count = i, 0, 1",
        *(f"        {view}" for view in views),
        *([f"        reading = Reading({numbers})"] if read else []),
        "        me = " + me,
        f"        tell(told, tick, first_id + i, {call}, True, budget))",
        "    return fine",
    ]
    return lines


def _even(processor: Processor, cap: int) -> list[str]:
    """How many values every entity has pushed to each history by time; else the way out."""
    lines = []
    for ring in processor.history:
        if not ring.by_time:
            continue
        count = get(processor, cap, "a", ring.count_field)
        held = f"held_{ring.count_field}"
        lines += [
            "    i = 0",
            f"    {held} = {count}",
            "    other = int64(0)",
            "    for i in range(n):",
            f"        other |= {count} ^ {held}",
            "    if other != 0 or all_run == 0:",
            f"        return {REFUSED}",
        ]
    return lines
