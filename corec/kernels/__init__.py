"""Compiled kernels: random numbers, block statistics, and the tick of a range of blocks."""
