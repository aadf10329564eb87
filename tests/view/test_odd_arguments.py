"""What programs hand over that is nearly what was asked for: NumPy's numbers, masks, NaN, a key in
two spellings, a text that is too long to be quoted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import corec
from corec.cli.worlds import settings_of
from corec.config import ConfigError
from corec.control.protocol import ControlError, encode_request
from corec.view.attached import Attached
from corec.view.reading import SECONDS_MAX
from tests.support.instance import Running

TOWN = {"id": "town", "canal": 1, "entidades": 6, "procesador": "ewma"}
LONG = "a" * 5000


@pytest.fixture
def town() -> Any:
    with corec.World({"bloques": [TOWN], "globals": {"beta": 0.5}}) as world:
        yield world


@pytest.mark.parametrize("three", [3, np.int8(3), np.uint64(3), np.int64(3), np.array(3)])
def test_numpys_whole_numbers_are_whole(town: corec.World, three: Any) -> None:
    assert town.run(three) == 3
    assert town.grow("town", three) == 3
    assert town.frame("town").ids[-1] == 8


@pytest.mark.parametrize("odd", [True, np.True_, 3.0, np.float32(3), "3", None, np.array([3, 4])])
def test_what_is_no_whole_number_is_refused(town: corec.World, odd: Any) -> None:
    with pytest.raises(ValueError, match=r"ticks: found .*, expected a whole number"):
        town.run(odd)
    with pytest.raises(ValueError, match=r"more: found .*, expected a whole number"):
        town.grow("town", odd)
    assert town.ticks == 0


def test_readings_that_are_none_are_refused(town: corec.World) -> None:
    """A number beyond float64 was a traceback, an ``activo`` of NaN switched on."""
    with pytest.raises(ValueError, match="readings of town: found a list, expected 6 numbers"):
        town.tick({"town": [10**400] * 6})
    for odd in (np.nan, 2, -1):
        with pytest.raises(ValueError, match=r"found .* as activo, expected True or False"):
            town.tick({"town": ([0, 1], 1.0, [1, odd])})
    assert town.ticks == 0
    assert town.tick({"town": ([0, 1], 1.0, [True, 0])}) == 1
    assert town.frame("town")["activo"].tolist()[:2] == [True, False]


@pytest.mark.parametrize("odd", [{5: 1}, {None: 2}, {"seed": 10**5000}, {"entidades": -(10**400)}])
def test_a_configuration_that_no_file_can_hold_is_refused(odd: dict[Any, Any]) -> None:
    """They were tracebacks."""
    with pytest.raises(ConfigError, match="allowed"):
        corec.World({"bloques": [TOWN], **odd})
    with pytest.raises(ConfigError, match="allowed"):
        corec.World({"bloques": [TOWN]}, changes=odd)
    with pytest.raises(ConfigError, match="allowed"):
        corec.World({"bloques": [{**TOWN, **odd}]})


def test_a_path_that_is_there_twice_is_refused() -> None:
    assert settings_of(["carga=0.5", "a.b={}"]) == {"carga": 0.5, "a.b": {}}
    with pytest.raises(ValueError, match="--set: found carga twice, expected it once"):
        settings_of(["carga=0.5", "carga=1"])


@pytest.mark.parametrize("masked", [1, 6])
def test_what_is_masked_is_nobodys_number(town: corec.World, masked: int) -> None:
    """It was written, and read in, as what lay under the mask."""
    values = np.ma.array(np.arange(6.0), mask=[k < masked for k in range(6)])
    before = town.digest()
    ways: list[Callable[[], Any]] = [
        lambda: town.write("town", valor=values),
        lambda: town.write("town", np.ma.array([0, 1], mask=[True, False]), valor=1.0),
        lambda: town.tick({"town": values}),
        lambda: town.tick({"town": (range(6), values)}),
        lambda: town.tick({"town": (np.ma.array([0, 1], mask=[True, False]), [1.0, 2.0])}),
        lambda: town.tick(
            {"town": (range(6), 1.0, np.ma.array([1] * 6, mask=[True] + [False] * 5))}
        ),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=r"found [16] masked, expected numbers: fill them"):
            way()
    assert town.digest() == before
    town.write("town", valor=np.ma.array(np.arange(6.0), mask=False))
    town.tick({"town": values.filled(np.nan)})  # NaN: no reading
    assert np.asarray(town.frame("town")["seen"]).sum() == 6 - masked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"town.z0": 1.0, "bloques.town.parametros.z0": 2.0},
            "'bloques.town.parametros.z0' in two",
        ),
        ({"town.z0": 1.0, "bloques.town.parametros": {"z0": 2.0}}, "z0' in two spellings"),
        ({"globals": {"beta": 1.0}, "globals.beta": 2.0}, "'globals.beta' in two spellings"),
        ({"bloques.town.umbral": 0.5, "bloques.town.umbral.min": 0.2}, "expected one of both"),
    ],
)
def test_one_key_in_two_spellings_is_refused(
    town: corec.World, changes: dict[str, Any], said: str
) -> None:
    for order in (changes, dict(reversed(changes.items()))):
        with pytest.raises(ValueError, match=said):
            town.set(order)
    assert town.events() == []


def test_no_fault_quotes_a_long_text_whole(town: corec.World) -> None:
    ways: dict[str, Callable[[], Any]] = {
        "a key": lambda: corec.World({"bloques": [TOWN], LONG: 1}),
        "a parameter": lambda: corec.World({"bloques": [{**TOWN, "parametros": {LONG: 1}}]}),
        "its value": lambda: corec.World({"bloques": [{**TOWN, "parametros": {"z0": LONG}}]}),
        "a path": lambda: town.set(LONG, 1),
        "a path in short": lambda: town.set(f"town.{LONG}", 1),
        "a scheduled path": lambda: corec.World(
            {"bloques": [TOWN], "schedule": [{"at": 1, "set": {f"town.{LONG}": 1}}]}
        ),
        "edges": lambda: corec.World(
            {"bloques": [{**TOWN, "space": {"kind": "graph", "edges": f"{LONG}.csv"}}]}
        ),
        "a swarm": lambda: town.frame(LONG),
        "a column": lambda: town.frame("town", [LONG]),
        "a field": lambda: town.write("town", {LONG: 1}),
        "a number": lambda: town.run(LONG),  # type: ignore[arg-type]  # as who has no types
    }
    for name, way in ways.items():
        with pytest.raises((ValueError, corec.config.ConfigError)) as caught:
            way()
        lines = str(caught.value).splitlines()
        assert max(map(len, lines)) < 1000, name
        assert any("aaa" in line for line in lines), name  # and still says which


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_json_carries_no_nan_as_null(odd: float) -> None:
    """Null is a value: it made ``persist.retention`` keep everything."""
    found: Any
    for found in (odd, [odd], {"deep": [{"er": odd}]}, (1, odd)):
        with pytest.raises(ControlError, match="expected a finite number") as caught:
            encode_request("set", {"path": "persist.retention", "value": found})
        assert caught.value.code == "bad_request"
    assert b"null" in encode_request("set", {"path": "persist.retention", "value": None})


@pytest.mark.slow
def test_an_instance_says_the_same(living: Running) -> None:
    with corec.attach() as world:
        assert isinstance(world, Attached)
        with pytest.raises(ValueError, match="expected a finite number"):
            world.set("persist.retention", float("nan"))
        tick = world.pause()
        assert world.step(np.int64(3)) == tick + 3
        odd: Any
        for odd in (True, np.True_, 1.0, "1", 0, -1):
            with pytest.raises(ValueError, match=r"ticks: found .*, expected a whole number"):
                world.step(odd)
        for odd in ("a", True, None, -1.0, np.nan, 2 * SECONDS_MAX, [1.0], np.array([1.0, 2.0])):
            with pytest.raises(ValueError, match=r"timeout: found .*, expected seconds, from 0 to"):
                world.snapshot(timeout=odd)
            if odd is not None:
                with pytest.raises(ValueError, match=r"timeout: found .*, expected seconds"):
                    world.alerts("g", timeout=odd)
        with pytest.raises(ValueError, match=r"in two spellings"):
            world.set({"sensores.mu": 0.1, "bloques.sensores.parametros.mu": 0.2})
        with pytest.raises(ValueError, match=r"found 1 masked"):
            world.write("sensores", [0, 1], valor=np.ma.array([1.0, 2.0], mask=[True, False]))
        assert world.snapshot(timeout=np.float64(60.0)).exists()
        assert world.resume() == tick + 3
