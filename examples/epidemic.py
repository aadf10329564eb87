"""An epidemic on a contact network of 100,000 people: how many are ill, week by week."""

import corec

TOWN = {
    "id": "town", "canal": 1, "entidades": 100_000, "procesador": "sir_graph",
    "parametros": {"beta": 0.03, "gamma": 0.1},
    "space": {"kind": "graph", "edges": {"generator": "watts_strogatz", "k": 10, "p": 0.1}},
}  # fmt: skip

with corec.World({"bloques": [TOWN]}) as world:
    for week in range(1, 21):
        world.run(7)
        fase = world.frame("town", columns=["fase"])["fase"]
        print(f"week {week:2}: {(fase == 1).sum():6,} ill, {(fase == 2).sum():6,} have been")
