"""NumPy as an expert writes it: nothing allocated per tick, ``out=`` everywhere, float32, chunks
that stay in the second-level cache, random numbers written in place."""

from __future__ import annotations

import numpy as np

from corec.lab.bench.rivals.sensor import BLOCK, MU, NOISE, PHI, UMBRAL, Uniforms, Values
from corec.layout import MESSAGE

CHUNK_BLOCKS = 32


class ArrayTick:
    """``generator``: "Philox" (counter-based, like CoreC's) or "SFC64" (NumPy's fastest)."""

    def __init__(
        self, valor: Values, uniforms: Uniforms | None = None, generator: str = "Philox"
    ) -> None:
        self.n = valor.size
        self.messages = 0
        self._uniforms = uniforms
        self._tick = 0
        self._rng = np.random.Generator(getattr(np.random, generator)(42))
        blocks = self.n // BLOCK
        self._old = valor.reshape(blocks, BLOCK).copy()
        self._new = np.empty_like(self._old)
        self._umbral = np.full(blocks, UMBRAL, np.float32)
        shape = (min(CHUNK_BLOCKS, blocks), BLOCK)
        self._draw = np.empty(shape, np.float32)
        self._flag = np.empty(shape, np.bool_)
        self._message = np.zeros(self.n, MESSAGE)
        self._message["canal"] = self._message["activo"] = 1

    def tick(self) -> None:
        self._tick += 1
        given = self._uniforms(self._tick) if self._uniforms else None
        for lo in range(0, self._old.shape[0], CHUNK_BLOCKS):
            old, new = self._old[lo : lo + CHUNK_BLOCKS], self._new[lo : lo + CHUNK_BLOCKS]
            draw, flag = self._draw[: old.shape[0]], self._flag[: old.shape[0]]
            umbral = self._umbral[lo : lo + CHUNK_BLOCKS]
            if given is None:
                self._rng.random(out=draw, dtype=np.float32)
            else:
                np.copyto(draw, given[lo * BLOCK :][: draw.size].reshape(draw.shape))
            np.multiply(old, np.float32(PHI), out=new)
            np.multiply(draw, np.float32(NOISE), out=draw)
            np.add(new, draw, out=new)
            np.add(new, np.float32(MU - PHI * MU - NOISE / 2), out=new)
            np.isfinite(new, out=flag)
            errors = flag.size - np.count_nonzero(flag)
            if errors:
                np.copyto(new, old, where=~flag)
            np.greater(new, umbral[:, None], out=flag)
            picked = np.flatnonzero(flag)
            message = self._message[: picked.size]
            message["id"] = picked + lo * BLOCK
            message["valor"] = new.ravel()[picked]
            self.messages += picked.size
            np.subtract(new, new.mean(axis=1, dtype=np.float32)[:, None], out=draw)
            sigma = np.sqrt(np.einsum("ij,ij->i", draw, draw) / np.float32(BLOCK - 1))
            raw = 0.5 + 0.3 * sigma + 0.2 * errors / flag.size
            np.clip(raw, 0.1, 0.9, out=umbral)
        self._old, self._new = self._new, self._old

    def values(self) -> Values:
        return self._old.ravel()
