"""The tables that the block kernels are driven by: one int64 row per block, one per swarm.

Made once per process from the plan and the compiled processors; addresses are this process's own.
"""

from __future__ import annotations

from typing import Final

from corec import layout as L

# row of a block, int64
B_BASE: Final = 0  # address of the block
B_N: Final = 1
B_FIRST: Final = 2
B_HOT: Final = 3  # address of hot copy 0
B_LOG: Final = 4  # address of the message log
B_LOG_CAP: Final = 5
B_HIST: Final = 6  # address of the history area
B_SWARM: Final = 7
B_INDEX: Final = 8
B_SENT: Final = 9  # how much of what arrives in this tick was sent by entities, ``mail``
B_COLUMNS: Final = 10

# row of a swarm, int64
W_KIND: Final = 0
W_CANAL: Final = 1
W_CAP: Final = 2
W_COPY_BYTES: Final = 3
W_COLD: Final = 4  # offset of the cold pairs from hot copy 0
W_UPDATE: Final = 5
W_ARRIVE: Final = 6
W_INIT: Final = 7
W_PARAMS: Final = 8  # address of f32[PARAMS_MAX]
W_MEANS: Final = 9  # number of means
W_FIELDS: Final = 10  # number of columns, valor first, history counters last
W_STATE_FIELDS: Final = 11  # … of them state (valor included): what a repair hands on
W_MAX_ERRORES: Final = 12  # float64 bits: share of failures that starts a repair
W_UMBRAL_MIN: Final = 13  # float64 bits of float32 numbers, as the two that follow
W_UMBRAL_MAX: Final = 14
W_UMBRAL_FIRST: Final = 15
W_SILENCE: Final = 16  # ticks without a reading that are a silence; 0: none is
W_SILENT: Final = 17  # the function that runs then
W_HEARD: Final = 18  # offset in a copy: i8[n], the tick of the last reading
W_QUIET: Final = 19  # u1[n], whether the silence since then was told
W_MEAN_OFFSET: Final = 20  # MEANS_MAX offsets in a copy
W_FIELD_OFFSET: Final = W_MEAN_OFFSET + L.MEANS_MAX
W_FIELD_SIZE: Final = W_FIELD_OFFSET + L.FIELDS_MAX + 1
W_FIRST_ID: Final = W_FIELD_SIZE + L.FIELDS_MAX + 1  # of the swarm's first entity
W_PUBLIC: Final = W_FIRST_ID + 1  # address of copy 0 of the public columns
W_PUBLIC_BYTES: Final = W_PUBLIC + 1  # of one copy
W_PUBLIC_FIELDS: Final = W_PUBLIC_BYTES + 1  # number of public fields
W_PUBLIC_FROM: Final = W_PUBLIC_FIELDS + 1  # PUBLIC_MAX offsets in a hot copy
W_PUBLIC_TO: Final = W_PUBLIC_FROM + L.PUBLIC_MAX  # … in a copy of the public columns
W_PUBLIC_SIZE: Final = W_PUBLIC_TO + L.PUBLIC_MAX  # bytes of a value
W_ALERT_FIELDS: Final = W_PUBLIC_SIZE + L.PUBLIC_MAX  # number of fields that an alert names
W_ALERT_FROM: Final = W_ALERT_FIELDS + 1  # ALERT_FIELDS_MAX offsets in a hot copy
W_ALERT_SIZE: Final = W_ALERT_FROM + L.ALERT_FIELDS_MAX  # bytes of a value
W_GENES: Final = W_ALERT_SIZE + L.ALERT_FIELDS_MAX  # number of genes
W_GENES_OFF: Final = W_GENES + 1  # offset of copy 0 of the genes from hot copy 0
W_GENES_BYTES: Final = W_GENES_OFF + 1  # of one copy
W_GENES_TABLE: Final = W_GENES_BYTES + 1  # address of f32[3 · genes]: low, high, sigma of each
W_NEAR: Final = W_GENES_TABLE + 1  # address of what says who is near (``world.near``)
W_VIVO: Final = W_NEAR + 1  # offset in a copy: u1[n], who lives; −1: nobody is born or dies
W_GENERACION: Final = W_VIVO + 1  # u4[n]
W_BIRTHS: Final = W_GENERACION + 1  # address of the births of a step, ``entities.lives``
W_MIN_FITNESS: Final = W_BIRTHS + 1  # float64 bits: below it a block is weak
W_OWN: Final = W_MIN_FITNESS + 1  # address of the swarm's own words, M_*; 0: it needs none
W_SENDS: Final = W_OWN + 1  # values that a call may send
W_INBOX: Final = W_SENDS + 1  # 1: its entities read me.inbox
W_POST: Final = W_INBOX + 1  # offset of copy 0 of the post from hot copy 0
W_POST_BYTES: Final = W_POST + 1  # of one copy; 0: there is none
W_CHILDREN: Final = W_POST_BYTES + 1  # offset in a copy
W_RECORD: Final = W_CHILDREN + 1  # bytes of a child
W_MOVES: Final = W_RECORD + 1  # offset of the moves in a copy
W_DENSE: Final = W_MOVES + 1  # the function for a dense round of readings, 0: it has none
W_WIDTH: Final = W_DENSE + 1  # numbers in a reading
W_COLUMNS: Final = W_WIDTH + 1

# own words of a swarm, int64: memory of one process, for the step of a block that runs
M_COUNT: Final = 0  # values that the block has sent in this tick
M_ROOM: Final = 1  # … and may send
M_TABLE: Final = 2  # address of SEND[room]
M_START: Final = 3  # how many were sent when the call began
M_LIMIT: Final = 4  # values that a call may send
M_LAST: Final = 5  # id of the last one that found no room
M_BIRTHS: Final = 6  # address of the births of a step
M_SETTLES: Final = 7  # 1: children may find a place in another block of the bloque
M_LEFT: Final = 8  # how many of this step's do not find one in their own
M_STARTS: Final = 9  # address of u4[cap + 1]: where each entity's values begin …
M_LETTERS: Final = 10  # … in the f4 at this address
M_FIRST: Final = 11  # id of the block's first entity
M_MOVES: Final = 12  # how many of this step want to move …
M_MOVERS: Final = 13  # … and the address of u4[cap] that says which
M_RANGES: Final = 14  # number of swarms
M_SWARMS: Final = 15  # of each: first id, end id, whether it takes what is sent
BIRTHS_HEAD: Final = 64
"""Bytes before the records of births (``entities.lives``)."""

# int64 arguments of a tick
T_TICK: Final = 0
T_SEED: Final = 1
T_EVERY: Final = 2  # persist.every_ticks, 0 = no rows
T_UNIX_NS: Final = 3
T_SCRATCH: Final = 4  # address of the scratch memory, see below
T_NO_LOG: Final = 5  # 1: messages are not kept for the next row
T_COLUMNS: Final = 8

# float64 arguments of a tick
F_CARGA: Final = 0
F_COLUMNS: Final = 1

# scratch arrays, in the order of ``scratch_layout``
S_RND: Final = 0
S_RUN: Final = 1
S_OK: Final = 2
S_MEANS: Final = 3
S_SUMS: Final = 4
S_LOCAL: Final = 5
S_ENDED: Final = 6
S_PICKED: Final = 7
S_REPAIRS: Final = 8
S_DYN: Final = 9
S_OVER: Final = 10
S_PLACE: Final = 11
S_COUNTS: Final = 12
S_TOLD: Final = 13  # why entities failed, ``entities.told``: block b at place b % TOLD_PLACES
S_SILENT: Final = 14  # the entities of a step that fell silent
S_NEAR: Final = 15  # cells about the stretch that runs, ``entities.meeting``
S_SHOWN: Final = 16  # u8[messages of a step, fields]: what alerts name of them, as in ``frames``
S_ORDER: Final = 17  # u4[n]: of a dense round, which reading of the step an entity has
S_COLUMN: Final = 18  # f4[numbers in a reading, cap]: what it says

# float64 that a Celu block's kernel is given and adds to: the figures of the tick so far
A_UMBRAL: Final = 0
A_GOOD: Final = 1  # good runs
A_SUM: Final = 2  # Σ x of their values
A_MOMENT: Final = 3  # Σ (x − mean)²
A_RUNS: Final = 4
A_MESSAGES: Final = 5  # of this step
A_FAILURES: Final = 6  # of this step
A_BUDGET: Final = 7  # loop steps that the next call may take; 0: what the processor says
A_COLUMNS: Final = 8

# how a reading of a Celu block ended; 0: nothing ran
ENDED_WELL: Final = 1
ENDED_BADLY: Final = 2

STEP_INPUTS_MAX: Final = 4096  # readings a block takes in one step
TOLD_PLACES: Final = 64
TOLD_BYTES: Final = 64
PLACE_COUNTS: Final = 128  # of a histogram: four counts of each place, see ``stats``


def scratch_layout(
    cap: int, near_bytes: int = 0, alert_fields: int = 0, width: int = 1
) -> dict[str, int]:
    """Offsets of the scratch arrays of one process (largest block: ``cap``), and "total".

    ``alert_fields``: the most that a processor's alerts name; ``width``: the most numbers in a
    reading.
    """
    sizes = {
        "rnd": (cap + 8) * 4 * 4,
        "run": cap,
        "ok": cap,
        "means": 64,
        "sums": A_COLUMNS * 8,
        "out_local": max(cap, STEP_INPUTS_MAX) * 4,
        "ended": STEP_INPUTS_MAX,
        "out_valor": max(cap, STEP_INPUTS_MAX) * 4,
        "repairs": max(cap, STEP_INPUTS_MAX) * L.REPAIR.itemsize,
        "dyn": L.DYN_WORDS * 8,
        "over": cap,
        "place": cap,
        "counts": PLACE_COUNTS * 4,
        "told": TOLD_PLACES * TOLD_BYTES,
        "silent": STEP_INPUTS_MAX * 4,
        "near": near_bytes,
        "shown": max(cap, STEP_INPUTS_MAX) * 8 * alert_fields,
        "order": cap * 4,
        "column": cap * 4 * width,
    }
    offsets: dict[str, int] = {}
    at = 0
    for name, size in sizes.items():
        offsets[name] = at
        at += L.column_bytes(size, 1) + 64
    offsets["total"] = at
    return offsets
