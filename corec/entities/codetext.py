"""Pieces of a kernel's source text: a column of an entity, what is the same for all of a swarm,
``me`` (``codegen`` has the loops)."""

from __future__ import annotations

from corec.entities import mailing, seeing
from corec.entities.meeting import Meeting
from corec.entities.processor import Processor
from corec.layout import MEANS_MAX, PARAMS_MAX


def place(processor: Processor, cap: int, name: str) -> tuple[str, str]:
    """(dtype, byte offset as an expression in ``i``) of entity ``i`` in column ``name``."""
    sizes = {"valor": ("f4", 4)} | {f.name: (f.dtype, f.itemsize) for f in processor.fields}
    dtype, size = sizes[name]
    return dtype, f"{processor.field_offsets(cap)[name]} + {size} * i"


def get(processor: Processor, cap: int, copy: str, name: str) -> str:
    """The value of column ``name`` of entity ``i`` in ``copy``."""
    dtype, at = place(processor, cap, name)
    return f"get_{dtype}({copy}, {at})"


def put(processor: Processor, cap: int, copy: str, name: str, value: str) -> str:
    """Store ``value`` in column ``name`` of entity ``i`` in ``copy``."""
    dtype, at = place(processor, cap, name)
    return f"put_{dtype}({copy}, {at}, {value})"


def shared(processor: Processor) -> int:
    """How many numbers it reads that are the same for a whole swarm."""
    return len(processor.params) + len(processor.globals)


def scalars(processor: Processor, means: bool) -> list[str]:
    """Lines that load the numbers that are the same for a whole swarm, or for a block."""
    lines = [f"    p = f4_at(params, {PARAMS_MAX})"]
    lines += [f"    p{k} = p[{k}]" for k in range(shared(processor))]
    lines += ["    g = pointer(genes)"] if processor.genes else []
    lines += ["    rings = pointer(hist)"] if any(r.by_time for r in processor.history) else []
    if means and processor.means:
        lines.append(f"    m = f4_at(means, {MEANS_MAX})")
        lines += [f"    m{k} = m[{k}]" for k in range(len(processor.means))]
    return lines


def make(
    processor: Processor, cap: int, source: str, draws: list[str], draw0: str, mean: bool,
    tick: str, met: list[str], kept: bool = False, even: bool = False,
) -> str:  # fmt: skip
    """``me`` of entity ``i``. ``mean`` false: for ``init``, where there was no tick before;
    ``kept``: with what its reading says; ``even``: the counts of histories by time are ``held_…``,
    the same for all."""
    values = ["first_id + i", f"int64({tick})", get(processor, cap, source, "valor")]
    values += [f"p{k}" for k in range(shared(processor))]
    values += [f"m{k}" if mean else "float32(0.0)" for k in range(len(processor.means))]
    values += [f"get_f4(g, {at} + 4 * i)" for at in processor.gene_offsets(cap).values()]
    values += [
        f"reading.{f.name}" if kept and f.name in processor.kept
        else get(processor, cap, source, f.name)
        for f in processor.state
    ]  # fmt: skip
    values += ["uint64(seed)", draw0, *draws]
    offsets = processor.history_offsets(cap)
    for ring in processor.history:
        between, _ = ring.strides(cap)
        row = f"{offsets[ring.name]} + i * {between}"
        values += ["rings", row] if ring.by_time else [f"hist + {row}"]
        count = get(processor, cap, source, ring.count_field)
        if even and ring.by_time:
            count = f"held_{ring.count_field}"
        values += [count, count]
    values += met
    values += ["births"] if processor.mortal and mean else []
    values += mailing.of_one(processor) if mean else []
    return "make((" + ", ".join(values) + ",))"


def after(processor: Processor, meeting: Meeting | None) -> list[tuple[str, str]]:
    """(column, value) of what a call leaves beside ``valor``."""
    stored, _ = seeing.held(meeting)
    pairs = [(f.name, stored.get(f.name, f"me.{f.name}")) for f in processor.state]
    return pairs + [(r.count_field, f"read_{r.count_field}(me)") for r in processor.history]
