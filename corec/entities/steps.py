"""How long one call of a processor may run: loop steps, counted down by the compiled code itself.

Compiled code can't be interrupted, so every loop whose length is not known when it is compiled pays
for each of its steps (``guard`` emits the code). The words below are this process's own memory,
found by the machine code under the name ``SYMBOL``; they are no part of the world. Who writes and
reads them: the one thread that runs the kernels.

    LEFT      steps of this slice; below 0: the call ran out of steps
    RESERVE   steps of the call that no slice took yet
    BEAT      address of a word that advances with each slice, call and stretch of entities

A slice is short against what a watcher waits, so a call of many seconds still shows that it lives.
``BEAT`` points to a word of this process until ``beat_at`` says otherwise: the worker's word
``S_PROGRESS`` in the control segment, which the supervisor watches.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from shm.jit import intrinsic

SYMBOL: Final = "corec_loop_steps"
SHARE_LEAST: Final = 1024
"""The steps of a call are never cut below one part in so many of the declared number."""
SLICE: Final = 1 << 20

_LEFT, _RESERVE, _BEAT, _OWN_BEAT = range(4)
_words = np.zeros(8, np.int64)
_words[_BEAT] = _words.ctypes.data + 8 * _OWN_BEAT
llvm.add_symbol(SYMBOL, _words.ctypes.data)

_I64 = ir.IntType(64)


class TooManySteps(RuntimeError):
    """A call of a processor took more loop steps than it may."""


def beat_at(address: int) -> int:
    """Let the machine code of this process show its progress in the u64 at ``address``; returns
    where it did before."""
    before = int(_words[_BEAT])
    _words[_BEAT] = address
    return before


def _word(builder: Any, index: int) -> Any:
    name = builder.module.globals.get(SYMBOL)
    if name is None:
        name = ir.GlobalVariable(builder.module, ir.ArrayType(_I64, 4), SYMBOL)
    return builder.gep(name, [_I64(0), _I64(index)], inbounds=True)


def emit_beat(builder: Any) -> None:
    """Advance the word that shows this process's progress."""
    word = builder.inttoptr(builder.load(_word(builder, _BEAT)), _I64.as_pointer())
    builder.store(builder.add(builder.load(word), _I64(1)), word)


def emit_refill(builder: Any, budget: Any) -> None:
    """Give the call that follows ``budget`` steps (an i64)."""
    first = builder.select(builder.icmp_signed("<", budget, _I64(SLICE)), budget, _I64(SLICE))
    builder.store(first, _word(builder, _LEFT))
    builder.store(builder.sub(budget, first), _word(builder, _RESERVE))
    emit_beat(builder)


def emit_used_up(builder: Any) -> Any:
    """An i1: whether the call that ended ran out of steps."""
    return builder.icmp_signed("<", builder.load(_word(builder, _LEFT)), _I64(0))


def emit_charge(builder: Any, steps: Any, fail: Any) -> None:
    """Take ``steps`` (a number, or an i64) from what is left; ``fail()`` emits the way out of the
    function."""
    price = _I64(steps) if isinstance(steps, int) else steps
    left = builder.sub(builder.load(_word(builder, _LEFT)), price)
    builder.store(left, _word(builder, _LEFT))
    with builder.if_then(builder.icmp_signed("<", left, _I64(0)), likely=False):
        reserve = builder.load(_word(builder, _RESERVE))
        spent = builder.icmp_signed("<=", reserve, _I64(0))
        with builder.if_then(spent, likely=False):
            fail()
        dear = builder.icmp_signed(">", price, _I64(SLICE))
        most = builder.select(dear, price, _I64(SLICE))
        taken = builder.select(builder.icmp_signed("<", reserve, most), reserve, most)
        builder.store(builder.add(left, taken), _word(builder, _LEFT))
        builder.store(builder.sub(reserve, taken), _word(builder, _RESERVE))
        emit_beat(builder)


@intrinsic
def beat(typing_context: Any) -> Any:
    """Advance the word that shows this process's progress, from compiled code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_beat(builder)
        return context.get_dummy_value()

    return types.void(), generate
