"""Readings that no detector likes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hostile(seed: int) -> NDArray[np.float64]:
    """A series that has everything which makes detectors shout."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(2, 400) * 5.0 ** rng.integers(-3, 4)
    shifts = np.repeat(rng.normal(0, 100, 20), 20)
    return np.concatenate([
        noise, shifts + rng.normal(0, 0.1, 400), np.zeros(60), np.arange(200) ** 2.0,
        rng.choice([1e30, -1e30, 3.4e38, 1e-40, 0.0], 60), 1.02 ** np.arange(200), noise,
    ])  # fmt: skip
