"""What if the bearings wore twice as fast from tick 100 on? Two worlds, one parameter."""

import corec

BEARINGS = {
    "bloques": [
        {"id": "bearings", "canal": 7, "entidades": 10_000, "procesador": "my_first:bearing"}
    ]
}

with corec.World(BEARINGS) as usual, corec.World(BEARINGS) as faster:
    for world in (usual, faster):
        world.run(100)
    assert usual.digest() == faster.digest()
    faster.set("bearings", pace=0.02)
    for world in (usual, faster):
        world.run(100)
    print("replaced as usual", usual.frame()["replaced"].sum())
    print("replaced at twice the pace", faster.frame()["replaced"].sum())
