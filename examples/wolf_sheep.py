"""Wolves, sheep and grass: how many there are, as time goes by."""

import corec

MEADOW = {"kind": "plane", "position": ["x", "y"], "size": 50.0, "radius": 1.5}
BLOQUES = [
    {"id": "grass", "canal": 1, "entidades": 2500, "procesador": "grass", "space": MEADOW},
    {"id": "sheep", "canal": 2, "entidades": 600, "capacidad": 6000, "procesador": "sheep",
     "space": MEADOW},
    {"id": "wolf", "canal": 3, "entidades": 80, "capacidad": 2000, "procesador": "wolf",
     "space": MEADOW},
]  # fmt: skip

with corec.World({"bloques": BLOQUES}) as world:
    for _ in range(10):
        world.run(30)
        green = world.frame("grass", columns=["green"])["green"].sum()
        sheep, wolves = (world.frame(name, columns=["vivo"])["vivo"].sum() for name in
                         ("sheep", "wolf"))  # fmt: skip
        print(f"tick {world.ticks:3}: {sheep:4} sheep, {wolves:3} wolves, {green:4} green")
