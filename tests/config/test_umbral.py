"""``umbral`` of a bloque: what may be written, what it means, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from corec.config import ConfigError, parse_config
from corec.config.umbral import FLOAT32_MAX

ALLOWED = 'a number (fixed), "siempre" (each good value is a message), "nunca" (none is)'


def parsed(**bloque: Any) -> Any:
    swarm = {"id": "a", "canal": 1, "entidades": 10, **bloque}
    return parse_config({"instance_id": "x", "bloques": [swarm]})


def single(number: float) -> float:
    return float(np.float32(number))


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        (None, (0.1, 0.9, 0.5)),
        ({}, (0.1, 0.9, 0.5)),
        (0.7, (0.7, 0.7, 0.7)),
        (3, (3.0, 3.0, 3.0)),
        (-FLOAT32_MAX, (-FLOAT32_MAX,) * 3),
        ("siempre", (-math.inf,) * 3),
        ("nunca", (math.inf,) * 3),
        ({"min": 0.6}, (0.6, 0.9, 0.6)),
        ({"max": 0.3}, (0.1, 0.3, 0.3)),
        ({"min": 10, "max": 500, "inicial": 20}, (10.0, 500.0, 20.0)),
        ({"min": 0.2, "max": 0.2}, (0.2, 0.2, 0.2)),
    ],
)
def test_what_is_written_and_what_it_means(written: Any, limits: tuple[float, ...]) -> None:
    config = parsed(**({} if written is None else {"umbral": written}))
    assert config.bloques[0].umbral.limits == tuple(map(single, limits))
    again = parsed(umbral=config.public_dict()["bloques"][0]["umbral"])
    assert again.bloques[0].umbral == config.bloques[0].umbral


@pytest.mark.parametrize(
    ("written", "where", "found"),
    [
        (True, "umbral", "found true, allowed " + ALLOWED),
        ("a veces", "umbral", 'found "a veces", allowed ' + ALLOWED),
        ([0.5], "umbral", "found a list, allowed " + ALLOWED),
        (math.nan, "umbral", "found a number that is not finite, allowed " + ALLOWED),
        (math.nextafter(FLOAT32_MAX, math.inf), "umbral", "allowed " + ALLOWED),
        ({"min": 0.2, "max": 0.1}, "umbral.min", "found 0.2, allowed at most max, which is 0.1"),
        ({"max": 0.05}, "umbral.max", "found 0.05, allowed at least min, 0.1"),
        ({"inicial": 0.95}, "umbral.inicial", "found 0.95, allowed a number from min to max"),
        ({"min": "low"}, "umbral.min", 'found "low", allowed a finite number'),
        ({"mim": 0.1}, "umbral.mim", "found an unknown key"),
    ],
)
def test_what_is_refused_and_why(written: Any, where: str, found: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(umbral=written)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"bloques[0].{where}: ")
    assert found in line
