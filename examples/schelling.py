"""Schelling's model: nobody wants to live apart, and yet everybody does in the end."""

import corec


def settle(me):
    me.group = 1 if me.random() < 0.5 else 2
    return 0.0


@corec.micro(state={"group": "u1"}, public=("group",), init=settle)
def citizen(me):
    around, alike = 0.0, 0.0
    for other in me.neighbours:
        if other.vivo == 1:
            around += 1.0
            if other.group == me.group:
                alike += 1.0
    if alike >= 0.4 * around:
        return alike / max(around, 1.0)
    me.move_to_empty()
    return alike / around


TOWN = {
    "id": "town", "canal": 1, "entidades": 36_000, "capacidad": 40_000, "procesador": citizen,
    "umbral": "nunca", "space": {"kind": "grid", "width": 200, "height": 200},
}  # fmt: skip

with corec.World({"bloques": [TOWN]}) as world:
    for _ in range(5):
        world.run(4)
        town = world.frame("town")
        alike = town["valor"][town["vivo"] == 1]
        print(f"tick {world.ticks:2}: {alike.mean():.0%} of those around are of one's own group")
