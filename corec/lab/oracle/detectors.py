"""The built-in detectors, written from docs/detectors.md, step by step as they stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from corec.lab.oracle.entity import Kind
from corec.lab.oracle.rounded import exp, log

ZERO: Final = np.float32(0.0)
GATE: Final = {"pause": 30.0}


def clamped(value: Any) -> Any:
    """``x``."""
    return np.float32(min(max(value, np.float32(-1e18)), np.float32(1e18)))


def gate(me: Any, s: Any) -> Any:
    """The gate."""
    if me.rest > 0:
        me.rest = me.rest - 1
        return ZERO
    if s >= 1:
        me.rest = me.pause
        return 1 - np.float32(0.25) / s
    return np.float32(0.5) * max(s, ZERO)


def triples(history: Any) -> list[tuple[Any, Any, Any]]:
    """Its numbers, three by three."""
    held = list(history)
    return list(zip(held[::3], held[1::3], held[2::3], strict=True))


def detector(me: Any, value: Any) -> Any:
    """Nine steps."""
    x = clamped(value)
    if me.seen == 0:
        me.mean = me.short_mean = x
    me.seen = me.seen + 1
    me.roughness = me.roughness + np.float32(0.02) * (abs(x - me.short_mean) - me.roughness)
    me.short_mean = me.short_mean + np.float32(0.1) * (x - me.short_mean)
    book = triples(me.book)
    distances = [
        abs(x - a)
        + np.float32(0.8) * abs(me.short_mean - b)
        + np.float32(0.4) * abs(me.roughness - c)
        for a, b, c in book
    ]  # fmt: skip
    near = min(distances, default=ZERO)
    width = np.sqrt(me.var) + 1e-6 * abs(me.mean) + 1e-18
    if not book or near > me.grain * width:
        for number in (x, me.short_mean, me.roughness):
            me.book.push(number)
    d, z = near - me.far, ZERO
    if me.seen > me.warmup:
        deviation = np.sqrt(me.spread) + np.float32(0.08) * width + 1e-18
        z = d / deviation
        if d > me.cut * deviation:
            d = me.cut * deviation
    p = max(me.forget, 1 / max(me.seen - np.float32(20), np.float32(1)))
    me.far = me.far + p * d
    me.spread = (1 - p) * (me.spread + p * d * d)
    e = x - me.mean
    q = max(me.slow, 1 / me.seen)
    me.mean = me.mean + q * e
    me.var = (1 - q) * (me.var + q * e * e)
    me.level = me.level + (1 - me.level) / me.ease
    s = z / (me.z0 * me.level)
    if s >= 1 and me.rest <= 0:
        me.level = me.level * (1 + me.step)
    return gate(me, s)


def spot(me: Any, value: Any) -> Any:
    """Seven steps."""
    x = clamped(value)
    if me.read == 0:
        me.drift = x
    d = x - me.drift
    enough = min(max(me.learn, np.float32(2)), np.float32(100))
    if me.read < enough:
        me.read = me.read + 1
        me.first.push(d)
        me.drift = me.drift + me.follow * d
        if me.read >= enough:
            _settle(me)
        return gate(me, ZERO)
    floor = 1e-6 * abs(me.drift) + 1e-18
    high, low = max(me.high_z, floor), max(me.low_z, floor)
    s = ZERO
    if d > me.high_t:
        s = (d - me.high_t) / high
    elif d < me.low_t:
        s = (me.low_t - d) / low
    d = min(max(d, me.low_t - low), me.high_t + high)
    me.drift = me.drift + me.follow * d
    me.read = me.read + 1
    _beyond(me, d)
    if me.read >= 1048576:
        for name in ("read", "high_n", "high_sum2", "low_n", "low_sum2"):
            setattr(me, name, getattr(me, name) * 0.5)
    return gate(me, s)


def _settle(me: Any) -> None:
    held = list(me.first)
    ordered = sorted(held)
    j = int(len(held) * (1 - me.quantile))
    me.high_t = next(v for v in reversed(held) if v == ordered[len(held) - 1 - j])
    me.low_t = next(v for v in reversed(held) if v == ordered[j])
    for number in held:
        _beyond(me, number)


def _beyond(me: Any, d: Any) -> None:
    if d > me.high_t:
        _peak(me, "high", d - me.high_t)
    elif d < me.low_t:
        _peak(me, "low", me.low_t - d)


def _peak(me: Any, side: str, y: Any) -> None:
    n = getattr(me, f"{side}_n") + 1
    mean, sum2 = getattr(me, f"{side}_mean"), getattr(me, f"{side}_sum2")
    e = y - mean
    mean = mean + e / n
    sum2 = sum2 + e * (y - mean)
    share = me.risk * me.read / n
    r = np.float32(1)
    if sum2 > mean * mean * n:
        r = mean * mean * n / sum2
    gamma, sigma = np.float32(0.5) * (1 - r), np.float32(0.5) * mean * (r + 1)
    w = log(share)
    z = -sigma * w if abs(gamma) < np.float32(0.001) else sigma / gamma * (exp(-gamma * w) - 1)
    for name, number in (("n", n), ("mean", mean), ("sum2", sum2), ("z", z)):
        setattr(me, f"{side}_{name}", number)


def seasonal(me: Any, value: Any) -> Any:
    """Four steps."""
    x = clamped(value)
    period, bins = max(int(me.period), 1), min(max(int(me.bins), 1), 64)
    part = np.float32(me.tick % period * bins // period)
    if me.part < 0:
        me.since = me.tick
    turn = me.tick // period
    if part != me.part or turn != me.turn:
        _close(me)
        me.part, me.turn = part, turn
        me.known = me.count = me.middle = me.apart = 0.0
        for p, level, variance in triples(me.profile):
            if p == part:
                me.usual, me.wide, me.known = level, variance, 1.0
    s = ZERO
    if me.known > 0:
        e = x - me.usual
        sigma = np.sqrt(0.5 * (me.wide + me.pool)) + 1e-6 * abs(me.usual) + 1e-18
        m = me.width * sigma
        if me.tick - me.since >= int(me.periods) * period and me.pooled >= 30:
            s = abs(e) / m
            e = min(max(e, -m), m)
            x = me.usual + e
        me.pooled = me.pooled + 1
        me.pool = me.pool + max(me.share, 1 / me.pooled) * (e * e - me.pool)
    me.count = me.count + 1
    d = x - me.middle
    me.middle = me.middle + d / me.count
    me.apart = me.apart + d * (x - me.middle)
    return gate(me, s)


def _close(me: Any) -> None:
    if not me.count > 0:
        return
    v, w = me.middle, me.apart / me.count
    if me.known > 0:
        e = me.middle - me.usual
        v, w = me.usual + me.gamma * e, me.wide + me.gamma * (w + e * e - me.wide)
    for number in (me.part, v, w):
        me.profile.push(number)


def rate(me: Any, value: Any) -> Any:
    """Three steps."""
    x = clamped(value)
    d = ZERO if me.steps == 0 else x - me.before
    u = np.sqrt(me.step2) + 1e-6 * abs(me.before) + 1e-18
    me.before = x
    me.steps = me.steps + 1
    s = abs(d) / (me.times * u)
    if me.steps <= me.after:
        s = ZERO
        if me.steps > 1:
            me.step2 = me.step2 + (d * d - me.step2) / (me.steps - 1)
    else:
        m = me.times * u
        c = min(max(d, -m), m)
        me.step2 = me.step2 + me.alpha * (c * c - me.step2)
    if me.limit > 0:
        s = abs(d) / me.limit
    return gate(me, s)


def stuck(me: Any, value: Any) -> Any:
    """Two steps."""
    x = clamped(value)
    if me.run == 0 or abs(x - me.anchor) > me.band:
        me.anchor, me.run = x, 1.0
    else:
        me.run = me.run + 1
        if me.again > 0 and me.run >= me.many + me.again:
            me.run = me.many
    if me.run >= me.many + 1:
        s = ZERO
    elif me.run >= me.many:
        s = np.float32(1)
    else:
        s = (me.run - 1) / max(me.many - 1, np.float32(1))
    return gate(me, s)


def _kind(
    function: Any, numbers: str, history: Mapping[str, int], params: Mapping[str, float],
    **other: tuple[str, Any],
) -> Kind:  # fmt: skip
    state = dict.fromkeys([*numbers.split(), "rest"], ("f4", 0)) | other
    name = function.__name__
    return Kind(name, "celu", function, None, state, history, {**GATE, **params}, (), True)


DETECTORS: Final = {
    "detector": _kind(
        detector, "seen mean var short_mean roughness far spread", {"book": 198},
        {
            "z0": 1.4, "warmup": 150.0, "grain": 0.5, "slow": 0.002, "forget": 0.0005,
            "cut": 6.0, "step": 0.16, "ease": 10000.0,
        },
        level=("f4", 1.0),
    ),
    "spot": _kind(
        spot, "drift read high_t high_z high_n high_mean high_sum2"
        " low_t low_z low_n low_mean low_sum2", {"first": 100},
        {"risk": 1e-4, "quantile": 0.95, "learn": 100.0, "follow": 0.05},
    ),
    "seasonal": _kind(
        seasonal, "known usual wide pool pooled count middle apart", {"profile": 192},
        {
            "period": 1440.0, "bins": 48.0, "width": 5.0, "gamma": 0.3, "periods": 2.0,
            "share": 0.01,
        },
        since=("i8", 0), turn=("i8", 0), part=("f4", -1.0),
    ),
    "rate": _kind(
        rate, "before steps step2", {},
        {"times": 8.0, "alpha": 0.02, "after": 30.0, "limit": 0.0},
    ),
    "stuck": _kind(
        stuck, "anchor run", {}, {"many": 20.0, "band": 0.0, "again": 0.0, "pause": 0.0}
    ),
}  # fmt: skip
"""By the name that ``procesador`` uses."""
