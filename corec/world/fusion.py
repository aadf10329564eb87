"""Fusion: a weak block takes over the state of a strong one of its kind, between two ticks; and
division: half of its places take over the state and the genes of one of its swarm.

What ``modules: ["sincronizacion"]`` stands for. A phase (``corec.world.phases``), due after each
tick that is a multiple of ``FUSION_EVERY``; the rules are in ``docs/rules.md``. It is rare and
concerns few blocks, so it is plain NumPy: a world that never fuses compiles nothing for it.

Who writes: the worker that owns the weak block. Who reads: every worker the words of all blocks as
they were before the phase, and the donor's columns that these name; nobody writes those before all
have done the phase. Order of the stores, and what a SIGKILL leaves after each:

    other copies of hot columns, fallos,
    racha, marks, in a division genes      not named by any committed word: the redo writes it again
    frame in the rows lane                 published again by the redo; the persister drops it
    other copy of dynamic words            not named yet
    [K fusion.before_commit]
    commit word (release)                  a step of the tick is done; D_PHASE says which
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.kernels import desc as K
from corec.kernels.whole import gather_dynamic, none_is_weak
from corec.layout.frames import row_word
from corec.plan import Plan, Swarm
from corec.world.commits import commit_word, copy_in
from corec.world.read import Place, place_of
from corec.world.tables import Tables
from shm.atomics import read_word, write_word
from shm.killpoint import kill_point, register
from shm.lane import Lane

FUSION_EVERY: Final = 100
"""Ticks between two looks at who is weak."""
STRONG: Final = 0.5
"""Who is fitter than this may be a donor."""
FRAME: Final = struct.Struct("<QIIdd")
"""Time (ns since 1970), donor's block, what was taken (WHOLE or a half), fitness before, the
donor's."""
WHOLE: Final = 0
PLACES: Final = {1: "even", 2: "odd"}
"""Which places a division took, as a frame says it."""
_OF_TICK: Final = (L.D_IN_DONE, L.D_ACC_RUN, L.D_ACC_OK, L.D_ACC_SUM, L.D_ACC_MOMENT,
                   L.D_ACC_BUDGET, L.D_ERRORES)  # fmt: skip
register("fusion.before_commit")


def donors(
    fitness: NDArray[np.float64], least: NDArray[np.float64], kind: NDArray[np.int64]
) -> dict[int, int]:
    """Weak block → its donor: the next strong one of its kind, from the last on to the first.

    ``least``: below it a block is weak; ``kind``: −1 of blocks that do not fuse.
    """
    found = {}
    strong = (fitness > STRONG) & (fitness >= least) & (kind >= 0)
    for weak in np.flatnonzero((fitness < least) & (kind >= 0)).tolist():
        those = np.flatnonzero(strong & (kind == kind[weak]))
        if those.size:
            place = int(np.searchsorted(those, weak))
            found[weak] = int(those[place % those.size])
    return found


def half_of(after: int) -> int:
    """Which places a division after tick ``after`` takes over: in turn 1, the even, 2, the odd."""
    return 1 + after // FUSION_EVERY % 2


def _kind(swarm: Swarm) -> tuple[Any, ...]:
    """Who has the same one may give to each other: a position is state, and what lies on one plane
    need not lie on another."""
    if swarm.symbiosis == "division":
        return swarm.bloque, swarm.cap
    space = swarm.space
    plane = (space.position, space.sizes, space.wrap) if space and space.kind == "plane" else None
    return swarm.canal, swarm.processor.name, swarm.cap, swarm.block_bytes, plane


def kinds_of(plan: Plan) -> NDArray[np.int64]:
    """Of each block its kind, for ``donors``."""
    kinds: dict[Any, int] = {}
    of_swarm = [
        kinds.setdefault(_kind(s), len(kinds)) if s.symbiosis != "ninguna" else -1
        for s in plan.swarms
    ]
    found: NDArray[np.int64] = np.array(of_swarm, np.int64)[plan.blocks["swarm"]]
    return found


class Fusion:
    """The fusions of one process's blocks, which end before ``hi``."""

    def __init__(self, plan: Plan, tables: Tables, hi: int) -> None:
        self._plan, self._tables, self._hi = plan, tables, hi
        self._kind = kinds_of(plan)
        self._starts = (plan.blocks["offset"] // 8).astype(np.int64)

    def run(self, number: int, at: int, targs: NDArray[np.int64], rows: Lane) -> int:
        """As ``Phases.run``."""
        world: NDArray[np.uint8] = self._tables.keep[0]
        words = world.view(np.uint64)
        mark = int(targs[K.T_TICK]) << 8 | number
        tables = self._tables
        if none_is_weak(tables.blocks, tables.swarms, self._kind, targs[K.T_TICK], mark):
            return self._hi  # nearly always: one call, and none of what follows
        before = np.zeros((self._plan.n_blocks, L.DYN_WORDS), np.uint64)
        gather_dynamic(words, self._starts, before)
        if (before[:, L.D_TICK] >= targs[K.T_TICK]).any():
            return self._hi  # all have done the phase: what is weak now was not then
        done = before[:, L.D_PHASE] >= np.uint64(mark)
        for block in np.flatnonzero(done).tolist():
            start, parity = int(self._starts[block]), self._parity(words, block)
            copy = start + L.OFF_DYN[1 - parity] // 8
            before[block] = words[copy : copy + L.DYN_WORDS]
        numbers = before.view(np.float64)
        swarms = self._plan.blocks["swarm"]
        least = self._tables.swarms[:, K.W_MIN_FITNESS].copy().view(np.float64)[swarms]
        table = donors(numbers[:, L.D_FITNESS], least, self._kind)
        for weak in sorted(table):
            mine = at <= weak < self._hi and not done[weak]
            if mine and not self._fuse(world, weak, table[weak], before, mark, targs, rows):
                return weak
        return self._hi

    def _parity(self, words: NDArray[np.uint64], block: int) -> int:
        return copy_in(int(read_word(words, int(self._starts[block]) + L.OFF_COMMIT // 8)))

    def _column(
        self, world: NDArray[np.uint8], block: int, place: Place, copy: int
    ) -> NDArray[Any]:
        row = self._plan.blocks[block]
        start = int(row["offset"]) + int(row["hot"]) + place.offset + copy * place.between
        size = np.dtype(place.dtype).itemsize * int(row["entidades"])
        return world[start : start + size].view(place.dtype)

    def _fuse(
        self, world: NDArray[np.uint8], weak: int, donor: int, before: NDArray[np.uint64],
        mark: int, targs: NDArray[np.int64], rows: Lane,
    ) -> bool:  # fmt: skip
        """Give ``weak`` the state of ``donor``; false: the lane has no room for the frame."""
        plan, tick = self._plan, int(targs[K.T_TICK])
        swarm = plan.swarms[int(plan.blocks["swarm"][weak])]
        n = int(plan.blocks["entidades"][weak])
        dyn = before[weak].copy()
        step = int(dyn[L.D_STEP]) + 1
        if int(dyn[L.D_IN_TICK]) != tick:
            dyn[L.D_IN_TICK], dyn[list(_OF_TICK)] = tick, 0
        processor = swarm.processor
        own = processor.fields[: processor.own_state]
        inherited = {"valor", *(field.name for field in own)}
        half = half_of(tick - 1) if swarm.symbiosis == "division" else WHOLE
        taken = np.arange(n) if half == WHOLE else np.arange(half - 1, n, 2)
        of_donor = taken % int(plan.blocks["entidades"][donor])
        genes = [gene.name for gene in processor.genes] if half != WHOLE else []
        for name in ("valor", *(f.name for f in processor.fields), *genes):
            place = place_of(swarm, name)
            chosen = int(dyn[place.selector])
            mine = self._column(world, weak, place, 1 - chosen)
            mine[:] = self._column(world, weak, place, chosen)
            if name in inherited or name in genes:
                theirs = self._column(world, donor, place, int(before[donor, place.selector]))
                mine[taken] = theirs[of_donor]
        dyn[L.D_HOT_SEL] = 1 - int(dyn[L.D_HOT_SEL])
        if genes:
            dyn[L.D_GENES_SEL] = 1 - int(dyn[L.D_GENES_SEL])
        self._unrun(world, weak, swarm, dyn, n, taken)
        numbers, fitness = dyn.view(np.float64), before.view(np.float64)[:, L.D_FITNESS]
        numbers[L.D_FITNESS] = 0.5 * (fitness[weak] + fitness[donor])
        dyn[L.D_REBORN] += np.uint64(len(taken))
        dyn[L.D_PHASE], dyn[L.D_STEP] = mark, step
        told = FRAME.pack(int(targs[K.T_UNIX_NS]), donor, half, fitness[weak], fitness[donor])
        if not rows.push(L.KIND_FUSION_FRAME, told, a=weak, tick=tick, c=row_word(step, 0)):
            return False
        words, start = world.view(np.uint64), int(self._starts[weak])
        other = 1 - self._parity(words, weak)
        copy = start + L.OFF_DYN[other] // 8
        words[copy : copy + L.DYN_WORDS] = dyn
        kill_point("fusion.before_commit")
        write_word(words, start + L.OFF_COMMIT // 8, commit_word(tick - 1, step, other))
        return True

    def _unrun(
        self, world: NDArray[np.uint8], weak: int, swarm: Swarm, dyn: NDArray[np.uint64], n: int,
        taken: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Those at ``taken`` have no run yet; and the tick that begins has no marks."""
        sel = int(dyn[L.D_FALLOS_SEL])
        fallos, racha = place_of(swarm, "fallos"), place_of(swarm, "racha")
        self._column(world, weak, fallos, 1 - sel)[:] = self._column(world, weak, fallos, sel)
        runs = self._column(world, weak, racha, 1 - sel)
        runs[:] = self._column(world, weak, racha, sel)
        runs[taken] = L.NO_RUN
        dyn[L.D_FALLOS_SEL], dyn[L.D_SICK] = 1 - sel, np.count_nonzero(runs)
        marks = Place("u1", racha.offset + 2 * racha.between, racha.between, L.D_MARKS_SEL)
        sel = int(dyn[L.D_MARKS_SEL])
        self._column(world, weak, marks, 1 - sel)[:] = 0
        dyn[L.D_MARKS_SEL] = 1 - sel
