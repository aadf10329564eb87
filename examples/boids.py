"""A flock of 5,000 birds: at first each flies its own way, then they fly together."""

import numpy as np

import corec

SIDE = 50.0


@corec.micro(state={"x": "f4", "y": "f4", "vx": "f4", "vy": "f4"}, public=("x", "y", "vx", "vy"))
def boid(me):
    if me.tick == 1:
        me.vx, me.vy = 0.2 * me.random() - 0.1, 0.2 * me.random() - 0.1
    ax = ay = 0.0
    for other in me.neighbours:
        ax += 0.02 * (other.vx - me.vx) - 0.0002 * other.dx / (other.distance2 + 0.01)
        ay += 0.02 * (other.vy - me.vy) - 0.0002 * other.dy / (other.distance2 + 0.01)
    me.vx, me.vy = me.vx + ax, me.vy + ay
    me.x, me.y = me.x + me.vx, me.y + me.vy  # the plane wraps them
    return 0.0


SKY = {"kind": "plane", "position": ["x", "y"], "size": SIDE, "radius": 2.0}
FLOCK = {"id": "flock", "canal": 1, "entidades": 5000, "procesador": boid, "space": SKY}

with corec.World({"bloques": [FLOCK]}) as world:
    for tick in (1, 10, 100, 1000):
        world.run(tick - world.ticks)
        birds = world.frame("flock", columns=["vx", "vy"])
        together = np.hypot(birds["vx"].mean(), birds["vy"].mean())
        speed = np.hypot(birds["vx"], birds["vy"]).mean()
        print(f"tick {tick:4}: {together / speed:4.0%} of their speed is the flock's")
