"""What ``me`` is made of in compiled code: one table of names, by which ``me_types`` lays out the
struct, ``cursor`` finds each place, and ``codetext`` fills it.

Members: what the entity may only read (id, tick, valor, params, means), what it may write (its
state fields), and the hidden ones (seed, draws so far, numbers drawn ahead, history addresses).
All numbers of one kind are of one type, so two that change places compile and compute something
else: nobody counts the places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from numba import types

from corec.entities import seeing
from corec.entities.meeting import Meeting
from corec.entities.post import has_post
from corec.entities.processor import Processor
from corec.kernels.address import COLUMN_TYPES

PREDRAWS_MAX: Final = 4
Typed = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Members:
    """Name and Numba type of each member, in the order of the struct."""

    readable: Typed
    writable: Typed
    hidden: Typed

    @property
    def all(self) -> Typed:
        """Every member."""
        return self.readable + self.writable + self.hidden

    def in_order(self, values: Mapping[str, str]) -> list[str]:
        """The values of all members, given by name, in their order.

        Raises:
            ValueError: a member has no value, or a value no member.
        """
        names = [name for name, _ in self.all]
        lacking, beside = set(names) - set(values), set(values) - set(names)
        if lacking or beside:
            raise ValueError(
                f"me: found no value for {sorted(lacking)}, no member for {sorted(beside)}; "
                "expected one for each (corec/entities/members.py, codetext.py)"
            )
        return [values[name] for name in names]


def members_of(
    processor: Processor, predraws: int, init: bool, meeting: Meeting | None
) -> Members:  # fmt: skip
    """The members of ``me`` with so many numbers drawn ahead; ``init``: as ``init`` gets it, where
    there was no tick before."""
    readable = (
        ("id", types.int64),  # int64: with an unsigned 64-bit one Numba computes in float64
        ("tick", types.int64),
        ("valor", types.float32),
        *((name, types.float32) for name, _ in processor.params),
        *((f"globals.{name}", types.float32) for name in processor.globals),
        *((f"mean_{name}", types.float32) for name in processor.means),
        *((gene.name, types.float32) for gene in processor.genes),
    )
    writable = tuple((f.name, COLUMN_TYPES[f.dtype]) for f in processor.state)
    hidden = [("_seed", types.uint64), ("_draw", types.uint32)]
    hidden += [(f"_r{k}", types.uint32) for k in range(predraws)]
    for ring in processor.history:
        hidden += [(f"{ring.name}__from", types.voidptr)] if ring.by_time else []
        hidden += [(f"{ring.name}__base", types.int64), (ring.count_field, types.int64)]
        hidden += [(f"{ring.name}__n0", types.int64)]
    if not init:
        hidden += _of_a_tick(processor, meeting)
    return Members(readable, writable, tuple(hidden))


def _of_a_tick(processor: Processor, meeting: Meeting | None) -> list[tuple[str, Any]]:
    """What only a tick gives: others, births, what is sent."""
    found = seeing.members(meeting) if meeting is not None else []
    found += [("_births", types.int64)] if processor.mortal else []
    found += [("_own", types.int64)] if has_post(processor) else []
    if processor.reads_inbox:
        found += [(name, types.int64) for name in ("_letters", "_first", "_behind")]
    return found
