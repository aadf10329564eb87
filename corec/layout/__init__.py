"""Every offset, dtype, magic and version of CoreC's shared memory, in one place.

Files of one instance, all on the tmpfs ``runtime_dir/<key>/`` (see ``shm.segment`` for the page
that starts each of them)::

    owner.lock        flock: who runs this instance          (supervisor)
    control.seg       words of one writer each, 128-byte lines (below)
    world.seg         all blocks, each aligned to 1 MiB       (worker k writes its range of blocks)
    in.lane           broker  -> workers  KIND_READINGS       (every worker reads the whole lane)
    journal.lane      leader  -> broker   KIND_JOURNAL        (``corec.journal.file``)
    out-<k>.lane      worker k -> broker  KIND_MESSAGES
    rows-<k>.lane     worker k -> persister KIND_ROW
    events-<r>.lane   supervisor, nucleus, broker -> persister KIND_EVENT

A block (``max_size_mb`` MiB)::

    0      static header, written once when the world is made      BLOCK_STATIC
    512    commit word   tick << 16 | low 15 bits of step << 1 | parity   one release-store commits
    1024   dynamic words, copy 0                                    DYN_WORDS u64
    2048   dynamic words, copy 1
    3072   (reserved)
    4096   hot, copy 0: valor f4[cap], then the processor's fields; copy 1 the same;
           cold pairs: activo u1[cap] x 2, fallos u4[cap] x 2, racha u1[cap] x 2, marks u1[cap] x 2
           genes, copy 0: f4[cap] of each gene; copy 1 the same; post likewise (``layout.post``)
    log    messages since the last row                              LOG_DTYPE[log_cap]
    model  free room of the block (>= 1 MiB in a 5 MB block)
    hist   history fields, rows of (length + HISTORY_SPARE) values per entity, at the block's end

``parity`` names the dynamic words that count, and they name the copy of the hot columns and of each
cold pair that counts. A tick writes the other copy of what it changes: a tick in which nothing
fails touches no cold pair, and a Celu block to which nothing arrived touches no column at all.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from corec.layout.generation import GENERATION as GENERATION
from corec.layout.generation import LINEAGE as LINEAGE
from shm.layout import KIND_PADDING as _PADDING
from shm.layout import Counted, align_up, layout_hash

LAYOUT_VERSION: Final = 3

MIB: Final = 1 << 20
COLUMN_ALIGN: Final = 64

# ---------------------------------------------------------------- block
BLOCK_MAGIC: Final = 0x4B4C42_43_45_52_4F_43  # "COREC" "BLK", little endian
BLOCK_HOT_BASE: Final = 4096
OFF_COMMIT: Final = 512
COMMIT_TICK_SHIFT: Final = 16
STEP_IN_WORD: Final = 0x7FFF
OFF_DYN: Final = (1024, 2048)
HISTORY_SPARE: Final = 8
PUSHES_PER_CALL_MAX: Final = 4
LOG_CAP_MAX: Final = 65_536
PARAMS_MAX: Final = 16
MEANS_MAX: Final = 8
FIELDS_MAX: Final = 32
PUBLIC_MAX: Final = 8
VALUES_MAX: Final = 8  # of a reading
ALERT_FIELDS_MAX: Final = 8
GENES_MAX: Final = 32
HISTOGRAM_BINS: Final = 16
MODEL_BYTES_MIN: Final = MIB

BLOCK_STATIC: Final = np.dtype(
    [
        ("magic", "<u8"),
        ("layout_hash", "<u8"),
        ("index", "<u4"),
        ("swarm", "<u4"),
        ("number", "<u4"),
        ("entidades", "<u4"),
        ("first_id", "<u4"),
        ("cap", "<u4"),
        ("canal", "<i4"),
        ("kind", "<u4"),
        ("block_bytes", "<u8"),
        ("hot_off", "<u8"),
        ("log_off", "<u8"),
        ("log_cap", "<u8"),
        ("model_off", "<u8"),
        ("model_bytes", "<u8"),
        ("hist_off", "<u8"),
        ("crc32c", "<u4"),
        ("pad", "<u4"),
    ]
)

# Dynamic words of a block (index into u64[DYN_WORDS]; * = float64 bits)
_d = Counted()
D_TICK: Final = _d()
D_UMBRAL: Final = _d()  # * threshold for the next tick, rounded to float32; may be infinite
D_FITNESS: Final = _d()  # *
D_MEDIA: Final = _d()  # * mean of the good values of the last tick that had any
D_DESVIACION: Final = _d()  # * their sample standard deviation
D_ACTIVAS: Final = _d()
D_ACTIVO_SEL: Final = _d()  # which copy of activo counts (0/1)
D_FALLOS_SEL: Final = _d()  # which copy of fallos and racha counts (0/1)
D_IN_TICK: Final = _d()  # tick whose inputs D_IN_DONE counts
D_IN_DONE: Final = _d()  # inputs of that tick already applied to this block
D_LOG_N: Final = _d()
D_LOG_OMITTED: Final = _d()
D_ROW_TICK: Final = _d()  # tick of the last row
D_ROW_ERRORES: Final = _d()  # since the last row
D_ROW_REPARADAS: Final = _d()
D_ROW_MENSAJES: Final = _d()
D_UPDATES: Final = _d()  # since tick 0
D_FAILURES: Final = _d()  # failed runs
D_REPAIRS: Final = _d()
D_MESSAGES: Final = _d()
D_ACC_RUN: Final = _d()  # running sums of a tick whose inputs take several steps
D_ACC_OK: Final = _d()
D_ACC_SUM: Final = _d()  # * Σ x
D_ACC_MOMENT: Final = _d()  # * Σ (x − mean)²
D_ROWS: Final = _d()
D_INPUTS: Final = _d()  # inputs applied since tick 0
D_ERRORES: Final = _d()  # entities that failed in the last tick
D_HOT_SEL: Final = _d()  # which copy of the hot columns counts
D_STEP: Final = _d()  # steps of the tick D_IN_TICK that are committed; 0 when it is done
D_SICK: Final = _d()  # entities whose racha is not 0
D_MARKS_SEL: Final = _d()  # which copy of marks counts, within a tick of several steps
D_ACC_BUDGET: Final = _d()  # loop steps left to a call within a tick of several steps; 0: all
D_MEAN0: Final = _d(MEANS_MAX)  # * MEANS_MAX block means, for the next tick
D_GENES_SEL: Final = _d()  # which copy of the genes counts
D_PHASE: Final = _d()  # tick << 8 | number of the last phase before it that is done
D_REBORN: Final = _d()  # entities that phases gave new state to, since tick 0
D_GENERATION: Final = _d()  # evolutions of this block since tick 0
D_BEST: Final = _d()  # * fitness of the last evolution: best, mean, worst of the finite ones
D_MEAN_FITNESS: Final = _d()  # *
D_WORST: Final = _d()  # *
D_DIVERSITY: Final = _d()  # * mean deviation of the genes, as a share of their range
D_BIRTHS, D_DEATHS, D_NO_ROOM, D_MOVES = _d.each(4)  # since tick 0; no room: not born
D_SENT_TICK, D_SENT, D_SENDS, D_UNDELIVERED = _d.each(4)  # sent in that tick; since tick 0
DYN_WORDS: Final = _d.end
NO_RUN: Final = 255  # racha of an entity that has not run since the start or since its reset
RACHA_MAX: Final = 254

KIND_MICRO, KIND_CELU = range(2)

LOG_DTYPE: Final = np.dtype([("tick", "<u8"), ("local", "<u4"), ("valor", "<f4")])
"""A message since the last row: the tick that emitted it, index in the block, its valor."""

# ---------------------------------------------------------------- frames (words: ``layout.frames``)
KIND_PADDING: Final = _PADDING
KIND_MESSAGES_FRAME: Final = 1  # MESSAGE[], alert fields
KIND_ROW_FRAME: Final = 2  # ROW or the tick's time, REPAIR[], LOG_DTYPE[]
KIND_READINGS_FRAME: Final = 3  # a=canal & 0xff, b=count; READINGS_HEAD, READING[]
KIND_GENERATION_FRAME, KIND_FUSION_FRAME = 5, 6  # ``corec.layout.frames``, ``corec.world.fusion``
KIND_JOURNAL_FRAME, KIND_FED_FRAME = 7, 8  # JSON of a record; in.lane has all of this tick now
KIND_COLLECT_FRAME: Final = 9  # ``corec.world.collecting``
KIND_EVENT_FRAME: Final = 4  # JSON object (see docs/architecture.md)

ROW_HAS_ROW: Final = 1
COLUMN_MAX: Final = (1 << 31) - 1
"""The largest number in an integer column of PostgreSQL."""

MESSAGE: Final = np.dtype([("id", ">u4"), ("canal", "i1"), ("valor", ">f4"), ("activo", "u1")])

ROW: Final = np.dtype(
    [
        ("unix_ns", "<u8"),
        ("block", "<u4"),
        ("canal", "<i4"),
        ("num_entidades", "<u4"),
        ("activas", "<u4"),
        ("errores", "<u4"),  # at most COLUMN_MAX, as the next
        ("reparadas", "<u4"),
        ("mensajes", "<u8"),
        ("omitidos", "<u8"),
        ("carga", "<f8"),
        ("umbral", "<f8"),
        ("fitness", "<f8"),
        ("media", "<f8"),
        ("desviacion", "<f8"),
        ("hist_min", "<f4"),
        ("hist_max", "<f4"),
        ("histograma", "<u4", (HISTOGRAM_BINS,)),
        ("desde", "<u8"),
    ]
)
REPAIR: Final = np.dtype([("id", "<u4"), ("donor", "<u4"), ("how", "<u4"), ("pad", "<u4")])
REPAIR_INHERIT: Final = 1  # took state from a healthy neighbour (donor)
REPAIR_RESET: Final = 2  # back to its initial state (donor = its own id)

READINGS_HEAD: Final = np.dtype(
    [
        ("ms", "<u8"),  # stream entry id, milliseconds part
        ("seq", "<u8"),  # stream entry id, sequence part
        ("next_msg", "<u4"),  # index in the entry after this frame's last message
        ("last", "<u4"),  # 1 = the entry ends with this frame
        ("args", "<u4"),  # values per reading
        ("pad", "<u4"),
    ]
)
READING: Final = np.dtype([("id", "<u4"), ("activo", "<u4"), ("valor", "<f4"), ("pad", "<u4")])
# of one value; of several, ``pad`` is the second, and more follow: ``frames.reading_bytes``

# ---------------------------------------------------------------- control segment
WORDS_PER_LINE: Final = 16  # 128 bytes: one line has one writer

# line 0: written once by whoever makes the world
_c = Counted(WORDS_PER_LINE)
C_WORLD_EPOCH: Final = _c()
C_SEED, C_BLOCKS, C_ENTIDADES = _c.each(3)
C_LANES: Final = _c()  # number of worker lanes (= slots for workers)
C_CONFIG_HASH: Final = _c()  # what of the config must not change under a living world
C_BASE_TICK: Final = _c()  # tick this process group started from (supervisor, before a fork)
C_FRESH: Final = _c()  # 1: a world made by --fresh, whose input begins behind what was there
C_FOLLOW: Final = _c()  # a restored world takes in up to this tick what the journal says

# line 1: supervisor
_c.line()
C_STATE: Final = _c()  # STATE_*
C_STOP: Final = _c()  # STOP_*
C_START_MONO_NS: Final = _c()
C_START_UNIX_NS: Final = _c()
C_WORKERS: Final = _c()
C_SUPERVISOR_PID: Final = _c()
C_BEAT_NS: Final = _c()
C_COUNTED: Final = _c()  # see corec.world.counts
C_REST: Final = _c()  # counts up: odd while the workers are to leave at a tick boundary
C_HZ_CONFIGURED: Final = _c()  # * what the configuration says, while C_TICK_HZ may be set otherwise
C_CARGA_CONFIGURED: Final = _c()  # * likewise for C_CARGA
C_ACTS, C_GROW_FIRST = _c.each(2)  # 1: a process follows alerts; the tick of a growth

# line 2: nucleus
_c.line()
C_LIMIT_TICK: Final = _c()  # no tick beyond this one starts
C_TICK_HZ: Final = _c()  # * float64 bits, 0 = flat out
C_PAUSED: Final = _c()
C_HOLD_REQUEST: Final = _c()
C_HOLD_RELEASE: Final = _c()
C_CARGA: Final = _c()  # * float64 bits
C_STEP_LIMIT: Final = _c()  # while paused, ticks up to this one may run
C_SETTINGS: Final = _c()  # revision of what was set that counts from the next tick on
C_TOLD_SET: Final = _c()  # the revision whose events were emitted, all before it too
C_TOLD_SCHEDULE: Final = _c()  # the tick and place in it up to which the schedule's events were
C_TELL_HEAD, C_TELL_KEY = _c.each(2)  # the event being emitted, and where its lane stood then
C_CARGA_ASKED, C_CARGA_SINCE, C_CARGA_BEFORE, C_CARGA_TOLD = _c.each(4)  # corec.world.settings

# line 3: leader (worker 0)
_c.line()
C_GO_TICK: Final = _c()  # workers may run this tick
C_HOLD_ACK: Final = _c()
C_OVERRUNS: Final = _c()
C_WRITTEN_DOWN: Final = _c()  # the last C_WRITE_DOWN of which the journal lane has what counts
C_FINAL: Final = _c()  # the workers that rest run no tick from this one on, if …
C_FINAL_REST: Final = _c()  # … this is C_REST: the rest that C_FINAL was decided for
C_PHASE_NEXT: Final = _c()  # the next tick that is not plain: phases, or the journal must be told

# line 4, 5: leader, by tick & 3: inbox cut (exclusive end position) and wall clock of the tick
_c.line()
C_CUT: Final = _c(4)
C_TICK_UNIX_NS: Final = _c(4)
C_CUT_CARGA: Final = _c(4)  # *
C_CUT_SETTINGS: Final = _c(4)  # revision of what was set
C_PHASES: Final = _c(4)  # by tick & 3: the phases before the tick, PHASE_* added

# line 6: final digest, nucleus
_c.line()
C_DIGEST_TICK: Final = _c()
C_DIGEST: Final = _c(2)  # two words, big endian digest halves
C_DIGEST_VALID, C_WRITE_DOWN = _c.each(2)  # …; counts up: what is set is to be written down

# in-position tables (leader): tick T's in copy T & 1, 256 canales x (ms, seq, next_msg, last)
_c.line(free=1)
IN_POS_WORDS: Final = 4
CANALES: Final = 256
C_IN_POS: Final = _c(2 * CANALES * IN_POS_WORDS)
C_SLOTS: Final = _c.end
SLOT_SUPERVISOR, SLOT_NUCLEUS, SLOT_PERSISTER, SLOT_BROKER, SLOT_TASKS, SLOT_WORKER0 = range(6)

# words of a slot, writer: its process (line 0..), except line 7 (supervisor)
_s = Counted(WORDS_PER_LINE)
S_PID: Final = _s()
S_STATE: Final = _s()  # PROC_*
S_BEAT_NS: Final = _s()  # CLOCK_MONOTONIC of the last sign of life
S_TICK: Final = _s()  # last tick done (worker), durable (persister, broker)
S_BUSY_NS: Final = _s()  # CPU time of the ticks
S_WAIT_SINK_NS: Final = _s()  # time waiting for room in a lane
S_ERROR: Final = _s()  # 0 fine, else a reason code (REASON_*)
S_PHASE: Final = _s()  # tick << 8 | number of the last phase before it that is done (worker)
_s.line()
S_SLEEPING: Final = _s()  # doorbell flag, own line
_s.line()
S_COUNT0: Final = _s(2 * WORDS_PER_LINE)  # counters, by role below
S_BUCKET0: Final = _s(16)  # tick duration histogram, workers; then sum
S_BUCKET_SUM_NS: Final = _s()
_s.line()
S_PROGRESS: Final = _s()  # own line; counts up while a worker's tick goes on, corec.entities.steps
_s.line()
S_RESTARTS, S_UP = _s.each(2)
S_CARRY: Final = (_s(4), _s(4))  # workers, two copies: what corec.world.counts adds to blocks'
S_SEEN_NS: Final = _s()  # CLOCK_MONOTONIC of when S_PROGRESS was last seen to move (supervisor)
S_ENDS: Final = (_s(), _s())  # workers, by the same copy: behind its last block, corec.world.counts
_s.line()
SLOT_WORDS: Final = _s.end

TICK_BUCKETS_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip

# persister counters (S_COUNT0 + …)
_p = Counted()
P_ROWS, P_SPOOL_BYTES, P_EVENTS, P_TRANSACTIONS, P_DUPLICATES, P_BYTES, P_DROPPED = _p.each(7)
P_OVERLAP: Final = _p()  # 2 + last tick with rows in the tables at the take-over (1: none)

# broker counters
_b = Counted()
B_MESSAGES_OUT: Final = _b()  # this world
B_MESSAGES_IN: Final = _b()
B_DEAD: Final = _b()
B_ENTRIES_OUT: Final = _b()
B_ENTRIES_IN: Final = _b()
B_ALERTS: Final = _b()
B_DUPLICATES: Final = _b()
B_DROPPED: Final = _b()
B_BEGUN: Final = _b()  # 1: this process group has written for its world
B_UNREAD_LOST: Final = _b()  # input entries that went away unread

# counters of the tasks: alerts raised (this world) and not cleared; since this process began, tasks
# done, tried again, failed for good; notices taken and not done
T_RAISED, T_OPEN, T_DONE, T_RETRIED, T_FAILED, T_WAITING = range(6)
PHASE_EVOLUTION, PHASE_FUSION, PHASE_SETTLEMENT, PHASE_COLLECT = 1, 2, 4, 8  # ``world.phases``
STATE_STARTING, STATE_RUNNING, STATE_PAUSED, STATE_DEGRADED, STATE_DRAINING = range(5)
STATE_NAMES: Final = ("starting", "running", "paused", "degraded", "draining")

_stop = Counted()
STOP_NO: Final = _stop()
STOP_TICKS: Final = _stop()  # the last ticks: C_REST is odd for good, input ends
STOP_SINKS: Final = _stop()  # workers are gone: persister and broker empty the lanes and leave
STOP_NUCLEUS: Final = _stop()  # the nucleus takes the digest, the checkpoint, and leaves
STOP_NOW: Final = _stop()

# waiting: its server is away, or its lane is full
PROC_STARTING, PROC_READY, PROC_WAITING_SINK, PROC_DRAINED, PROC_PARKED = range(5)
PROC_NAMES: Final = ("starting", "ready", "waiting", "drained", "parked")

REASON_NONE, REASON_UNREACHABLE, REASON_REFUSED, REASON_FULL, REASON_SERVER_ERROR = range(5)
REASON_NAMES: Final = {
    REASON_UNREACHABLE: "its server cannot be reached",
    REASON_REFUSED: "its server refuses the login, the rights or its tables; the log says which",
    REASON_FULL: "no room is left (disk, spool or server memory)",
    REASON_SERVER_ERROR: "its server answers with an error",
}

SETTINGS_BYTES: Final = 256 << 10
"""Of one of the two copies of what was set, JSON, at the end of control.seg (world.settings)."""
KIND_CONTROL_SEGMENT: Final = "corec control"  # Segment.create(kind=...) of control.seg


def slot_base(slot: int) -> int:
    """First word of process slot ``slot`` in the control segment."""
    return C_SLOTS + slot * SLOT_WORDS


def control_words(workers: int) -> int:
    """Words of a control segment with room for ``workers`` workers."""
    return C_SLOTS + (SLOT_WORKER0 + workers) * SLOT_WORDS


def control_bytes(workers: int) -> int:
    """Bytes of control.seg: its words, then the two copies of what was set."""
    return 8 * control_words(workers) + 2 * SETTINGS_BYTES


def column_bytes(cap: int, itemsize: int) -> int:
    """Bytes of one column of ``cap`` values: aligned so that each column starts a cache line."""
    return align_up(cap * itemsize, COLUMN_ALIGN)


def _table(*prefixes: str) -> str:
    """Every constant of this module whose name begins so: a moved word is another layout."""
    found = {name: value for name, value in globals().items() if name.startswith(prefixes)}
    return f"{LAYOUT_VERSION} {sorted(found.items())}"


_FRAMES: Final = (MESSAGE, ROW, GENERATION, LINEAGE, REPAIR, LOG_DTYPE, READINGS_HEAD, READING)
_CONTROL: Final = _table("C_", "S_", "SLOT", "P_", "B_", "T_")
CONTROL_LAYOUT_HASH: Final = layout_hash(f"corec control {_CONTROL}")
LANE_LAYOUT_HASH: Final = layout_hash(f"corec lane {_table('KIND_')} {[t.descr for t in _FRAMES]}")
BLOCK_LAYOUT: Final = f"{_table('D_', 'OFF_', 'BLOCK_HOT')} {BLOCK_STATIC.descr} {LOG_DTYPE.descr}"
"""What ``plan.block_layout_hash`` says of every block, whatever its columns."""

assert BLOCK_STATIC.itemsize <= OFF_COMMIT
assert OFF_DYN[0] + DYN_WORDS * 8 <= OFF_DYN[1]
assert OFF_DYN[1] + DYN_WORDS * 8 <= BLOCK_HOT_BASE
assert D_MEAN0 + MEANS_MAX <= DYN_WORDS
assert MESSAGE.itemsize == 10
assert READINGS_HEAD.itemsize % 8 == 0
assert ROW.itemsize % 8 == 0
assert REPAIR.itemsize == LOG_DTYPE.itemsize == READING.itemsize == 16
assert C_SLOTS % WORDS_PER_LINE == 0
assert SLOT_WORDS % WORDS_PER_LINE == 0
assert S_CARRY[1] + S_CARRY[1] - S_CARRY[0] <= SLOT_WORDS
