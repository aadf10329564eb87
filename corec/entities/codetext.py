"""Pieces of a kernel's source text: a column of an entity, what is the same for all of a swarm,
``me`` (``codegen`` has the loops)."""

from __future__ import annotations

from corec.entities import mailing, seeing
from corec.entities.meeting import Meeting
from corec.entities.members import members_of
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
    processor: Processor, cap: int, source: str, draws: list[str], draw0: str,
    meeting: Meeting | None, *, init: bool = False, at: tuple[str, str] = ("0", "x0"),
    kept: bool = False, even: bool = False,
) -> str:  # fmt: skip
    """``me`` of entity ``i``. ``init``: for ``init``; ``at``: its cell in the stretch, ``x``;
    ``kept``: with what its reading says; ``even``: the counts of histories by time are ``held_…``,
    the same for all."""
    shared = [*(name for name, _ in processor.params), *(f"globals.{n}" for n in processor.globals)]
    values = {"id": "first_id + i", "tick": f"int64({0 if init else 'tick'})"}
    values["valor"] = get(processor, cap, source, "valor")
    values |= {name: f"p{k}" for k, name in enumerate(shared)}
    for k, name in enumerate(processor.means):
        values[f"mean_{name}"] = "float32(0.0)" if init else f"m{k}"
    for gene, offset in processor.gene_offsets(cap).items():
        values[gene] = f"get_f4(g, {offset} + 4 * i)"
    for f in processor.state:
        said = kept and f.name in processor.kept
        values[f.name] = f"reading.{f.name}" if said else get(processor, cap, source, f.name)
    values |= {"_seed": "uint64(seed)", "_draw": draw0}
    values |= {f"_r{k}": draw for k, draw in enumerate(draws)}
    values |= _rings(processor, cap, source, even)
    if not init:
        values |= seeing.met(meeting, *at)
        values |= {"_births": "births"} if processor.mortal else {}
        values |= mailing.of_one(processor)
    ordered = members_of(processor, len(draws), init, meeting).in_order(values)
    return f"make{'_init' if init else ''}((" + ", ".join(ordered) + ",))"


def _rings(processor: Processor, cap: int, source: str, even: bool) -> dict[str, str]:
    """The members that say where the histories of entity ``i`` lie, and how long they are."""
    values: dict[str, str] = {}
    offsets = processor.history_offsets(cap)
    for ring in processor.history:
        row = f"{offsets[ring.name]} + i * {ring.strides(cap)[0]}"
        count = get(processor, cap, source, ring.count_field)
        if ring.by_time:
            values |= {f"{ring.name}__from": "rings", f"{ring.name}__base": row}
            count = f"held_{ring.count_field}" if even else count
        else:
            values[f"{ring.name}__base"] = f"hist + {row}"
        values |= {ring.count_field: count, f"{ring.name}__n0": count}
    return values


def after(processor: Processor, meeting: Meeting | None) -> list[tuple[str, str]]:
    """(column, value) of what a call leaves beside ``valor``."""
    stored, _ = seeing.held(meeting)
    pairs = [(f.name, stored.get(f.name, f"me.{f.name}")) for f in processor.state]
    return pairs + [(r.count_field, f"read_{r.count_field}(me)") for r in processor.history]
