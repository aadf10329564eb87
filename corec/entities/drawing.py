"""``me.random()``, ``me.normal()``, ``me.randint(a, b)`` in compiled code.

The first few numbers of a run are drawn ahead, for all entities of a stretch at once (``codegen``);
others are drawn when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import float32, int64, types, uint32
from numba.core.errors import TypingError

from corec.entities.cursor import hidden_reader, hidden_writer
from corec.entities.me_types import EntityType
from corec.kernels.draws import normal_of, whole_of
from corec.kernels.philox import INV_2_24, random_word
from shm.jit import dissolved, method


@cache
def _word_drawer(me: EntityType) -> Any:
    """Compiled ``me`` → u32: the next number of this run."""
    read_draw, write_draw = hidden_reader(me, "_draw"), hidden_writer(me, "_draw")
    read_seed = hidden_reader(me, "_seed")
    ahead = [hidden_reader(me, f"_r{k}") for k in range(me.predraws)]
    if not ahead:

        @dissolved
        def drawn_now(me):
            k = read_draw(me)
            write_draw(me, k + uint32(1))
            return random_word(me.id, me.tick, k, read_seed(me))

        return drawn_now
    first = ahead[0]
    second = ahead[min(1, len(ahead) - 1)]
    third = ahead[min(2, len(ahead) - 1)]
    fourth = ahead[min(3, len(ahead) - 1)]
    count = uint32(len(ahead))

    @dissolved
    def drawn_ahead(me):
        k = read_draw(me)
        write_draw(me, k + uint32(1))
        if k < count:
            word = first(me)
            if k == uint32(1):
                word = second(me)
            elif k == uint32(2):
                word = third(me)
            elif k == uint32(3):
                word = fourth(me)
        else:
            word = random_word(me.id, me.tick, k, read_seed(me))
        return word

    return drawn_ahead


@method(EntityType, "random")
def _random(me: Any) -> Callable[..., Any]:
    word, scale = _word_drawer(me), INV_2_24

    def random(me: Any) -> Any:
        return float32(word(me) >> uint32(8)) * scale

    return random


@method(EntityType, "normal")
def _normal(me: Any) -> Callable[..., Any]:
    word = _word_drawer(me)

    def normal(me: Any) -> Any:
        first = word(me)
        return normal_of(first, word(me))

    return normal


@method(EntityType, "randint")
def _randint(me: Any, a: Any, b: Any) -> Callable[..., Any]:
    word = _word_drawer(me)
    for limit in (a, b):
        if not isinstance(limit, types.Integer | types.Boolean):
            found = types.unliteral(limit)
            raise TypingError(f"me.randint takes two whole numbers, found {found}")

    def randint(me: Any, a: Any, b: Any) -> Any:
        low, high = int64(a), int64(b)
        if low > high:
            raise ValueError("me.randint(a, b): a is greater than b")
        first = word(me)
        return whole_of(first, word(me), low, high)

    return randint
