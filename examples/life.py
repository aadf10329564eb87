"""The Game of Life on a million cells."""

import corec


def start(me):
    me.alive = me.random() < 0.3
    return 0.0


@corec.micro(state={"alive": "u1"}, public=("alive",), init=start)
def life(me):
    n = me.neighbours.sum("alive")
    me.alive = n == 3 or (n == 2 and me.alive == 1)
    return me.alive


TORUS = {"kind": "grid", "width": 1000, "height": 1000}
CELLS = {"id": "cells", "canal": 1, "entidades": 1_000_000, "procesador": life, "space": TORUS}

with corec.World({"bloques": [CELLS]}) as world:
    for _ in range(5):
        world.run(50)
        share = world.means("cells", ["alive"])["alive"]
        print(f"generation {world.ticks}: {share:.4f} are alive")
