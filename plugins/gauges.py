"""A gauge on arriving readings: how far each one lies from what this gauge is used to."""

import corec


@corec.celu(
    state={"usual": "f4", "seen": "u4"},
    history={"last": ("f4", 8)},
    params={"rate": 0.1, "width": 2.0},
    alerts=True,
)
def gauge(me, value):
    me.last.push(value)
    me.seen = me.seen + 1
    if me.seen == 1:
        me.usual = value
    surprise = abs(me.last.mean() - me.usual) / me.width
    me.usual = me.usual + me.rate * (value - me.usual)
    return min(surprise, 1.0)


def settle(me):
    me.heat = 20.0 + 5.0 * me.random()  # at the start, and when an entity is reset
    return 0.0


@corec.micro(state={"heat": "f4"}, params={"share": 0.2}, means=("heat",), init=settle)
def cell(me):
    me.heat = me.heat + me.share * (me.mean_heat - me.heat) + 0.5 * (me.random() - 0.5)
    return abs(me.heat - me.mean_heat)
