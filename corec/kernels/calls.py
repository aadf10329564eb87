"""What a processor's compiled functions are called with (``address.call_kernel``): one table for
each, whose names the generated text has as parameters (``entities.codegen``) and whoever calls
gives as keywords. All are int64, so two that change places would compile.
"""

from __future__ import annotations

from typing import NamedTuple


class Update(NamedTuple):
    """A Micro block runs, in a tick. Returns how many ran well."""

    cur: int  # address of the hot copy that counts
    new: int  # … of the one that is written
    hist: int  # … of the histories
    n: int  # entities
    first_id: int
    tick: int
    seed: int
    params: int  # address of f32[PARAMS_MAX]
    means: int  # … of f32[MEANS_MAX]
    rnd: int  # … of room for numbers drawn ahead
    run: int  # … of u1[n]: who runs
    ok: int  # … of u1[n]: who ran well, written
    ahead: int  # what is read next, by the next block
    told: int  # address of a record, ``entities.told``
    pub: int  # … of the public columns as the last tick left them
    origin: int  # id of the swarm's first entity
    near: int  # address of what says who is near
    genes: int  # … of the genes that count
    own: int  # … of the swarm's own words, M_*
    everyone: int  # … of the directory of all entities


class Arrive(NamedTuple):
    """A Celu block gets readings, or those who fell silent run. Returns how many are done."""

    cur: int  # these as in ``Update``
    new: int
    hist: int
    first_id: int
    tick: int
    seed: int
    params: int
    means: int
    local: int  # address of u4[count]: whose reading
    value: int  # … of f4[count], and ``plane`` bytes on what a reading says next
    active: int  # … of u1[count]
    count: int  # type: ignore[assignment]  # instead of how often a tuple has something
    ordinal: int  # readings that the block had in this tick before
    activo: int  # address of u1[cap], written
    out_local: int  # … of u4[count]: who emits, written
    out_valor: int  # … of f4[count]: what
    ended: int  # … of u1[count]: ENDED_*
    sums: int  # … of f8[A_COLUMNS]
    told: int
    pub: int
    origin: int
    near: int
    plane: int
    shown: int  # address of what alerts name, written
    genes: int
    own: int
    everyone: int


class Dense(NamedTuple):
    """A reading for many entities of a Celu block at once (``entities.dense``). Returns how many
    ran well, or REFUSED."""

    cur: int  # these as in ``Update``
    new: int
    hist: int
    n: int
    first_id: int
    tick: int
    seed: int
    params: int
    means: int
    value: int  # address of f4[n], and ``plane`` bytes on what a reading says next
    plane: int
    order: int  # … of u4[n]: which reading of the step it is
    ordinal: int  # readings that the block had in this tick before
    all_run: int  # 1: everybody has a reading
    run: int
    ok: int
    told: int
    genes: int


class Init(NamedTuple):
    """The entities ``lo … hi−1`` of a block get the state they start with. Returns how many
    failed."""

    new: int  # these as in ``Update``
    hist: int
    first_id: int
    seed: int
    params: int
    lo: int
    hi: int
    told: int  # 0: nobody wants to know
    genes: int
