"""A forest that grows, and burns where lightning strikes (Drossel and Schwabl)."""

import corec

EMPTY, TREE, FIRE = 0, 1, 2


@corec.micro(state={"cell": "u1"}, public=("cell",), params={"growth": 0.02, "strike": 0.00002})
def forest(me):
    u = me.random()
    if me.cell == FIRE:
        me.cell = EMPTY
    elif me.cell == TREE and (me.neighbours.count_equal("cell", FIRE) > 0 or u < me.strike):
        me.cell = FIRE
    elif me.cell == EMPTY and u < me.growth:
        me.cell = TREE
    return 0.0


LAND = {
    "id": "land", "canal": 1, "entidades": 250_000, "procesador": forest, "umbral": "nunca",
    "space": {"kind": "grid", "width": 500, "height": 500},
}  # fmt: skip

with corec.World({"bloques": [LAND]}) as world:
    for _ in range(6):
        world.run(50)
        cell = world.frame("land", columns=["cell"])["cell"]
        share, burning = (cell == TREE).mean(), (cell == FIRE).sum()
        print(f"tick {world.ticks:3}: {share:.1%} is forest, {burning:5,} trees burn")
