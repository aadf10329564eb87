"""The tables that the block kernels are driven by: one int64 row per block, one per swarm.

Made once per process from the plan and the compiled processors; addresses are this process's own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from shm.layout import Counted

# row of a block, int64
_b = Counted()
B_BASE: Final = _b()  # address of the block
B_N: Final = _b()
B_FIRST: Final = _b()
B_HOT: Final = _b()  # address of hot copy 0
B_LOG: Final = _b()  # address of the message log
B_LOG_CAP: Final = _b()
B_HIST: Final = _b()  # address of the history area
B_SWARM: Final = _b()
B_INDEX: Final = _b()
B_SENT: Final = _b()  # how much of what arrives in this tick was sent by entities, ``mail``
B_COLUMNS: Final = _b.end

# row of a swarm, int64
_w = Counted()
W_KIND: Final = _w()
W_CANAL: Final = _w()
W_CAP: Final = _w()
W_COPY_BYTES: Final = _w()
W_COLD: Final = _w()  # offset of the cold pairs from hot copy 0
W_UPDATE: Final = _w()
W_ARRIVE: Final = _w()
W_INIT: Final = _w()
W_PARAMS: Final = _w()  # address of f32[PARAMS_MAX]
W_MEANS: Final = _w()  # number of means
W_FIELDS: Final = _w()  # number of columns, valor first, history counters last
W_STATE_FIELDS: Final = _w()  # … of them state (valor included): what a repair hands on
W_MAX_ERRORES: Final = _w()  # float64 bits: share of failures that starts a repair
W_UMBRAL_MIN: Final = _w()  # float64 bits of float32 numbers, as the two that follow
W_UMBRAL_MAX: Final = _w()
W_UMBRAL_FIRST: Final = _w()
W_SILENCE: Final = _w()  # ticks without a reading that are a silence; 0: none is
W_SILENT: Final = _w()  # the function that runs then
W_HEARD: Final = _w()  # offset in a copy: i8[n], the tick of the last reading
W_QUIET: Final = _w()  # u1[n], whether the silence since then was told
W_MEAN_OFFSET: Final = _w(L.MEANS_MAX)  # MEANS_MAX offsets in a copy
W_FIELD_OFFSET: Final = _w(L.FIELDS_MAX + 1)
W_FIELD_SIZE: Final = _w(L.FIELDS_MAX + 1)
W_FIRST_ID: Final = _w()  # of the swarm's first entity
W_PUBLIC: Final = _w()  # address of copy 0 of the public columns
W_PUBLIC_BYTES: Final = _w()  # of one copy
W_PUBLIC_FIELDS: Final = _w()  # number of public fields
W_PUBLIC_FROM: Final = _w(L.PUBLIC_MAX)  # PUBLIC_MAX offsets in a hot copy
W_PUBLIC_TO: Final = _w(L.PUBLIC_MAX)  # … in a copy of the public columns
W_PUBLIC_SIZE: Final = _w(L.PUBLIC_MAX)  # bytes of a value
W_ALERT_FIELDS: Final = _w()  # number of fields that an alert names
W_ALERT_FROM: Final = _w(L.ALERT_FIELDS_MAX)  # ALERT_FIELDS_MAX offsets in a hot copy
W_ALERT_SIZE: Final = _w(L.ALERT_FIELDS_MAX)  # bytes of a value
W_GENES: Final = _w()  # number of genes
W_GENES_OFF: Final = _w()  # offset of copy 0 of the genes from hot copy 0
W_GENES_BYTES: Final = _w()  # of one copy
W_GENES_TABLE: Final = _w()  # address of f32[3 · genes]: low, high, sigma of each
W_NEAR: Final = _w()  # address of what says who is near (``world.near``)
W_VIVO: Final = _w()  # offset in a copy: u1[n], who lives; −1: nobody is born or dies
W_GENERACION: Final = _w()  # u4[n]
W_BIRTHS: Final = _w()  # address of the births of a step, ``entities.lives``
W_MIN_FITNESS: Final = _w()  # float64 bits: below it a block is weak
W_OWN: Final = _w()  # address of the swarm's own words, M_*; 0: it needs none
W_SENDS: Final = _w()  # values that a call may send
W_INBOX: Final = _w()  # 1: its entities read me.inbox
W_POST: Final = _w()  # offset of copy 0 of the post from hot copy 0
W_POST_BYTES: Final = _w()  # of one copy; 0: there is none
W_CHILDREN: Final = _w()  # offset in a copy
W_RECORD: Final = _w()  # bytes of a child
W_MOVES: Final = _w()  # offset of the moves in a copy
W_DENSE: Final = _w()  # the function for a dense round of readings, 0: it has none
W_WIDTH: Final = _w()  # numbers in a reading
W_EVERYONE: Final = _w()  # address of the directory of all entities, ``everyone``; 0: none
W_COLUMNS: Final = _w.end

# own words of a swarm, int64: memory of one process, for the step of a block that runs
_m = Counted()
M_COUNT: Final = _m()  # values that the block has sent in this tick
M_ROOM: Final = _m()  # … and may send
M_TABLE: Final = _m()  # address of SEND[room]
M_START: Final = _m()  # how many were sent when the call began
M_LIMIT: Final = _m()  # values that a call may send
M_LAST: Final = _m()  # id of the last one that found no room
M_BIRTHS: Final = _m()  # address of the births of a step
M_SETTLES: Final = _m()  # 1: children may find a place in another block of the bloque
M_LEFT: Final = _m()  # how many of this step's do not find one in their own
M_STARTS: Final = _m()  # address of u4[cap + 1]: where each entity's values begin …
M_LETTERS: Final = _m()  # … in the f4 at this address
M_FIRST: Final = _m()  # id of the block's first entity
M_MOVES: Final = _m()  # how many of this step want to move …
M_MOVERS: Final = _m()  # … and the address of u4[cap] that says which
M_RANGES: Final = _m()  # number of swarms
M_SWARMS: Final = _m()  # of each: first id, end id, whether it takes what is sent
BIRTHS_HEAD: Final = 64
"""Bytes before the records of births (``entities.lives``)."""

# int64 arguments of a tick
_t = Counted()
T_TICK: Final = _t()
T_SEED: Final = _t()
T_EVERY: Final = _t()  # persist.every_ticks, 0 = no rows
T_UNIX_NS: Final = _t()
T_SCRATCH: Final = _t()  # address of the scratch memory, see below
T_NO_LOG: Final = _t(3)  # 1: messages are not kept for the next row
T_COLUMNS: Final = _t.end

# float64 arguments of a tick
_f = Counted()
F_CARGA: Final = _f()
F_COLUMNS: Final = _f.end

# scratch arrays, of the sizes in ``scratch_layout``
_x = Counted()
X_RND: Final = _x()
X_RUN: Final = _x()
X_OK: Final = _x()
X_MEANS: Final = _x()
X_SUMS: Final = _x()
X_LOCAL: Final = _x()
X_ENDED: Final = _x()
X_PICKED: Final = _x()
X_REPAIRS: Final = _x()
X_DYN: Final = _x()
X_OVER: Final = _x()
X_PLACE: Final = _x()
X_COUNTS: Final = _x()
X_TOLD: Final = _x()  # why entities failed, ``entities.told``: block b at place b % TOLD_PLACES
X_SILENT: Final = _x()  # the entities of a step that fell silent
X_NEAR: Final = _x()  # cells about the stretch that runs, ``entities.meeting``
X_SHOWN: Final = _x()  # u8[messages of a step, fields]: what alerts name of them, as in ``frames``
X_ORDER: Final = _x()  # u4[n]: of a dense round, which reading of the step an entity has
X_COLUMN: Final = _x()  # f4[numbers in a reading, cap]: what it says
X_ARRAYS: Final = _x.end

# float64 that a Celu block's kernel is given and adds to: the figures of the tick so far
_a = Counted()
A_UMBRAL: Final = _a()
A_GOOD: Final = _a()  # good runs
A_SUM: Final = _a()  # Σ x of their values
A_MOMENT: Final = _a()  # Σ (x − mean)²
A_RUNS: Final = _a()
A_MESSAGES: Final = _a()  # of this step
A_FAILURES: Final = _a()  # of this step
A_BUDGET: Final = _a()  # loop steps that the next call may take; 0: what the processor says
A_COLUMNS: Final = _a.end

# how a reading of a Celu block ended; 0: nothing ran
ENDED_WELL: Final = 1
ENDED_BADLY: Final = 2

STEP_INPUTS_MAX: Final = 4096  # readings a block takes in one step
TOLD_PLACES: Final = 64
# words of a record of ``entities.told``, int64
(
    TOLD_TICK, TOLD_ENTITY, TOLD_CODE, TOLD_PICKLE, TOLD_PICKLE_BYTES, TOLD_RETURNED
) = range(6)  # fmt: skip
TOLD_WORDS: Final = 8
TOLD_BYTES: Final = 8 * TOLD_WORDS
PLACE_COUNTS: Final = 128  # of a histogram: four counts of each place, see ``stats``


def scratch_layout(
    cap: int, near_bytes: int = 0, alert_fields: int = 0, width: int = 1
) -> tuple[NDArray[np.int64], int]:
    """Offsets i64[X_ARRAYS] of the scratch arrays of one process (largest block: ``cap``), and the
    bytes of all.

    ``alert_fields``: the most that a processor's alerts name; ``width``: the most numbers in a
    reading.
    """
    sizes = {
        X_RND: (cap + 8) * 4 * 4,
        X_RUN: cap,
        X_OK: cap,
        X_MEANS: 64,
        X_SUMS: A_COLUMNS * 8,
        X_LOCAL: max(cap, STEP_INPUTS_MAX) * 4,
        X_ENDED: STEP_INPUTS_MAX,
        X_PICKED: max(cap, STEP_INPUTS_MAX) * 4,
        X_REPAIRS: max(cap, STEP_INPUTS_MAX) * L.REPAIR.itemsize,
        X_DYN: L.DYN_WORDS * 8,
        X_OVER: cap,
        X_PLACE: cap,
        X_COUNTS: PLACE_COUNTS * 4,
        X_TOLD: TOLD_PLACES * TOLD_BYTES,
        X_SILENT: STEP_INPUTS_MAX * 4,
        X_NEAR: near_bytes,
        X_SHOWN: max(cap, STEP_INPUTS_MAX) * 8 * alert_fields,
        X_ORDER: cap * 4,
        X_COLUMN: cap * 4 * width,
    }
    offsets = np.zeros(X_ARRAYS, np.int64)
    at = 0
    for array in range(X_ARRAYS):
        offsets[array] = at
        at += L.column_bytes(sizes[array], 1) + 64
    return offsets, at
