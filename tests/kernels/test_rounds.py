"""A dense round leaves the bits of one by one: state, history, figures and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.entities.compile import compile_processor
from corec.entities.dense import REFUSED
from corec.kernels import desc as K
from corec.processors.detector import detector
from corec.processors.ewma import ewma
from corec.processors.rate import rate
from corec.processors.spot import spot
from corec.testing import Block

N = 300
FIELDS = (L.D_MEDIA, L.D_DESVIACION, L.D_UMBRAL, L.D_FITNESS, L.D_ERRORES, L.D_ACTIVAS, L.D_SICK,
          L.D_FAILURES, L.D_REPAIRS, L.D_MESSAGES, L.D_UPDATES, L.D_INPUTS)  # fmt: skip


def fell_silent(me: Any) -> Any:
    """Not said in vain."""
    me.silences += 1
    return 0.25


def moods(me: Any, v: Any) -> Any:
    """Everything that a round can have; raises and gives no number now and then."""
    me.rows.push(v.t)
    me.luck = me.random()
    if v.h > 1.5:
        me.own.push(v.h)
    if v.t > 2.5:
        raise ValueError("too warm")
    me.sum = 0.5 * me.sum + v.t + me.rows[0]
    return me.sum if v.h > -2.4 else np.float32(np.inf)


def declared(rows: tuple[Any, ...]) -> Any:
    """``moods`` with its first history laid so."""
    return corec.celu(
        value={"t": "f4", "h": "f4"}, state={"sum": "f4", "luck": "f4", "silences": "u4"},
        history={"rows": rows, "own": ("f4", 2)}, silence=2, alerts=("t", "luck"),
        on_silence=fell_silent,
    )(moods)  # fmt: skip


BY_TIME, BY_ENTITY = declared(("f4", 3, "by_time")), declared(("f4", 3))


def readings(rng: np.random.Generator, kind: str, width: int) -> list[tuple[int, Any, bool]]:
    """Those of one tick; of the kind ``most``, a few switch their entity off."""
    ids = np.arange(N)
    if kind == "two each":
        ids = np.concatenate([ids, rng.permutation(N)])
    elif kind == "some order":
        ids = rng.permutation(N)
    elif kind == "most":
        ids = rng.permutation(N)[: N * 3 // 4]
    elif kind == "few":
        ids = rng.integers(0, N, N // 5)
    elif kind == "repeats":
        ids = rng.integers(0, N, 2 * N)
    values = rng.normal(0.0, 1.2, (len(ids), width)).astype(np.float32).tolist()
    off = set(rng.integers(N // 2, N, 3).tolist()) if kind == "most" else set()
    return [
        (int(i), row if width > 1 else row[0], k not in off)
        for k, (i, row) in enumerate(zip(ids, values, strict=True))
    ]


def left(block: Block) -> tuple[list[bytes], list[int], list[bytes]]:
    """Columns and histories; figures; messages, whatever frames they came in."""
    view, processor = block.view, block.processor
    names = ["valor", "activo", "fallos", "racha", *(field.name for field in processor.fields)]
    columns = [view.column(name).tobytes() for name in names]
    columns += [view.history(ring.name)[0].tobytes() for ring in processor.history]
    frames = block.messages()
    sent = [b"".join(frame.messages.tobytes() for frame in frames)]
    sent += [
        b"".join(frame.fields[name].tobytes() for frame in frames)
        for name in processor.alert_fields
    ]
    return columns, [int(view.dyn[word]) for word in FIELDS], sent


KINDS = ["in order"] * 3 + ["some order", "in order", "most", "few", "in order", "repeats", "most",
         "in order", "in order", "some order"]  # fmt: skip


@pytest.mark.parametrize("processor", [ewma, rate, detector, BY_TIME, BY_ENTITY],
                         ids=["ewma", "rate", "detector", "by time", "by entity"])  # fmt: skip
def test_the_bits_of_one_by_one(processor: Any) -> None:
    dense, one = (Block(processor, entities=N, seed=9) for _ in range(2))
    assert dense.tables.swarms[0, K.W_DENSE] != 0
    one.tables.swarms[:, K.W_DENSE] = 0
    for tick, kind in enumerate([*KINDS, "two each", "two each"]):
        arrived = readings(np.random.default_rng([tick, 4]), kind, processor.width)
        dense.tick(arrived)
        one.tick(arrived)
        assert left(dense) == left(one), (tick, kind)


@corec.celu(state={"sum": "f4"}, params={"many": 3.0})
def comprehends(me: Any, v: Any) -> Any:
    """Its loop is in a code of its own until Python 3.11."""
    me.sum = sum([v for _ in range(int(me.many))])
    return me.sum


@pytest.mark.parametrize("processor", [spot, comprehends], ids=["spot", "comprehends"])
def test_who_has_no_round(processor: Any) -> None:
    """A call that may run long depends on those before it."""
    assert compile_processor(processor, N).dense == 0
    assert REFUSED < 0
