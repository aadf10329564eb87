"""Compiled kernels: random numbers, block statistics, and the tick of a range of blocks."""

import shm.jit  # noqa: F401  # before any of them is compiled: it keeps their symbols apart
