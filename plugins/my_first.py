"""A first entity of your own: a bearing that wears, shakes, and is replaced."""

import corec


@corec.micro(state={"wear": "f4", "replaced": "u4"}, params={"pace": 0.01})
def bearing(me):
    me.wear = me.wear + me.pace * me.random()
    if me.wear > 1.0:
        me.wear = 0.0
        me.replaced = me.replaced + 1
    return me.wear**6  # the vibration: this becomes valor
