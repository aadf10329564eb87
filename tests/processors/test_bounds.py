"""Parameters of the built-in processors: at the bounds of each it says something, beyond not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import corec
from corec.config import ConfigError
from corec.config.load import load_config
from corec.entities.registry import BUILT_IN, resolve
from corec.plan import make_plan
from corec.processors.bounds import BOUNDS, Bounds
from corec.testing import Block
from tests.docs.documents import ROOT
from tests.support.hostile import hostile

ALONE = [name for name in BUILT_IN if not resolve(name).public and not resolve(name).see]
"""Which need no space."""


def ends(bounds: Bounds) -> Iterator[tuple[float, float]]:
    """The last number that is allowed and the first that is not, float32, at each end."""
    for end, away in ((bounds.least, -np.inf), (bounds.most, np.inf)):
        if not np.isfinite(end):
            continue
        last = np.float32(end)
        beyond = np.nextafter(last, np.float32(away))
        if bounds.open:
            last, beyond = np.nextafter(last, np.float32(-away)), last
        yield float(last), float(beyond)


CASES = [
    (name, key, last, beyond)
    for name in BUILT_IN
    for key, bounds in BOUNDS[name].items()
    for last, beyond in ends(bounds)
]


def config_of(name: str, key: str, value: float, **more: Any) -> dict[str, Any]:
    bloque = {"id": "a", "canal": 1, "entidades": 4, "procesador": name, "parametros": {key: value}}
    return {"bloques": [bloque], **more}


def test_each_parameter_has_its_bounds_and_a_default_within() -> None:
    assert BOUNDS.keys() == BUILT_IN.keys()
    for name in BUILT_IN:
        params = dict(resolve(name).params)
        assert BOUNDS[name].keys() == params.keys()
        assert all(BOUNDS[name][key].hold(value) for key, value in params.items()), name


@pytest.mark.parametrize(("name", "key", "last", "beyond"), CASES)
def test_what_is_beyond_is_refused_in_one_line(
    name: str, key: str, last: float, beyond: float
) -> None:
    assert BOUNDS[name][key].hold(last)
    assert not BOUNDS[name][key].hold(beyond)
    if name not in ALONE:
        return  # it has a space, which is another thing to be asked for
    with pytest.raises(ConfigError) as caught:
        corec.World(config_of(name, key, beyond))
    (line,) = str(caught.value).splitlines()
    said = f"allowed {BOUNDS[name][key]}"
    assert re.fullmatch(rf"bloques\[0\]\.parametros\.{key}: found \S+, {re.escape(said)}", line)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALONE if resolve(name).kind == "celu"])
def test_at_the_bounds_no_reading_fails(name: str) -> None:
    """A detector with each parameter at its ends, on readings that make all of them shout."""
    cases = [(key, last) for of, key, last, _ in CASES if of == name]
    block = Block(resolve(name), entities=1, params={})
    readings = hostile(seed=11)[::3]
    for key, last in cases:
        block = Block(resolve(name), entities=1, params={key: last})
        said = []
        for value in readings:
            block.tick([(0, float(value))])
            said.append(float(block.view.column("valor")[0]))
        assert block.view.fallos[0] == 0, (key, last)
        assert np.isfinite(said).all()
        assert min(said) >= 0.0, (key, last)
        assert max(said) <= 1.0, (key, last)


def test_what_a_float32_makes_of_a_number_counts() -> None:
    """1e-50 is none, and 0.99999999 is one, to who computes with it."""
    for name, key, value in (("ewma", "z0", 1e-50), ("sensor", "phi", 0.99999999)):
        with pytest.raises(ConfigError, match=rf"parametros\.{key}: found {value!r}, allowed"):
            corec.World(config_of(name, key, value))


def test_every_way_to_a_parameter_says_the_same(tmp_path: Any) -> None:
    said = r"found 0, allowed a number of at least 1e-06"
    config = config_of("ewma", "z0", 4.0, schedule=[{"at": 3, "set": {"a.z0": 0}}])
    with pytest.raises(ConfigError, match=rf"schedule\[0\]\.set.*{said}"):
        corec.World(config)
    with corec.World(config_of("ewma", "z0", 4.0)) as world:
        before = world.digest()
        for change in ({"a.z0": 0}, {"bloques.a.parametros": {"z0": 0}}):
            with pytest.raises(ConfigError, match=said):
                world.set(change)
        world.set("a.z0", 1e-6)
        assert world.digest() == before
    path = tmp_path / "c.json"
    path.write_text('{"instance_id": "i", "bloques": [{"id": "a", "canal": 1, "entidades": 4,'
                    ' "procesador": "rate", "parametros": {"times": 0}}]}')  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        make_plan(load_config(path))


def test_the_document_lists_the_bounds() -> None:
    text = (ROOT / "docs" / "entities.md").read_text()
    table = text.partition("| allowed | `parametros` of |")[2]
    listed = {
        name: allowed
        for allowed, names in re.findall(r"^\| (a number [^|]+) \| (.+) \|$", table, re.MULTILINE)
        for name in re.findall(r"`([a-z0-9_]+\.\w+)`", names)
    }
    assert listed == {
        f"{name}.{key}": str(bounds)
        for name, of in BOUNDS.items()
        for key, bounds in of.items()
        if bounds != Bounds()
    }
