"""``silence``: who had no reading for so long runs once, to the tick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import corec
from corec.entities.processor import ProcessorError
from corec.testing import Block, compare
from tests.oracle import kernels
from tests.oracle.subjects import sitter
from tests.oracle.test_limits import one_swarm

SILENCE = 5


def gone(me: Any) -> Any:
    """Counts its silences and says how long this one was."""
    me.gaps = me.gaps + 1
    me.last.push(me.tick - me.heard)
    return 2.0 + me.last[-1]


@corec.celu(
    state={"gaps": "u4"}, history={"last": ("f4", 3)}, silence=SILENCE, on_silence=gone, alerts=True
)
def device(me: Any, value: Any) -> Any:
    """Fails for what is negative."""
    me.last.push(value)
    if value < 0.0:
        raise ValueError("negative")
    return 0.0


@corec.celu(silence=SILENCE)
def plain(me: Any, value: Any) -> Any:
    """Has no on_silence of its own."""
    return value


def remind(me: Any) -> Any:
    """Asks to be told again after as long."""
    me.heard = me.tick
    me.quiet = 0
    return 1.0


@corec.celu(silence=SILENCE, on_silence=remind)
def reminded(me: Any, value: Any) -> Any:
    """Is told again and again."""
    return 0.0


def spoken(block: Block) -> list[tuple[int, int, float]]:
    """Tick, id and valor of the messages since the last call."""
    return [
        (frame.tick, int(m["id"]), float(m["valor"]))
        for frame in block.messages() for m in frame.messages
    ]  # fmt: skip


def test_the_tick_is_exact_and_it_is_told_once() -> None:
    block = Block(device, entities=4)
    for tick in range(1, 31):
        readings = [(0, 0.25)] if tick % SILENCE == 0 else []  # in time, always
        readings += [(1, 0.25)] if tick in (3, 9, 20) else []  # a tick too late, the second time
        readings += [(2, 0.25)] if tick == 1 else []
        block.tick(readings)
    assert spoken(block) == [(5, 3, 7.0), (6, 2, 7.0), (8, 1, 7.0), (14, 1, 7.0), (25, 1, 7.0)]
    view = block.view
    assert view.column("heard").tolist() == [30, 20, 1, 0]
    assert view.column("quiet").tolist() == [0, 1, 1, 1]
    assert view.column("gaps").tolist() == [0, 3, 1, 1]


def test_what_fails_and_who_is_off() -> None:
    block = Block(device, entities=3, max_errores=1.0)
    off = [(1, 0.0, False)]
    for tick in range(1, 20):
        block.tick([(0, -1.0)] if tick == 4 else off if tick == 2 else [])
    assert spoken(block) == [(5, 2, 7.0), (9, 0, 7.0)]  # a reading that fails was a reading
    block.tick([(1, 0.5, True)])
    for _ in range(SILENCE):
        block.tick()
    assert spoken(block) == [(25, 1, 7.0)]


def test_a_repaired_entity_begins_anew() -> None:
    """Its readings fail twice, so it goes back to the start; its silence counts from then on."""
    block = Block(device, entities=2, max_errores=0.0)
    for tick in range(1, 16):
        block.tick([(1, 0.5)] + ([(0, -1.0)] if tick in (8, 9) else []))
    assert spoken(block) == [(5, 0, 7.0), (14, 0, 7.0)]


def test_without_a_function_it_says_one() -> None:
    block = Block(plain, entities=1, umbral=None)
    for _ in range(12):
        block.tick()
    assert spoken(block) == [(5, 0, 1.0)]


def test_who_asks_is_reminded() -> None:
    block = Block(reminded, entities=1)
    for _ in range(21):
        block.tick()
    assert [tick for tick, _, _ in spoken(block)] == [5, 10, 15, 20]


@pytest.mark.slow
def test_both_forms_agree() -> None:
    assert compare(device, ticks=7, entities=9, rtol=0.0) == 7 * 9 * 2 + 9
    compare(sitter, ticks=4, entities=9, rtol=0.0)
    compare(plain, ticks=4)


@pytest.mark.slow
@pytest.mark.parametrize("entidades", [4096, 4097, 9000])
def test_more_fall_silent_in_a_tick_than_a_step_takes(entidades: int) -> None:
    some = [(k, 0.25, True) for k in range(0, entidades, 3)]
    drawn = one_swarm(
        "sitter", entidades, 5, 2, {1: some}, entidades_por_bloque=9000, max_size_mb=16
    )
    kernels.check(drawn)


def test_a_world_shows_who_is_silent() -> None:
    config = {"bloques": [{"id": "d", "canal": 1, "entidades": 6, "procesador": device}]}
    with corec.World(config) as world:
        for _ in range(SILENCE):
            world.tick({"d": np.array([1.0, 1.0, np.nan, 1.0, np.nan, 1.0])})
        frame = world.frame("d", ["quiet", "heard"])
        assert frame["quiet"].tolist() == [0, 0, 1, 0, 1, 0]
        assert frame["heard"].tolist() == [5, 5, 0, 5, 0, 5]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"silence": 0, "on_silence": gone}, "silence=0, allowed 1 to 1099511627776 ticks"),
        ({"silence": -1}, "silence=-1, allowed 1 to"),
        ({"silence": True}, "silence=True, allowed 1 to"),
        ({"silence": 2.5}, "silence=2.5, allowed 1 to"),
        ({"silence": (1 << 40) + 1}, "allowed 1 to 1099511627776 ticks"),
        ({"silence": 5, "on_silence": "gone"}, "on_silence is a str, allowed a function"),
        ({"silence": 5, "on_silence": lambda me, value: 0.0}, "on_silence: a micro processor"),
        ({"silence": 5, "state": {"heard": "f4"}}, "the name 'heard' is declared twice"),
        ({"silence": 5, "params": {"quiet": 1.0}}, "the name 'quiet' is declared twice"),
    ],
)
def test_a_wrong_declaration_says_what_to_change(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ProcessorError, match=r"celu|test_silence") as caught:
        corec.celu(**declared)(lambda me, value: 0.0)
    assert said in str(caught.value)


def test_it_is_not_for_a_micro_entity() -> None:
    with pytest.raises(ProcessorError, match="a micro entity runs each tick"):
        corec.micro(silence=5)(lambda me: 0.0)  # type: ignore[call-overload]  # what is refused
