"""The tables that an evolution is driven by: one int64 row per swarm, and one of work memory.

Made by ``corec.world.phases``; addresses are this process's own.
"""

from __future__ import annotations

from typing import Final

from shm.layout import Counted

# row of a swarm's rules, int64
_e = Counted()
E_CADA: Final = _e()  # 0: it does not evolve
E_METHOD: Final = _e()
E_TAMANO: Final = _e()  # of a tournament
E_SHARE: Final = _e()  # * of the best, for truncation, if E_TAMANO is 0
E_ELITE: Final = _e()  # −1: a share
E_ELITE_SHARE: Final = _e()  # *
E_CRUCE: Final = _e()
E_CROSSES_BELOW: Final = _e()  # ⌈probability · 2³²⌉
E_MUTATES_BELOW: Final = _e()
E_SWARM: Final = _e()  # 1: the whole swarm is one island
E_MIGRATION: Final = _e()  # every so many generations; 0: never
E_MIGRANTS: Final = _e()
E_TOPOLOGY: Final = _e()
E_INHERITS: Final = _e()  # 1: a child has its mother's state
E_FITNESS_OFF: Final = _e()  # offset in a hot copy
E_FITNESS_CODE: Final = _e()  # type: place in ``V.FITNESS_CODES``
E_FIRST_BLOCK: Final = _e()
E_BLOCKS: Final = _e()
E_TOLD: Final = _e()  # a row of every so many generations; 0: of none
E_LISTED_BELOW: Final = _e()  # ⌈share of the children that are listed · 2³²⌉
E_COLUMNS: Final = _e.end

RING: Final = 0
FULL: Final = 1
RANDOM: Final = 2

VECTORS: Final = 64
"""No vector loop takes more values at once; ``cap`` below is up to a multiple of it."""
CHUNK: Final = 256
"""So many children draw their words at once: the words of a chunk stay in the nearest cache."""

# addresses of work memory, int64: one row for all evolutions of a process
_a = Counted()
A_FITNESS: Final = _a()  # f4[cap] of one block
A_ISLAND: Final = _a()  # f4[island]
A_KEY: Final = _a()  # u4[island]
A_RANK: Final = _a()  # u8[island + VECTORS]
A_WHO: Final = _a()  # u4[island]: index in the block, or in the swarm
A_UPTO: Final = _a()  # f8[island]
A_SPARE: Final = _a()  # u8[island]
A_FITTEST: Final = _a()  # u4[island]
A_OTHER_KEY: Final = _a()  # u4[cap], as the next two: of the island that migrants come from
A_OTHER_RANK: Final = _a()
A_OTHER_WHO: Final = _a()
A_OTHER_ISLAND: Final = _a()
A_START: Final = _a()  # i8[blocks + 1]: position of each block's first one
A_GENES: Final = _a()  # i8[blocks]: address of each block's genes before the phase
A_HOT: Final = _a()  # i8[blocks]: of its hot copy
A_KIDS: Final = _a()  # u4[cap + VECTORS]
A_ROLE: Final = _a()  # u1[cap]
A_WORDS: Final = _a()  # u4[words][CHUNK]
A_PICKED: Final = _a()  # u4[2][CHUNK]
A_MOTHER: Final = _a()  # u4[cap + VECTORS], as the next five: her position in the island
A_FATHER: Final = _a()
A_BITS: Final = _a()  # bit j: gene j is the father's
A_MOTHER_PLACE: Final = _a()  # in her block
A_FATHER_PLACE: Final = _a()
A_FROM: Final = _a()  # whose gene a child has: the place
A_MOTHER_AT: Final = _a()  # i8[cap], as the next two: address of her first gene
A_FATHER_AT: Final = _a()
A_MOTHER_HOT: Final = _a()
A_LIST: Final = _a()  # u4[genes][cap]
A_DYN: Final = _a()
A_MARKS: Final = _a()  # u1[cap]
A_STRIDE: Final = _a()  # cap itself: of the largest block, up to whole vectors
A_MIGRANT_ID: Final = _a()  # u4[cap]
A_NORMALS: Final = _a()  # f4[genes][cap]
A_COLUMNS: Final = _a.end
