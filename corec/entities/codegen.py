"""The source text of a processor's kernels: a module of three C functions, written to the cache.

A real file, because Numba caches compiled code on disk only for functions that come from one; its
name carries a hash of everything that decides what it does (see ``compile.py``), so a stale kernel
is never loaded. Columns are reached by constant offsets from one pointer per copy: LLVM then
checks two pointers for overlap before the vector loop, not each pair of columns.

Arguments are int64 (addresses and counts); results come back through memory or as int64.
"""

from __future__ import annotations

from corec.entities.processor import Processor

UPDATE_ARGS = (
    "cur", "new", "hist", "n", "first_id", "tick", "seed", "params", "means", "rnd", "run", "ok",
)  # fmt: skip
ARRIVE_ARGS = (
    "cur", "new", "hist", "first_id", "tick", "seed", "params", "means", "local", "value",
    "active", "count", "ordinal", "activo", "out_local", "out_valor", "bad", "sums",
)  # fmt: skip
INIT_ARGS = ("new", "hist", "first_id", "seed", "params", "lo", "hi")

_NUMPY = {
    "f4": "float32", "f8": "float64", "i4": "int32", "u4": "uint32", "i8": "int64",
    "u8": "uint64", "i2": "int16", "u2": "uint16", "i1": "int8", "u1": "uint8",
}  # fmt: skip


def _columns(processor: Processor, cap: int, base: str, prefix: str) -> list[str]:
    offsets = processor.field_offsets(cap)
    size = processor.copy_bytes(cap)
    lines = [f"    {prefix} = u1_at({base}, {size})"]
    for name, dtype, itemsize in [("valor", "f4", 4)] + [
        (f.name, f.dtype, f.itemsize) for f in processor.fields
    ]:
        start = offsets[name]
        end = start + cap * itemsize
        lines.append(f"    {prefix}_{name} = {prefix}[{start}:{end}].view(np.{_NUMPY[dtype]})")
    return lines


def _scalars(processor: Processor, means: bool) -> list[str]:
    lines = ["    p = f4_at(params, 16)"]
    lines += [f"    p{k} = p[{k}]" for k in range(len(processor.params))]
    if means and processor.means:
        lines.append("    m = f4_at(means, 8)")
        lines += [f"    m{k} = m[{k}]" for k in range(len(processor.means))]
    return lines


def _make(
    processor: Processor, cap: int, source: str, draws: list[str], draw0: str, mean: bool, tick: str
) -> str:
    values = ["uint32(first_id + i)", f"uint64({tick})", f"{source}_valor[i]"]
    values += [f"p{k}" for k in range(len(processor.params))]
    values += [f"m{k}" if mean else "float32(0.0)" for k in range(len(processor.means))]
    values += [f"{source}_{f.name}[i]" for f in processor.state]
    values += ["uint64(seed)", draw0, *draws]
    offsets = processor.history_offsets(cap)
    for ring in processor.history:
        row = f"hist + {offsets[ring.name]} + i * {ring.slots * 4}"
        count = f"{source}_{ring.count_field}[i]"
        values += [row, count, count]
    return "make((" + ", ".join(values) + ",))"


def _after(processor: Processor) -> list[tuple[str, str]]:
    pairs = [(f.name, f"me.{f.name}") for f in processor.state]
    return pairs + [(r.count_field, f"read_{r.count_field}(me)") for r in processor.history]


def _update(processor: Processor, cap: int, predraws: int) -> list[str]:
    groups = (cap + 7) // 4 * 4
    draws = [f"rnd{k}[i]" for k in range(predraws)]
    lines = _columns(processor, cap, "cur", "a") + _columns(processor, cap, "new", "b")
    lines += _scalars(processor, means=True)
    lines += [
        f"    scratch = u1_at(rnd, {groups * 4 * max(1, predraws)})",
        "    shift = first_id & 3",
        "    group = uint64(first_id) >> uint64(2)",
    ]
    for k in range(predraws):
        lines += [
            f"    words{k} = scratch[{k * groups * 4}:{(k + 1) * groups * 4}].view(np.uint32)",
            f"    draws{k} = words{k}[: ((shift + n + 3) >> 2) << 2]",
            f"    fill_random(draws{k}, group, uint64(tick), uint64({k}), uint64(seed))",
            f"    rnd{k} = words{k}[shift : shift + n]",
        ]
    lines += [
        f"    running = u1_at(run, {cap})",
        f"    good = u1_at(ok, {cap})",
        "    for i in range(n):",
        "        me = " + _make(processor, cap, "a", draws, "uint32(0)", True, "tick"),
        "        fine, valor = checked(me)",
        "        fine = fine & ((valor - valor) == float32(0.0)) & (running[i] != 0)",
        "        b_valor[i] = valor if fine else a_valor[i]",
    ]
    for name, value in _after(processor):
        lines.append(f"        b_{name}[i] = {value} if fine else a_{name}[i]")
    lines += [
        "        good[i] = fine",
        "    total = int64(0)",
        "    for i in range(n):",
        "        total += int64(good[i])",
        "    return total",
    ]
    return lines


def _arrive(processor: Processor, cap: int) -> list[str]:
    lines = _columns(processor, cap, "cur", "a") + _columns(processor, cap, "new", "b")
    lines += _scalars(processor, means=True)
    lines += [
        "    locals_ = u4_at(local, count)",
        "    values = f4_at(value, count)",
        "    actives = u1_at(active, count)",
        f"    on = u1_at(activo, {cap})",
        "    emitted_local = u4_at(out_local, count)",
        "    emitted_valor = f4_at(out_valor, count)",
        "    failed = u4_at(bad, count)",
        "    s = f8_at(sums, 8)",
        "    mean = s[0]",
        "    umbral = float32(s[1])",
        "    emitted = 0",
        "    failures = 0",
        "    done = count",
        "    for j in range(count):",
        "        i = int64(locals_[j])",
        "        if on[i] != actives[j]:",
        "            on[i] = actives[j]",
        "        if actives[j] == 0:",
        "            continue",
    ]
    for ring in processor.history:
        name = ring.count_field
        lines += [
            f"        if b_{name}[i] - a_{name}[i] > uint32(HISTORY_SPARE - PUSHES_PER_CALL_MAX):",
            "            done = j",
            "            break",
        ]
    lines += [
        "        draw = uint32((ordinal + j) * 16)",
        "        me = " + _make(processor, cap, "b", [], "draw", True, "tick"),
        "        fine, valor = checked(me, values[j])",
        "        s[5] += 1.0",
        "        if fine and (valor - valor) == float32(0.0):",
        "            b_valor[i] = valor",
        *[f"            b_{name}[i] = {value}" for name, value in _after(processor)],
        "            s[2] += 1.0",
        "            d = float64(valor) - mean",
        "            s[3] += d",
        "            s[4] += d * d",
        "            if valor > umbral:",
        "                emitted_local[emitted] = uint32(i)",
        "                emitted_valor[emitted] = valor",
        "                emitted += 1",
        "        else:",
        "            failed[failures] = uint32(i)",
        "            failures += 1",
        "    s[6] = emitted",
        "    s[7] = failures",
        "    return done",
    ]
    return lines


def _init(processor: Processor, cap: int) -> list[str]:
    lines = _columns(processor, cap, "new", "b") + _scalars(processor, means=False)
    lines += ["    faults = 0", "    for i in range(lo, hi):", "        b_valor[i] = float32(0.0)"]
    for f in processor.state:
        lines.append(f"        b_{f.name}[i] = {f.default!r}")
    for ring in processor.history:
        lines.append(f"        b_{ring.count_field}[i] = 0")
    if processor.init is not None:
        lines += [
            "        me = make_init("
            + _make(processor, cap, "b", [], "uint32(0)", False, "0").removeprefix("make("),
            "        fine, valor = checked_init(me)",
            "        if fine and (valor - valor) == float32(0.0):",
            "            b_valor[i] = valor",
            *[f"            b_{name}[i] = {value}" for name, value in _after(processor)],
            "        else:",
            "            faults += 1",
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


def kernel_source(processor: Processor, cap: int, predraws: int, key: str) -> str:
    """The module text for ``processor`` in blocks of ``cap`` entities; ``key`` finds its parts."""
    lines = [
        f'"""Kernels of {processor.name}, {cap} entities a block. Made by CoreC; not to edit."""',
        "import numpy as np",
        "from numba import cfunc, float32, float64, int64, uint32, uint64",
        "from corec.entities.compile import parts",
        "from corec.kernels.address import f4_at, f8_at, u1_at, u4_at",
        "from corec.kernels.philox import fill_random",
        "from corec.layout import HISTORY_SPARE, PUSHES_PER_CALL_MAX",
        "",
        f'_parts = parts("{key}")',
        "make, make_init = _parts.make, _parts.make_init",
        "checked, checked_init = _parts.checked, _parts.checked_init",
    ]
    lines += [
        f'read_{ring.count_field} = _parts.readers["{ring.count_field}"]'
        for ring in processor.history
    ]
    if processor.kind == "micro":
        lines += _function("update", UPDATE_ARGS, _update(processor, cap, predraws))
    else:
        lines += _function("arrive", ARRIVE_ARGS, _arrive(processor, cap))
    lines += _function("init", INIT_ARGS, _init(processor, cap))
    return "\n".join(lines) + "\n"
