"""Genes that evolve: ten numbers each, a thousand candidates, the lowest Rastrigin value wins."""

import math
from typing import Any

import corec

GENES = {f"x{k}": (-5.12, 5.12, 0.3) for k in range(10)}


def hills(x: Any) -> Any:
    """One dimension of Rastrigin's function: 0 at 0, and a hill beside each whole number."""
    return 10.0 + x * x - 10.0 * math.cos(2.0 * math.pi * x)


@corec.micro(genes=GENES, state={"score": "f4"}, fitness="score")
def candidate(me: Any) -> Any:
    """Its fitness: the higher the better, 0 at best."""
    me.score = -(
        hills(me.x0) + hills(me.x1) + hills(me.x2) + hills(me.x3) + hills(me.x4)
        + hills(me.x5) + hills(me.x6) + hills(me.x7) + hills(me.x8) + hills(me.x9)
    )  # fmt: skip
    return 0.0


CONFIG = {
    "bloques": [
        {
            "id": "rastrigin", "canal": 1, "entidades": 1000, "procesador": candidate,
            "evolucion": {"cada": 1, "tamano": 3, "elite": 2},
        }
    ]
}  # fmt: skip

with corec.World(CONFIG) as world:
    for generation in (1, 10, 50, 200):
        world.run(generation - world.ticks)
        frame = world.frame("rastrigin")
        best = int(frame["score"].argmax())
        genes = ", ".join(f"{frame[name][best]:.3f}" for name in GENES)
        print(f"generation {generation:3}: {frame['score'][best]:9.4f}  ({genes})")
