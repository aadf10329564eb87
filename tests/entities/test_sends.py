"""What entities send to each other: ``me.send``, ``me.inbox``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.entities.processor import ProcessorError
from corec.kernels import snapshot
from corec.testing import Block, PlainEntity, compare
from corec.world.digest import digest_of
from corec.world.packing import Packing
from corec.world.read import BlockView
from tests.entities.split import SplitWorld


@corec.micro(state={"got": "i4", "total": "f4", "last": "f4"}, sends=3)
def gossip(me: Any) -> Any:
    for value in me.inbox:
        me.got += 1
        me.last = value
    me.total += me.inbox.sum()
    if len(me.inbox) > 4:
        raise ValueError("too much of it")
    for _ in range(me.randint(0, 3)):
        me.send(me.randint(0, 29), me.random() + me.last)
    if me.random() < 0.1:
        me.send(1000, 1.0)
    return me.total


@corec.celu(state={"n": "i4", "sum": "f4"}, sends=2)
def relay(me: Any, value: Any) -> Any:
    me.n += 1
    me.sum = me.sum * 0.5 + value
    if value < 0.0:
        raise ValueError("no")
    me.send((me.id * 7 + 3) % 40, value * 0.5)
    if me.n % 3 == 0:
        me.send((me.id * 11 + 1) % 40, 0.25)
    return me.sum


@pytest.mark.slow
def test_both_forms_send_the_same() -> None:
    assert compare(gossip, entities=30, ticks=12, rtol=1e-6) > 100
    compare(relay, entities=40, ticks=6, values=[1.0, -1.0, 0.5, 3.0], rtol=1e-6)


@corec.micro(state={"k": "i4"}, sends=2)
def source(me: Any) -> Any:
    me.k += 1
    for j in range(2):
        me.send(100 + (me.id * 13 + j * 17 + me.k) % 170, me.random())
    return 0.0


@corec.micro(state={"sum": "f4", "n": "i4"}, sends=1)
def sink(me: Any) -> Any:
    for value in me.inbox:
        me.sum = me.sum * 0.9 + value
        me.n += 1
    if me.n % 5 == 0:
        me.send(max(100, me.id - 1), me.sum)
    return me.sum


@corec.celu(state={"n": "i4", "sum": "f4"}, sends=1, silence=3, on_silence=lambda me: 0.0)
def counter(me: Any, value: Any) -> Any:
    me.n += 1
    me.sum = me.sum * 0.9 + value
    me.send(100 + (me.id + me.n) % 100, 0.125)
    return me.sum


TOWN = [
    {"id": "source", "canal": 1, "entidades": 100, "procesador": "t:source",
     "entidades_por_bloque": 30},
    {"id": "sink", "canal": 2, "entidades": 100, "procesador": "t:sink",
     "entidades_por_bloque": 30},
    {"id": "counter", "canal": 3, "entidades": 70, "procesador": "t:counter",
     "entidades_por_bloque": 20},
]  # fmt: skip
KINDS = {"t:source": source, "t:sink": sink, "t:counter": counter}


@pytest.mark.slow
def test_any_number_of_workers_and_what_arrives() -> None:
    found = {SplitWorld(TOWN, KINDS, k).run(9) for k in (1, 2, 3, 5)}
    found.add(SplitWorld(TOWN, KINDS, 3).run(9, replaced=True))
    assert len(found) == 1
    bloques = [{**one, "procesador": KINDS[str(one["procesador"])]} for one in TOWN]
    with corec.World({"bloques": bloques}) as world:
        world.run(9)
        assert {str(world.digest())} == found
        dyn = [view.dyn for view in _views(world)]
        sent = sum(int(one[L.D_SENDS]) for one in dyn)
        last = sum(len(view.sent) for view in _views(world))
        sinks, counters = world.frame("sink"), world.frame("counter")
        arrived = int(np.asarray(sinks["n"]).sum() + np.asarray(counters["n"]).sum())
        lost = sum(int(one[L.D_UNDELIVERED]) for one in dyn)
        assert arrived == sent - last - lost, "each exactly once, a tick later"
        before = world.digest()
        twin = world.fork()
        assert str(twin.digest()) == str(before)
        world.run(3)
        twin.run(3)
        assert str(twin.digest()) == str(world.digest()), "what is on its way belongs to a world"
        twin.close()


def _views(world: corec.World) -> list[BlockView]:
    plan, words = world._world()
    return [BlockView(plan, words, index) for index in range(plan.n_blocks)]


def test_a_checkpoint_has_what_is_on_its_way() -> None:
    """Its records are of the copies that count; loaded into an empty world they are that world."""
    split = SplitWorld(TOWN, KINDS, 1)
    digest = split.run(6)
    packing = Packing(split.plan, split.memory)
    room = 1 << 22
    out, n = np.zeros(room, np.uint8), split.plan.n_blocks
    size = snapshot.save_state(packing.blocks, packing.swarms, 0, n, 6, out.ctypes.data, room)
    assert 0 < size == snapshot.measure_state(packing.blocks, packing.swarms, 0, n)
    other = SplitWorld(TOWN, KINDS, 2)
    other.memory[:] = 0
    into = Packing(other.plan, other.memory)
    address = int(out.ctypes.data)
    assert snapshot.load_state(into.blocks, into.swarms, 0, n, address, size) == 0
    assert digest_of(other.plan, other.memory.view(np.uint64)) == (6, digest)
    other.tick = 6
    assert other.run(3) == split.run(3)
    for cut in (size - 1, size - 9):
        assert snapshot.load_state(into.blocks, into.swarms, 0, n, address, cut) != 0


@corec.micro(state={"n": "i4"}, sends=16)
def talker(me: Any) -> Any:
    for _ in range(16 + (me.id == 1)):
        me.send(me.id, 1.0)
    me.n += len(me.inbox)
    return 0.0


@corec.celu(state={"n": "i4"}, sends=1)
def echo(me: Any, value: Any) -> Any:
    me.n += 1
    me.send(0, value)
    return 0.0


def test_at_each_limit_and_one_beyond() -> None:
    block = Block(talker, entities=2, max_errores=1.0)
    block.tick()
    assert block.view.sent["id"].tolist() == [0] * 16
    assert block.view.fallos.tolist() == [0, 1], "a 17th fails the call, and takes back all of it"
    block.tick()
    assert block.view.column("n").tolist() == [16, 0]
    few = Block(echo, entities=3, max_errores=1.0)
    few.tick([(k % 3, float(k)) for k in range(3)])
    assert few.view.sent["valor"].tolist() == [0.0, 1.0, 2.0]
    assert int(few.view.dyn[L.D_UNDELIVERED]) == 0
    few.tick([(1, 9.0)])
    assert few.view.column("n").tolist() == [4, 2, 1], "before its readings"
    assert few.view.sent["valor"].tolist() == [0.0, 1.0, 2.0]
    assert int(few.view.dyn[L.D_UNDELIVERED]) == 1, "3 entities send 3 values in a tick"
    assert int(few.view.dyn[L.D_SENDS]) == 7, "sent: arrived, undelivered or on its way"


def test_who_does_not_run_gets_nothing_and_that_is_counted() -> None:
    few = Block(echo, entities=3, max_errores=1.0)
    few.tick([(1, 5.0), (0, 0.0, False)])
    few.tick()
    assert few.view.column("n").tolist() == [0, 1, 0]
    assert few.view.activo.tolist() == [0, 1, 1], "what is sent switches nobody on"
    assert int(few.view.dyn[L.D_UNDELIVERED]) == 1
    block = Block(talker, entities=4, carga=0.5, max_errores=1.0)
    for _ in range(4):
        block.tick()
    assert int(block.view.dyn[L.D_SENDS]) == 4 * 16 + 2 * 16
    assert int(block.view.dyn[L.D_UNDELIVERED]) == 4 * 16, "outside the window of carga"


@corec.micro(sends=1)
def wrong(me: Any) -> Any:
    if me.id == 0:
        me.send(8, 1.0)
    elif me.id == 1:
        me.send(-1, 1.0)
    elif me.id == 2:
        me.send(0, 1.0 / me.valor)
    elif me.id == 3:
        me.send(4, 1.0)
    return len(me.inbox)


def test_what_can_not_be_sent_fails_who_sends_it() -> None:
    block = Block(wrong, entities=3, max_errores=1.0)
    block.tick()
    assert block.view.fallos.tolist() == [1, 1, 1]
    bloques = [
        {"id": "a", "canal": 1, "entidades": 4, "procesador": wrong},
        {"id": "b", "canal": 1, "entidades": 4, "procesador": "sensor"},
    ]
    with corec.World({"bloques": bloques}) as world:
        world.run(9)  # one of them is told in each tick
        said = {one["what"].partition(" (")[0] for one in world.errors()}
    assert said == {
        "IndexError: me.send(id, value): there is no such entity",
        "TypeError: me.send(id, value): that one neither reads me.inbox nor is called",
        "ValueError: me.send(id, value): the value is not finite",
    }


def test_the_plain_form_says_what_it_would_send() -> None:
    me = PlainEntity(gossip, id=3, inbox=[1.0, 2.5], ids=range(30))
    gossip(me)
    assert (me.got, float(me.last), float(me.total)) == (2, 2.5, 3.5)
    assert all(0 <= who < 30 for who, _ in me.sent)
    with pytest.raises(IndexError, match="no such entity"):
        PlainEntity(echo, ids=range(3)).send(3, 1.0)
    with pytest.raises(ValueError, match="not finite"):
        PlainEntity(echo).send(1, float("nan"))
    with pytest.raises(AttributeError, match=r"needs @corec.micro\(sends"):
        PlainEntity(corec.micro(lambda me: 0.0)).send(1, 1.0)


@pytest.mark.parametrize("sends", [-1, 17, True, 1.0])
def test_a_wrong_declaration_says_so(sends: Any) -> None:
    with pytest.raises(ProcessorError, match="allowed 0 to 16 a call"):
        corec.micro(sends=sends)(lambda me: 0.0)


@pytest.mark.parametrize(
    ("kind", "function", "said"),
    [
        ("micro", lambda me: me.send(1, 2.0) or 0.0, "me.send cannot be used without sends"),
        ("celu", lambda me, value: len(me.inbox), "me.inbox cannot be used in a celu"),
    ],
)
def test_what_does_not_go_says_so(kind: str, function: Any, said: str) -> None:
    with pytest.raises(ProcessorError, match=said):
        Block(getattr(corec, kind)(function), entities=1)
