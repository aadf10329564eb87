"""The tables that an evolution is driven by: one int64 row per swarm, and one of work memory.

Made by ``corec.world.phases``; addresses are this process's own.
"""

from __future__ import annotations

from typing import Final

# row of a swarm's rules, int64
E_CADA: Final = 0  # 0: it does not evolve
E_METHOD: Final = 1
E_TAMANO: Final = 2  # of a tournament
E_SHARE: Final = 3  # * of the best, for truncation, if E_TAMANO is 0
E_ELITE: Final = 4  # −1: a share
E_ELITE_SHARE: Final = 5  # *
E_CRUCE: Final = 6
E_CROSSES_BELOW: Final = 7  # ⌈probability · 2³²⌉
E_MUTATES_BELOW: Final = 8
E_SWARM: Final = 9  # 1: the whole swarm is one island
E_MIGRATION: Final = 10  # every so many generations; 0: never
E_MIGRANTS: Final = 11
E_TOPOLOGY: Final = 12
E_INHERITS: Final = 13  # 1: a child has its mother's state
E_FITNESS_OFF: Final = 14  # offset in a hot copy
E_FITNESS_CODE: Final = 15  # type: place in ``V.FITNESS_CODES``
E_FIRST_BLOCK: Final = 16
E_BLOCKS: Final = 17
E_TOLD: Final = 18  # a row of every so many generations; 0: of none
E_LISTED_BELOW: Final = 19  # ⌈share of the children that are listed · 2³²⌉
E_COLUMNS: Final = 20

RING: Final = 0
FULL: Final = 1
RANDOM: Final = 2

# addresses of work memory, int64: one row for all evolutions of a process
A_FITNESS: Final = 0  # f4[cap] of one block
A_ISLAND: Final = 1  # f4[island]
A_KEY: Final = 2  # u4[island]
A_RANK: Final = 3  # u8[island]
A_WHO: Final = 4  # u4[island]: index in the block, or in the swarm
A_UPTO: Final = 5  # f8[island]
A_SPARE: Final = 6  # u8[island]
A_FITTEST: Final = 7  # u4[island]
A_OTHER_KEY: Final = 8  # u4[cap], as the next two: of the island that migrants come from
A_OTHER_RANK: Final = 9
A_OTHER_WHO: Final = 10
A_OTHER_ISLAND: Final = 11
A_START: Final = 12  # i8[blocks + 1]: position of each block's first one
A_GENES: Final = 13  # i8[blocks]: address of each block's genes before the phase
A_HOT: Final = 14  # i8[blocks]: of its hot copy
A_KIDS: Final = 15  # u4[cap]
A_ROLE: Final = 16  # u1[cap]
A_WORDS: Final = 17  # u4[words][cap]
A_MOTHER: Final = 18  # i8[cap], as the next five
A_FATHER: Final = 19
A_MOTHER_AT: Final = 20  # address of her first gene
A_FATHER_AT: Final = 21
A_MOTHER_HOT: Final = 22
A_MOTHER_PLACE: Final = 23
A_LIST: Final = 24  # u4[cap]
A_DYN: Final = 25
A_MARKS: Final = 26  # u1[cap]
A_STRIDE: Final = 27  # cap itself: of the largest block
A_MIGRANT_ID: Final = 28  # u4[cap]
A_COLUMNS: Final = 29
