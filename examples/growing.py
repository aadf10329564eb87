"""Fifty thousand more bearings tomorrow: they join between two ticks, and no other one notices.

Of a running instance it is the same with ``corec.attach()`` instead of ``corec.World``.
"""

import corec

PLANT = {
    "bloques": [
        {"id": "bearings", "canal": 7, "entidades": 10_000, "procesador": "my_first:bearing"}
    ]
}

with corec.World(PLANT) as world, corec.World(PLANT) as usual:
    world.run(100)
    world.grow("bearings", 50_000)
    world.run(50)
    usual.run(150)
    wear, same = (one.frame("bearings", columns=["wear"])["wear"] for one in (world, usual))
    spared = (wear[:10_000] == same).all()
    print(f"{len(wear):,} bearings, the first {len(same):,} as usual: {spared}")
    print(f"wear of the old ones {same.mean():.2f}, of the new ones {wear[10_000:].mean():.2f}")
