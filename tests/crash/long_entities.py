"""Processors that raise or take long: a test copies this file beside its configuration."""

from __future__ import annotations

from typing import Any

import numpy as np

import corec

TABLE = np.arange(4, dtype=np.float32)


@corec.micro(state={"x": "f4"})
def beyond(me: Any) -> Any:
    """Ids from 4 on reach beyond the table, a little or very far."""
    me.x = TABLE[me.id if me.id < 50 else me.id * 100_000_000]
    return 0.0


@corec.micro(state={"x": "f4"})
def endless(me: Any) -> Any:
    """The ids 60 and 61 never end."""
    while me.id // 2 == 30:
        me.x = me.x + 1.0
    return 0.0


@corec.micro(state={"x": "f8", "rounds": "u4"}, steps_max=1 << 40)
def patient(me: Any) -> Any:
    """The first call takes twelve seconds or more, the others none."""
    if me.rounds == 0:
        while me.x < 8e9:
            me.x = me.x + 1.0
    me.rounds = me.rounds + 1
    return 0.0


def deep(n: Any) -> Any:
    """Calls itself."""
    return 0 if n <= 0 else 1 + deep(n - 1)


@corec.micro
def recursive(me: Any) -> Any:
    """Is refused."""
    return deep(me.id)
