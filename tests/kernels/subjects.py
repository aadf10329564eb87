"""Processors for the kernels' tests: what they compute in float32 is exact in any order."""

from __future__ import annotations

from typing import Any

from corec import celu, micro

HOT = 1000.0  # a valor above raises, one below −1000 gives a non-finite result


def _start(me: Any) -> Any:
    me.x = 2.0 * me.random()
    return 0.25


@micro(
    state={"x": "f4", "count": ("u4", 3)},
    params={"gain": 0.5},
    means=("x",),
    init=_start,
)
def worker(me: Any) -> Any:
    """Computes, fails on demand of a reading, emits now and then."""
    me.count = me.count + 1
    me.x = me.gain * me.x + me.random()
    if me.valor > HOT:
        raise ValueError("too hot")
    if me.valor < -HOT:
        return me.x / 0.0
    return me.x * 0.5 + 0.125 * me.random()


@micro(
    state={"x": "f4", "count": ("u4", 3)}, params={"gain": 0.5}, public=("count", "x"), init=_start
)
def neighbour(me: Any) -> Any:
    """As ``worker``, and computes with what its neighbours were a tick ago."""
    me.count = me.count + 1 + me.neighbours.max("count") % 3
    me.x = me.gain * me.x + me.random() + 0.0625 * me.neighbours.sum("x")
    if me.valor > HOT:
        raise ValueError("too hot")
    if me.valor < -HOT:
        return me.x / 0.0
    return me.x * 0.5 + 0.125 * me.random()


@micro(state={"x": "f4", "count": ("u4", 3)}, params={"gain": 0.5}, init=_start, mortal=True)
def mortal(me: Any) -> Any:
    """As ``worker``, and some die and have children."""
    me.count = me.count + 1
    me.x = me.gain * me.x + me.random()
    if me.random() < 0.2:
        me.die()
    elif me.random() < 0.3:
        me.spawn(x=me.x, count=me.count)
    if me.valor > HOT:
        raise ValueError("too hot")
    if me.valor < -HOT:
        return me.x / 0.0
    return me.x * 0.5 + 0.125 * me.random()


@micro(state={"x": "f4", "count": ("u4", 3)}, params={"gain": 0.5}, init=_start, sends=2)
def poster(me: Any) -> Any:
    """As ``worker``, and sends to others, and reads what they sent."""
    me.count = me.count + 1 + len(me.inbox)
    for value in me.inbox:
        me.x = 0.5 * me.x + value
    me.x = me.gain * me.x + me.random()
    me.send(me.randint(0, 39), me.x)
    if me.valor > HOT:
        raise ValueError("too hot")
    me.send((me.id + me.tick) % 40, 0.5)
    if me.valor < -HOT:
        return me.x / 0.0
    return me.x * 0.5 + 0.125 * me.random()


@celu(state={"total": "f4", "count": "u4"}, params={"gain": 0.5}, sends=2)
def answerer(me: Any, value: Any) -> Any:
    """As ``listener`` without a history, and answers to whoever it likes."""
    me.count = me.count + 1
    me.total = me.gain * me.total + value
    me.send((me.id * 7 + me.count) % 40, 0.25 * value)
    if value > HOT:
        raise ValueError("too hot")
    if value < -HOT:
        return value / 0.0
    return me.total + 0.125 * me.random()


@celu(
    state={"total": "f4", "count": "u4"},
    history={"last": ("f4", 5)},
    params={"gain": 0.5},
)
def listener(me: Any, value: Any) -> Any:
    """Keeps what arrives; raises or returns a non-finite number when told to."""
    me.last.push(value)
    me.count = me.count + 1
    me.total = me.gain * me.total + value
    if value > HOT:
        raise ValueError("too hot")
    if value < -HOT:
        return value / 0.0
    return me.last[0] + me.last[-1] + 0.125 * me.random()


@celu(history={"last": ("f4", 5)})
def pusher(me: Any, value: Any) -> Any:
    """Pushes as often as one call may."""
    for k in range(4):
        me.last.push(value + k)
    return me.last.mean()
