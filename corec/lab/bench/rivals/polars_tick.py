"""Polars: the world is a data frame, a tick is one lazy query; random numbers come from NumPy,
since Polars has none by the column. One thread (``POLARS_MAX_THREADS``), as the others."""

from __future__ import annotations

import numpy as np
import polars as pl

from corec.lab.bench.rivals.sensor import BLOCK, MU, NOISE, PHI, UMBRAL, Uniforms, Values


class PolarsTick:
    """``n`` rows: id, block, valor, umbral."""

    def __init__(self, valor: Values, uniforms: Uniforms | None = None) -> None:
        self.n = valor.size
        self.messages = 0
        self._given = uniforms
        self._tick = 0
        self._rng = np.random.Generator(np.random.Philox(42))
        number = np.arange(self.n, dtype=np.uint32)
        self._frame = pl.DataFrame(
            {
                "id": number,
                "block": number // BLOCK,
                "valor": valor.copy(),
                "umbral": np.full(self.n, UMBRAL, np.float32),
            }
        )

    def tick(self) -> None:
        self._tick += 1
        if self._given:
            draw = self._given(self._tick)
        else:
            draw = self._rng.random(self.n, dtype=np.float32)
        f4 = pl.Float32
        x = (
            pl.col("valor") * pl.lit(PHI, f4)
            + pl.Series("draw", draw) * pl.lit(NOISE, f4)
            + pl.lit(MU - PHI * MU - NOISE / 2, f4)
        )
        moved = self._frame.lazy().with_columns(
            valor=pl.when(x.is_finite()).then(x).otherwise(pl.col("valor")),
            failed=x.is_finite().not_(),
        )
        raw = (
            pl.lit(0.5, f4)
            + pl.lit(0.3, f4) * pl.col("valor").std().over("block")
            + pl.lit(0.2, f4) * pl.col("failed").sum().over("block") / BLOCK
        )
        found = moved.with_columns(over=pl.col("valor") > pl.col("umbral"), following=raw).collect()
        outbox = found.filter(pl.col("over")).select("id", "valor")
        self.messages += outbox.height
        self._frame = found.select(
            "id", "block", "valor", umbral=pl.col("following").clip(0.1, 0.9).cast(f4)
        )

    def values(self) -> Values:
        return np.asarray(self._frame["valor"].to_numpy(), np.float32)
