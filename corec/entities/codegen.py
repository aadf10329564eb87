"""The source text of a processor's kernels: a module of C functions, written to the cache.

A real file, because Numba caches compiled code on disk only for functions that come from one; its
name carries a hash of everything that decides what it does (see ``compile.py``), so a stale kernel
is never loaded. Columns are reached by constant offsets from one pointer per copy: LLVM then
checks two copies for overlap before the vector loop, not each pair of columns (more than eight
such pairs, and it does not vectorise).

Arguments are int64 (addresses and counts); results come back through memory or as int64.
"""

from __future__ import annotations

from corec.entities import lives, mailing, seeing
from corec.entities.codetext import after, get, make, put, scalars
from corec.entities.dense import DRAWS_PER_READING, dense_round
from corec.entities.meeting import STRETCH as STRETCH_GRID
from corec.entities.meeting import Meeting
from corec.entities.processor import Processor
from corec.entities.silence import HEARD, QUIET
from corec.kernels import desc as K
from corec.kernels.calls import Arrive, Dense, Init, Update
from corec.layout import HISTORY_SPARE, PUSHES_PER_CALL_MAX

_WELL = "outcome[0] and (valor - valor) == float32(0.0)"
_IMPORTS_STATS = "from corec.kernels.stats import count_marks"

STRETCH = 256
"""Entities between two requests for memory that comes next, a multiple of four. As many lines of
the sensor as a core waits for at a time (16 of 24), once in the time that bringing them takes."""


def _update(processor: Processor, cap: int, predraws: int, meeting: Meeting | None) -> list[str]:
    drawn = (cap + 7) // 4 * 16  # bytes of one draw of all entities, in whole groups of four
    draws = [f"get_u4(r, {k * drawn} + 4 * (shift + i))" for k in range(predraws)]
    lines = [f"    n = min(n, {cap})", "    a = pointer(cur)", "    b = pointer(new)"]
    lines += [*scalars(processor, means=True), *seeing.meet(meeting)]
    lines += lives.lines_before(processor) + mailing.lines_before(processor)
    if predraws:
        lines += [
            "    r = pointer(rnd)",
            "    shift = first_id & 3",
            "    group = uint64(first_id) >> uint64(2)",
        ]
    stretch = STRETCH_GRID if meeting is not None and meeting.grid is not None else STRETCH
    step = processor.copy_bytes(cap) * stretch // cap // 64 * 64 + 64
    lines += [
        f"    budget = int64({processor.steps_max})",
        f"    for lo in range(0, n, {stretch}):",
        f"        count = min({stretch}, n - lo)",
        "        running = u1_at(run + lo, count)",
        "        good = u1_at(ok + lo, count)",
        f"        fetch(ahead, {step})",
        f"        ahead += {step}",
        "        beat()",
    ]
    if predraws:
        lines += [
            "        words = ((shift + count + 3) >> 2) << 2",
            "        first = group + (uint64(lo) >> uint64(2))",
        ]
    for k in range(predraws):
        place = f"rnd + {k * drawn} + 4 * lo"
        draw = f"uint64({k}), uint64(seed)"
        lines.append(f"        fill_random(u4_at({place}, words), first, uint64(tick), {draw})")
    lines += _entities(processor, cap, draws, meeting)
    alone = make(processor, cap, "a", draws, "uint32(0)", meeting)
    lines += lives.settlement(
        processor, lambda name, value: put(processor, cap, "b", name, value),
        lambda name: get(processor, cap, "a", name), seeing.held(meeting)[0],
    )  # fmt: skip
    lines += [
        f"    good = u1_at(ok, {cap})[:n]",
        f"    running = u1_at(run, {cap})[:n]",
        "    fine = count_marks(good)",
        "    failed = count_marks(running) - fine if fine < n else 0",
        "    if failed > 0:",  # one of them once more, by turns: to tell what it raised
        "        i = nth_failed(running, good, tick % failed)",
        *seeing.see(meeting, "i", "1", "        "),
        *mailing.begun(processor, "        "),
        *lives.begun(processor, "        "),
        "        me = " + alone,
        "        tell(told, tick, first_id + i, apart(me, True, budget))",
        *lives.undone(processor, "        "),
        *mailing.undone(processor, "        "),
        "    return fine",
    ]
    return lines


def _entities(
    processor: Processor, cap: int, draws: list[str], meeting: Meeting | None
) -> list[str]:
    """The loop over the entities of a stretch; on a grid, over one part of a row after the other:
    in each the neighbours lie at constant distances."""
    grid = meeting is not None and meeting.grid is not None
    made = make(processor, cap, "a", draws, "uint32(0)", meeting, at=("k", "x0 + k"))
    body = [
        f"i = {'part' if grid else 'lo'} + k", *seeing.bring(processor, meeting),
        *lives.begun(processor, ""), *mailing.begun(processor, ""),
        "me = " + made,
        "outcome = checked(me, running[k] != 0, budget)",
        "valor = outcome[1]",
        "budget = outcome[2]",
        " & ".join(
            [
                "fine = outcome[0]",
                "((valor - valor) == float32(0.0))",
                "(running[k] != 0)",
                *seeing.held(meeting)[1],
            ]
        ),
    ]
    for name, value in [("valor", "valor"), *after(processor, meeting)]:
        kept = f"pick(fine, {value}, {get(processor, cap, 'a', name)})"
        body.append(put(processor, cap, "b", name, kept))
    body.append("good[k] = fine")
    undone = [*lives.undone(processor, "    "), *mailing.undone(processor, "    ")]
    body += ["if not fine:", *undone] if undone else []
    if not grid:
        return ["        for k in range(count):", *(f"            {line}" for line in body)]
    assert meeting is not None
    assert meeting.grid is not None
    return [
        "        part = lo",
        "        while part < lo + count:",
        *seeing.see(
            meeting, "part", f"min(lo + count - part, {meeting.grid.sides[0]} - x0)", " " * 12
        ),
        "            running = u1_at(run + part, take)",
        "            good = u1_at(ok + part, take)",
        "            for k in range(take):",
        *(f"                {line}" for line in body),
        "            part += take",
    ]


def _reading(processor: Processor, cap: int) -> list[str]:
    """What a reading does before, and without, a run of its entity."""
    lines = ["        if on[i] != actives[j]:", "            on[i] = actives[j]"]
    if processor.silence:
        lines += ["        " + put(processor, cap, "b", HEARD, "tick"),
                  "        " + put(processor, cap, "b", QUIET, "0")]  # fmt: skip
    return [*lines, "        if actives[j] == 0:", "            how[j] = 0", "            continue"]


def _numbers(processor: Processor) -> list[str]:
    """Those of reading j, in order."""
    return ["values[j]", *(f"values{a}[j]" for a in range(1, processor.width))]


def _silent_entity(processor: Processor, cap: int) -> list[str]:
    """A silence is told once, also when telling it fails."""
    return ["        " + put(processor, cap, "b", QUIET, "1")]


def _before_readings(processor: Processor, cap: int) -> list[str]:
    """What the loop over readings needs: where they are, where what comes of them goes."""
    return [
        "    locals_ = u4_at(local, count)",
        "    values = f4_at(value, count)",
        "    actives = u1_at(active, count)",
        *(f"    values{a} = f4_at(value + {a} * plane, count)" for a in range(1, processor.width)),
        f"    on = u1_at(activo, {cap})",
        "    emitted_local = u4_at(out_local, count)",
        "    emitted_valor = f4_at(out_valor, count)",
        "    how = u1_at(ended, count)",
        *(["    named = pointer(shown)"] if processor.alert_fields else []),
        f"    s = f8_at(sums, {K.A_COLUMNS})",
        f"    umbral = float32(s[{K.A_UMBRAL}])",
        f"    good, total, moment = s[{K.A_GOOD}], s[{K.A_SUM}], s[{K.A_MOMENT}]",
        "    runs = 0",
        "    emitted = 0",
        "    failures = 0",
        "    done = count",
        f"    left = int64(s[{K.A_BUDGET}])",
        f"    budget = left if left > 0 else int64({processor.steps_max})",
        "    beat()",
        "    for j in range(count):",
        "        i = int64(locals_[j])",
    ]


def _arrive(
    processor: Processor, cap: int, meeting: Meeting | None, silent: bool = False
) -> list[str]:
    """The loop over readings; ``silent``: over entities that had none for so long."""
    lines = ["    a = pointer(cur)", "    b = pointer(new)"]
    lines += [*scalars(processor, means=True), *seeing.meet(meeting)]
    read = bool(processor.values) and not silent
    call = "checked_silence(me" if silent else f"checked(me, {'reading' if read else 'values[j]'}"
    width = len(processor.alert_fields)
    dtypes = {f.name: f.dtype for f in processor.state}
    lines += _before_readings(processor, cap)
    lines += _silent_entity(processor, cap) if silent else _reading(processor, cap)
    for ring in processor.history:
        pushed, before = (get(processor, cap, copy, ring.count_field) for copy in "ba")
        lines += [
            f"        if {pushed} - {before} > {HISTORY_SPARE - PUSHES_PER_CALL_MAX}:",
            "            done = j",
            "            break",
        ]
    lines += [
        f"        draw = uint32({0 if silent else f'(ordinal + j) * {DRAWS_PER_READING}'})",
        *seeing.see(meeting, "i", "1", "        "),
        *(["        reading = Reading(" + ", ".join(_numbers(processor)) + ")"] if read else []),
        *mailing.begun(processor, "        "),
        "        me = " + make(processor, cap, "b", [], "draw", meeting, kept=read),
        f"        outcome = {call}, True, budget)",
        "        valor = outcome[1]",
        "        budget = outcome[2]",
        "        runs += 1",
        f"        if {' and '.join([_WELL, *seeing.held(meeting)[1]])}:",
        "            " + put(processor, cap, "b", "valor", "valor"),
        *(
            f"            {put(processor, cap, 'b', name, v)}"
            for name, v in after(processor, meeting)
        ),
        f"            how[j] = {K.ENDED_WELL}",
        "            x = float64(valor)",
        "            good += 1.0",
        "            total += x",
        "            if good > 1.0:",
        "                d = good * x - total",
        "                moment += d * d / (good * (good - 1.0))",
        "            if valor > umbral:",
        "                emitted_local[emitted] = uint32(i)",
        "                emitted_valor[emitted] = valor",
        *(
            f"                put_{dtypes[name]}(named, 8 * ({width} * emitted + {k}), me.{name})"
            for k, name in enumerate(processor.alert_fields)
        ),
        "                emitted += 1",
        "        else:",
        f"            how[j] = {K.ENDED_BADLY}",
        *mailing.undone(processor, "            "),
        "            failures += 1",
        "            if failures == 1 or (tick + j) % failures == 0:",  # any of them, by turns
        "                tell(told, tick, first_id + i, outcome)",
        f"    s[{K.A_GOOD}], s[{K.A_SUM}], s[{K.A_MOMENT}] = good, total, moment",
        f"    s[{K.A_RUNS}] += runs",
        f"    s[{K.A_MESSAGES}] = emitted",
        f"    s[{K.A_FAILURES}] = failures",
        f"    s[{K.A_BUDGET}] = float64(budget)",
        "    return done",
    ]
    return lines


def _init(processor: Processor, cap: int, meeting: Meeting | None) -> list[str]:
    lines = ["    b = pointer(new)", *scalars(processor, means=False), "    faults = 0"]
    lines.append(f"    budget = int64({processor.steps_max})")
    lines.append("    for i in range(lo, hi):")
    stored, finite = seeing.held(meeting)
    starts = [("valor", "float32(0.0)"), *((f.name, repr(f.default)) for f in processor.fields)]
    starts = [
        (name, stored[name].replace(f"me.{name}", f"float32({value})") if name in stored else value)
        for name, value in starts
    ]
    starts += seeing.anywhere(processor, meeting)
    lines += ["        " + put(processor, cap, "b", name, value) for name, value in starts]
    if processor.init is not None:
        lines += [
            "        me = "
            + make(processor, cap, "b", [], "uint32(0)", meeting, init=True),
            "        outcome = checked_init(me, True, budget)",
            "        valor = outcome[1]",
            "        budget = outcome[2]",
            f"        if {' and '.join([_WELL, *finite])}:",
            "            " + put(processor, cap, "b", "valor", "valor"),
            *(
                "            "
                + put(processor, cap, "b", f.name, stored.get(f.name, f"me.{f.name}"))
                for f in processor.state
            ),
            "        else:",
            "            faults += 1",
            "            if told != 0:",
            "                tell(told, 0, first_id + i, outcome)",
        ]
    lines.append("    return faults")
    return lines


def _function(name: str, args: tuple[str, ...], body: list[str]) -> list[str]:
    signature = "int64(" + ", ".join(["int64"] * len(args)) + ")"
    return [
        "",
        "",
        f'@cfunc("{signature}", cache=True, error_model="numpy")',
        f"def {name}({', '.join(args)}):",
        *body,
    ]


def kernel_source(
    processor: Processor, cap: int, predraws: int, meeting: Meeting | None, key: str, dense: bool
) -> str:
    """The module text for ``processor`` in blocks of ``cap`` entities; ``key`` finds its parts."""
    lines = [
        f'"""Kernels of {processor.name}, {cap} entities a block. Made by CoreC; not to edit."""',
        "import numpy as np",
        "from numba import cfunc, float32, float64, int64, uint32, uint64",
        "from corec.entities.compile import parts",
        "from corec.entities.steps import beat",
        "from corec.entities.told import nth_failed, tell",
        "from corec.kernels.address import GET, PUT, f4_at, f8_at, fetch, pick, pointer",
        "from corec.kernels.address import i8_at, u1_at, u4_at",
        "from corec.kernels.philox import fill_random",
        _IMPORTS_STATS,
        "",
        f'_parts = parts("{key}")',
        "make, make_init = _parts.make, _parts.make_init",
        "checked, checked_init = _parts.checked, _parts.checked_init",
        "checked_silence, apart = _parts.checked_silence, _parts.apart",
    ]
    links = {"i8"} if meeting is not None and meeting.graph is not None else set()
    dtypes = sorted({"f4", "u4", *links, *(field.dtype for field in processor.fields)})
    lines += [f'get_{d}, put_{d} = GET["{d}"], PUT["{d}"]' for d in dtypes]
    if processor.values:
        lines.append("Reading = _parts.reading")
    lines += [
        f'read_{ring.count_field} = _parts.readers["{ring.count_field}"]'
        for ring in processor.history
    ]
    if meeting is not None and meeting.spatial and meeting.graph is None:
        lines.append("near_rows = _parts.near_rows")
    if processor.mortal:
        lines.insert(lines.index(_IMPORTS_STATS), lives.IMPORTS)
    if processor.mortal or processor.sends or processor.reads_inbox:
        lines.insert(lines.index(_IMPORTS_STATS), mailing.IMPORTS)
    if meeting is not None and meeting.plane is not None:
        lines.insert(lines.index(_IMPORTS_STATS), seeing.IMPORTS)
    if processor.kind == "micro":
        lines += _function("update", Update._fields, _update(processor, cap, predraws, meeting))
    else:
        lines += _function("arrive", Arrive._fields, _arrive(processor, cap, meeting))
    if dense:
        lines += _function("dense", Dense._fields, dense_round(processor, cap))
    if processor.silence:
        lines += _function("silent", Arrive._fields, _arrive(processor, cap, meeting, silent=True))
    lines += _function("init", Init._fields, _init(processor, cap, meeting))
    return "\n".join(lines) + "\n"
