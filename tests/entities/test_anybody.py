"""``me.entity(id)`` of any bloque: compiled, by the oracle and in plain Python, and its limits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

import corec
from corec.entities.compile import compile_processor
from corec.entities.meeting import Meeting, read_as
from corec.entities.plain_near import Seen
from corec.entities.processor import ProcessorError
from corec.lab.oracle.entity import kind_of
from corec.lab.oracle.world import World
from corec.testing import PlainEntity

TYPES: Final = {
    "u1": "u1", "i2": "i2", "u2": "u2", "i4": "i4", "u4": "u4", "i8": "i8", "f4": "f4",
    "mixed": "i1",
}  # fmt: skip


def begin(me: Any) -> Any:
    me.u1, me.i2, me.u2 = me.randint(0, 255), me.randint(-32768, 32767), me.randint(0, 65535)
    me.i4, me.u4, me.i8 = me.randint(-(2**31), 0), me.randint(0, 2**32 - 1), me.randint(0, 2**40)
    me.f4, me.mixed = me.normal(), me.randint(-128, 127)
    return 0.0


@corec.micro(state=TYPES, public=tuple(TYPES), init=begin)
def shows(me: Any) -> Any:
    """All that may be public, each another number in each tick."""
    me.u1, me.i2, me.u2, me.i4 = me.u1 ^ 1, me.i2 ^ 5, me.u2 ^ 9, me.i4 ^ 7
    me.u4, me.i8, me.f4, me.mixed = me.u4 ^ 3, -me.i8, me.f4 + me.random(), me.mixed ^ 1
    return 0.1


@corec.micro(state={"f8": ("f8", 0.1), "mixed": "f4", "far": "f8"}, public=("f8", "mixed"))
def both(me: Any) -> Any:
    """It looks at its own bloque and at another, where ``mixed`` is of another type."""
    me.far = me.entity((me.id * 7 + me.tick) % 11).mixed
    me.f8 = me.f8 + 0.5 * me.entity(me.id).f8
    me.mixed = me.mixed + 0.25 * me.random()
    return 0.1


@corec.micro(state={"total": "i8", "real": "f8", "who": "i8"})
def looks(me: Any) -> Any:
    """It shows nothing."""
    one = me.entity((me.id + me.tick) % 5)
    me.total = one.u1 - one.i2 + one.u2 - one.i4 + one.u4 - one.i8
    me.real = one.mixed + np.float64(one.f4)
    me.who = me.entity(me.tick % 16).id + one.id
    return 0.1


@corec.celu(state={"total": "f8"})
def asked(me: Any, value: Any) -> Any:
    """A reading says whom it looks at."""
    me.total = me.total + me.entity(int(value)).mixed
    return 0.1


PROCESSORS: Final = {"shows": shows, "both": both, "looks": looks, "asked": asked}
FIRST: Final = {"shows": 0, "both": 5, "looks": 11, "asked": 14}
BLOQUES: Final[list[dict[str, Any]]] = [
    {"id": "shows", "canal": 1, "entidades": 5, "procesador": "shows", "entidades_por_bloque": 2},
    {"id": "both", "canal": 1, "entidades": 6, "procesador": "both", "entidades_por_bloque": 4},
    {"id": "looks", "canal": 2, "entidades": 3, "procesador": "looks"},
    {"id": "asked", "canal": 3, "entidades": 2, "procesador": "asked"},
]
READINGS: Final[dict[int, list[tuple[int, float, bool]]]] = {
    2: [(14, 4.0, True), (14, 10.0, True), (15, 0.0, True)],
    3: [(15, 11.0, True), (14, 5.0, True)],  # one who shows nothing
    4: [(14, -1.0, True), (15, 16.0, True)],  # nobody: the last id is 15
}


def columns_of(world: corec.World, name: str) -> dict[str, list[Any]]:
    names = [*(field.name for field in PROCESSORS[name].state), "fallos"]
    frame = world.frame(name, columns=names)
    return {each: np.asarray(frame[each]).tolist() for each in names}


def seen_by(name: str, before: dict[str, dict[str, list[Any]]]) -> Seen:
    """What the last tick left, for a bloque."""
    every = {each: Seen(p, None, before[each], FIRST[each]) for each, p in PROCESSORS.items()}
    return Seen(PROCESSORS[name], None, before[name], FIRST[name], seen=every)


def test_any_entity_is_seen_as_the_last_tick_left_it() -> None:
    """Compiled, by the oracle and in plain Python: numbers of every type, of the own bloque and of
    another, of several blocks; who is not there, or does not show it, fails who asks."""
    world = corec.World(
        {"seed": 7, "bloques": [{**b, "procesador": PROCESSORS[b["id"]]} for b in BLOQUES]}
    )
    kinds = {name: kind_of(processor) for name, processor in PROCESSORS.items()}
    oracle = World({"seed": 7, "bloques": BLOQUES}, kinds)
    for tick in range(1, 6):
        before = {name: columns_of(world, name) for name in PROCESSORS}
        readings = READINGS.get(tick, [])
        world.tick({"asked": tuple(map(list, zip(*readings, strict=True)))} if readings else {})
        oracle.run_tick(readings)
        for name, processor in PROCESSORS.items():
            found, seen = columns_of(world, name), seen_by(name, before)
            for k, row in enumerate(zip(*found.values(), strict=True)):
                block, place = oracle.entity(FIRST[name] + k)
                its = block.entities[place]
                assert list(row) == [*(its.state[f.name] for f in processor.state), its.fallos]
                if processor.kind == "micro":
                    was = {f.name: before[name][f.name][k] for f in processor.state}
                    given: dict[str, Any] = {"id": FIRST[name] + k, "tick": tick, "others": seen}
                    me = PlainEntity(processor, seed=7, **given, **was)
                    processor(me)
                    assert list(row[:-1]) == [getattr(me, f.name) for f in processor.state]
    assert columns_of(world, "asked")["fallos"] == [1, 2]
    said = " ".join(one["what"] for one in world.errors())
    assert "AttributeError: me.entity(id).mixed: its bloque shows no mixed (asked in" in said
    assert "IndexError: me.entity(id): there is no such entity (asked in" in said


def test_several_types_of_one_name_are_read_as_one() -> None:
    assert read_as([("a", "u1"), ("a", "i8"), ("b", "f4"), ("c", "f8")]) == {
        "a": "i8", "b": "f4", "c": "f8",
    }  # fmt: skip
    for first, second in (("u1", "f4"), ("f4", "f8"), ("f8", "i8")):
        assert read_as([("a", first), ("a", second)]) == {"a": "f8"}


def test_what_nobody_shows_is_one_line_when_it_is_compiled() -> None:
    @corec.micro(state={"x": "f4"})
    def wrong(me: Any) -> Any:
        return me.entity(0).x

    line = "me.x can't be seen of another entity: public are id, u1"
    with pytest.raises(ProcessorError, match=line):
        compile_processor(wrong, 100, Meeting(0, (), everyone=(("u1", "i8"),)))
