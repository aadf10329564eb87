"""The state of all entities at one tick as a DataFrame, and their means over time."""

import corec

BEARINGS = {
    "bloques": [
        {"id": "bearings", "canal": 7, "entidades": 10_000, "procesador": "my_first:bearing"}
    ]
}

with corec.World(BEARINGS, seed=7) as world:
    means = []
    for _ in range(20):
        tick = world.run(10)
        means.append({"tick": tick, **world.means("bearings")})
    table = world.frame("bearings", columns=["id", "valor", "wear", "replaced"]).to_pandas()

print(means[-1])
print(table.describe())
