"""Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw.

Source: "Parallel random numbers: as easy as 1, 2, 3", SC'11; known-answer vectors from Random123.

Entity ``id`` at tick ``t`` draws its k-th number from word ``id & 3`` of
``philox(counter=(id >> 2, k, t & 0xffffffff, t >> 32), key=(seed & 0xffffffff, seed >> 32))``: a
pure function of (seed, entity, tick, k), and one Philox call serves four neighbouring entities.
The words are held in 64-bit lanes whose upper halves may be dirty: a 32 x 32 -> 64 multiply
(``vpmuludq``) ignores them, so the loop vectorises without a shuffle. Twice the speed of the
32-bit form here.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types, uint32, uint64
from numpy.typing import NDArray

from shm.jit import compiled

_LOW = 0xFFFFFFFF
INV_2_24 = np.float32(2.0**-24)


@njit(inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four u64 whose low 32 bits are Philox4x32-10 of counter (c0..c3) and key (k0, k1)."""
    low = uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = (c0 & low) * uint64(0xD2511F53)
        p1 = (c2 & low) * uint64(0xCD9E8D57)
        c0 = (p1 >> uint64(32)) ^ c1 ^ k0
        c1 = p1
        c2 = (p0 >> uint64(32)) ^ c3 ^ k1
        c3 = p0
        k0 = (k0 + uint64(0x9E3779B9)) & low
        k1 = (k1 + uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


_U64 = types.uint64


@compiled(types.void(types.uint32[::1], _U64, _U64, _U64, _U64))
def fill_random(out, group, tick, draw, seed):
    """Fill u32[4·g] with draw ``draw`` of the entities ``4·group …`` at ``tick``."""
    low = uint64(0xFFFFFFFF)
    t0 = uint64(tick) & low
    t1 = uint64(tick) >> uint64(32)
    k0 = uint64(seed) & low
    k1 = uint64(seed) >> uint64(32)
    for j in range(out.shape[0] >> 2):
        a, b, c, d = philox4x32(uint64(group) + uint64(j), uint64(draw), t0, t1, k0, k1)
        out[4 * j] = uint32(a)
        out[4 * j + 1] = uint32(b)
        out[4 * j + 2] = uint32(c)
        out[4 * j + 3] = uint32(d)


@compiled(types.uint32(_U64, _U64, _U64, _U64))
def random_word(entity, tick, draw, seed):
    """Draw ``draw`` of one entity at ``tick``: u32."""
    low = uint64(0xFFFFFFFF)
    a, b, c, d = philox4x32(
        uint64(entity) >> uint64(2),
        uint64(draw),
        uint64(tick) & low,
        uint64(tick) >> uint64(32),
        uint64(seed) & low,
        uint64(seed) >> uint64(32),
    )
    lane = uint32(entity) & uint32(3)
    word = a
    if lane == uint32(1):
        word = b
    elif lane == uint32(2):
        word = c
    elif lane == uint32(3):
        word = d
    return uint32(word)


def philox_reference(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 in plain Python integers: counter of four, key of two 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


def uniform_reference(entity: int, tick: int, draw: int, seed: int) -> np.float32:
    """The number ``me.random()`` returns, in plain Python: float32 in [0, 1), 24 bits."""
    return np.float32(word_reference(entity, tick, draw, seed) >> 8) * INV_2_24


def word_reference(entity: int, tick: int, draw: int, seed: int) -> int:
    """Draw ``draw`` of one entity at ``tick``, in plain Python: 32 bits."""
    counter = (entity >> 2, draw & _LOW, tick & _LOW, tick >> 32)
    return philox_reference(counter, (seed & _LOW, seed >> 32))[entity & 3]


def uniforms(first_id: int, count: int, tick: int, draw: int, seed: int) -> NDArray[np.float32]:
    """f32[count]: draw ``draw`` of the entities first_id … first_id+count−1 at ``tick``."""
    group = first_id >> 2
    words = np.zeros(((first_id + count + 3) >> 2) * 4 - group * 4, np.uint32)
    fill_random(words, np.uint64(group), np.uint64(tick), np.uint64(draw), np.uint64(seed))
    start = first_id - group * 4
    return (words[start : start + count] >> 8).astype(np.float32) * INV_2_24
