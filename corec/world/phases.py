"""Phases: what happens to a world between two ticks, beyond the ticks themselves.

Theory. A *phase* before tick T changes blocks out of what other blocks hold, such as an evolution
whose parents live in the whole swarm. It is part of tick T: the leader writes which phases precede
T (``C_PHASES``, PHASE_* added) before it lets T go, so a phase that went is never decided again,
and every worker does each of them on its own blocks, in the order of their bits, before it runs T.

* A block's phase is a step of tick T: it writes the copies that do not count, and commits with one
  release-store, as every step does. ``D_PHASE`` of the committed words names the last one that is
  done (T << 8 | its number), so a redo skips the block.
* What a phase reads of another block are the copies that the block's words *before the phase* name:
  the committed ones while it has not done the phase, those of the other copy of words after.
  A phase writes none of them.
* A worker that has done a phase on all its blocks stores ``S_PHASE`` (release) and waits until
  every worker has. So nobody begins what would write the copies from before, the next phase or
  tick T, while anybody may still read them.

A kill leaves blocks that have done the phase and blocks that have not; the successor goes through
all of them again. Nobody has passed the barrier then, if a block of it was not done: its S_PHASE
is stored behind the last of them. A process that ticks alone does the phases one after the other,
and needs no barrier.

What is written from outside (``corec.world.writes``) goes before the first of them, into the blocks
of each worker, who reads no others then: it is a part of PHASE_COLLECT, which the leader has set.

A new phase takes a bit of ``layout.PHASE_*``, its rule of when it is due in ``phases_before``, and
its kernel in ``Phases.run``.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from corec import layout as L
from corec.kernels import desc as K
from corec.plan import Plan, Swarm
from corec.world.collected import Parts
from corec.world.collecting import Collecting, collects
from corec.world.edits import Edit, apply
from corec.world.fusion import FUSION_EVERY, Fusion
from corec.world.read import BlockView, place_of
from corec.world.tables import Tables
from shm.lane import Lane
from shm.layout import align_up

EVOLUTION: Final = 1
FUSION: Final = 2
SETTLEMENT: Final = 3
COLLECT: Final = 0
NUMBERS: Final = {
    L.PHASE_COLLECT: COLLECT,
    L.PHASE_EVOLUTION: EVOLUTION, L.PHASE_FUSION: FUSION, L.PHASE_SETTLEMENT: SETTLEMENT,
}  # fmt: skip
"""Phase → its number in D_PHASE and S_PHASE: the order in which they are done."""


def phases_before(plan: Plan, tick: int) -> int:
    """The phases before ``tick``, added."""
    due = any(s.evolucion is not None and _evolves(s, tick) for s in plan.swarms)
    fuses = tick > 1 and (tick - 1) % FUSION_EVERY == 0 and _may_fuse(plan)
    settles = tick > 1 and any(s.settles for s in plan.swarms)
    found = (L.PHASE_EVOLUTION if due else 0) + (L.PHASE_FUSION if fuses else 0)
    found += L.PHASE_COLLECT if any(collects(s, tick - 1) for s in plan.swarms) else 0
    return found + (L.PHASE_SETTLEMENT if settles else 0)


def _may_fuse(plan: Plan) -> bool:
    """Whether there is more than one block to fuse. Not whether any may be weak: ``min_fitness`` is
    set while the world lives, and a process keeps the plan that it began with."""
    return plan.n_blocks > 1 and any(s.symbiosis != "ninguna" for s in plan.swarms)


def _evolves(swarm: Swarm, tick: int) -> bool:
    assert swarm.evolucion is not None
    return tick > 1 and (tick - 1) % swarm.evolucion.cada == 0


def next_with_phases(plan: Plan, tick: int) -> int:
    """The first tick from ``tick`` on that has a phase before it; 0: none ever has."""
    every = [s.evolucion.cada for s in plan.swarms if s.evolucion is not None]
    every += [FUSION_EVERY] if _may_fuse(plan) else []
    every += [1] if any(s.settles for s in plan.swarms) else []
    every += [one.every for s in plan.swarms for one in s.collect]
    before = max(tick - 1, 1)
    return min((-(-before // cada) * cada + 1 for cada in every), default=0)


def numbers_of(phases: int) -> list[int]:
    """The numbers of the phases in a mask, in the order in which they are done."""
    return [number for phase, number in NUMBERS.items() if phases & phase]


class Phases:
    """The phases of the blocks of one process, which end before ``hi``."""

    def __init__(self, plan: Plan, tables: Tables, hi: int) -> None:
        self._plan, self._tables, self._hi = plan, tables, hi
        self.edits: list[Edit] = []
        """What is written into the blocks before the tick that comes."""
        self._none = range(0)  # ticks known to have no phase before them
        self._memory: list[NDArray[Any]] = []
        self._work: NDArray[np.int64] | None = None
        self._fusion: Fusion | None = None
        self._collecting: Collecting | None = None
        self.parts: Parts | None = None
        """Where columns that are to become files are left; None: nowhere."""
        settling = [(s.first_block, s.blocks) for s in plan.swarms if s.settles]
        self._settling = np.array(settling, np.int64).reshape(-1, 2)

    def collect_as(self, plan: Plan) -> None:
        """Collect what ``plan`` asks for, the same in all else."""
        if plan is not self._plan:
            self._plan, self._collecting, self._none = plan, None, range(0)

    def before(self, tick: int) -> list[int]:
        """The numbers of the phases before ``tick``, in the order in which they are done."""
        if tick in self._none:
            return []
        due = next_with_phases(self._plan, tick)
        if due == tick:
            return numbers_of(phases_before(self._plan, tick))
        self._none = range(tick, due or sys.maxsize)
        return []

    def run(self, number: int, at: int, targs: NDArray[np.int64], rows: Lane) -> int:
        """The phase ``number`` before the tick of ``targs``, of the blocks ``at … hi−1``; the block
        to go on with: ``hi`` when all are done, else one whose frame found no room in ``rows``."""
        if number == COLLECT:
            self._write(at, int(targs[K.T_TICK]))
            if self._collecting is None:
                self._collecting = Collecting(self._plan, self._tables, self._hi, self.parts)
            return self._collecting.run(at, targs, rows)
        if number == FUSION:
            self._fusion = self._fusion or Fusion(self._plan, self._tables, self._hi)
            return self._fusion.run(number, at, targs, rows)
        if number == SETTLEMENT:
            return self._settle(at, targs)
        from corec.kernels.evolution import evolve_range  # for worlds with genes alone

        if self._work is None:
            self._make_room()
        tables = self._tables
        return int(
            evolve_range(
                tables.blocks, tables.swarms, self._rules, at, self._hi, targs, self._work, number,
                rows.ctl, rows.data,
            )
        )  # fmt: skip

    def _write(self, at: int, tick: int) -> None:
        """``edits``, into the blocks from ``at`` on that have begun nothing of ``tick`` yet: no
        phase, and no step that took readings in, which leaves the tick in the word as it is."""

        def waits(block: BlockView) -> bool:
            mine = at <= block.index < self._hi
            return mine and block.tick < tick and not block.dyn[L.D_STEP]

        apply(self._plan, self._tables, self.edits, waits)

    def _settle(self, at: int, targs: NDArray[np.int64]) -> int:
        from corec.kernels.settlement import settle_range  # for worlds with births alone

        tables = self._tables
        told = tables.scratch_address + int(tables.scratch_offsets[K.X_TOLD])
        return int(
            settle_range(
                tables.blocks, tables.swarms, self._settling, at, self._hi, targs, told, SETTLEMENT
            )
        )  # fmt: skip

    def _make_room(self) -> None:
        from corec.kernels import evolution_desc as E

        swarms = [s for s in self._plan.swarms if s.evolucion is not None]
        self._rules = np.zeros((len(self._plan.swarms), E.E_COLUMNS), np.int64)
        for swarm in swarms:
            _fill_rule(self._rules[swarm.index], swarm)
        cap = align_up(max(s.cap for s in swarms), E.VECTORS)
        whole = [s for s in swarms if s.evolucion and s.evolucion.alcance == "enjambre"]
        island = max([cap, *(s.blocks * s.cap for s in whole)])
        blocks = max(s.blocks for s in swarms)
        words = max(_words(s) for s in swarms)
        genes = max(len(s.processor.genes) for s in swarms)
        sizes = {
            E.A_FITNESS: 4 * cap, E.A_ISLAND: 4 * island, E.A_KEY: 4 * island,
            E.A_RANK: 8 * (island + E.VECTORS), E.A_WHO: 4 * island, E.A_UPTO: 8 * island,
            E.A_SPARE: 8 * island, E.A_FITTEST: 4 * island, E.A_OTHER_KEY: 4 * cap,
            E.A_OTHER_RANK: 8 * cap, E.A_OTHER_WHO: 4 * cap, E.A_OTHER_ISLAND: 4 * cap,
            E.A_START: 8 * (blocks + 1), E.A_GENES: 8 * blocks, E.A_HOT: 8 * blocks,
            E.A_KIDS: 4 * (cap + E.VECTORS), E.A_ROLE: cap, E.A_WORDS: 4 * words * E.CHUNK,
            E.A_LIST: 4 * genes * cap, E.A_NORMALS: 4 * genes * cap,
            E.A_DYN: 8 * L.DYN_WORDS, E.A_MARKS: cap, E.A_MIGRANT_ID: 4 * cap,
            **dict.fromkeys(range(E.A_MOTHER, E.A_FROM + 1), 4 * (cap + E.VECTORS)),
            **dict.fromkeys(range(E.A_MOTHER_AT, E.A_MOTHER_HOT + 1), 8 * cap),
            E.A_PICKED: 8 * E.CHUNK,
        }  # fmt: skip
        work = np.zeros(E.A_COLUMNS, np.int64)
        for at, size in sizes.items():
            self._memory.append(np.zeros(size + 128, np.uint8))
            work[at] = int(self._memory[-1].ctypes.data) + 63 & ~63
        work[E.A_STRIDE] = cap
        self._work = work


def _words(swarm: Swarm) -> int:
    """How many words a child may draw, in whole groups of four."""
    assert swarm.evolucion is not None
    drawn = swarm.evolucion.size if swarm.evolucion.metodo == "torneo" else 2
    return 2 * max(2, int(drawn)) + 2 + 2 * len(swarm.processor.genes) + 4


def _below(probability: float) -> int:
    """The words that mean yes are those below this."""
    return math.ceil(probability * 2.0**32)


def _fill_rule(row: NDArray[np.int64], swarm: Swarm) -> None:
    from corec.kernels import evolution_desc as E
    from corec.kernels import evolving as V

    rules = swarm.evolucion
    assert rules is not None
    row[E.E_CADA] = rules.cada
    row[E.E_METHOD] = {"torneo": V.TORNEO, "truncamiento": V.TRUNCAMIENTO,
                       "ruleta": V.RULETA}[rules.metodo]  # fmt: skip
    row[E.E_TAMANO] = rules.size if isinstance(rules.size, int) else 0
    row[E.E_SHARE] = np.float64(rules.size).view(np.int64)
    share = isinstance(rules.elite, float)
    row[E.E_ELITE] = -1 if share else int(rules.elite)
    row[E.E_ELITE_SHARE] = np.float64(rules.elite if share else 0.0).view(np.int64)
    row[E.E_CRUCE] = {"uniforme": V.UNIFORME, "mezcla": V.MEZCLA, "un_punto": V.UN_PUNTO,
                      "ninguno": V.NINGUNO}[rules.crossing]  # fmt: skip
    row[E.E_CROSSES_BELOW] = _below(rules.crossed)
    row[E.E_MUTATES_BELOW] = _below(rules.mutacion)
    row[E.E_SWARM] = rules.alcance == "enjambre"
    if rules.migracion is not None:
        row[E.E_MIGRATION], row[E.E_MIGRANTS] = rules.migracion.cada, rules.migracion.cuantos
        row[E.E_TOPOLOGY] = {"anillo": E.RING, "completa": E.FULL,
                             "azar": E.RANDOM}[rules.migracion.topology]  # fmt: skip
    row[E.E_TOLD], row[E.E_LISTED_BELOW] = rules.generaciones, _below(rules.linaje)
    row[E.E_INHERITS] = rules.estado == "heredado"
    place = place_of(swarm, swarm.processor.fitness)
    row[E.E_FITNESS_OFF], row[E.E_FITNESS_CODE] = place.offset, V.FITNESS_CODES.index(place.dtype)
    row[E.E_FIRST_BLOCK], row[E.E_BLOCKS] = swarm.first_block, swarm.blocks
