"""Shared memory between processes: segments, single-writer words, byte lanes, wake-up.

Knows nothing of CoreC.  See ``layout`` for every byte, ``lane`` for the ring, ``segment`` for the
named files they live in, ``wake`` for the doorbell and ``atomics`` for the memory ordering.
"""
