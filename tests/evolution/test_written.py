"""What may be written in an ``evolucion``, and how it holds."""

from __future__ import annotations

from typing import Any

import pytest

from corec.config import ConfigError, parse_config
from corec.config.evolucion import Evolucion


def _parsed(**evolucion: Any) -> Evolucion:
    bloque = {"id": "a", "canal": 1, "entidades": 10, "procesador": "t:b"}
    bloque["evolucion"] = {"cada": 1, **evolucion}
    found = parse_config({"instance_id": "t", "bloques": [bloque]}).bloques[0].evolucion
    assert found is not None
    assert Evolucion.model_validate(found.model_dump()) == found
    return found


@pytest.mark.parametrize(
    ("given", "name", "holds"),
    [
        ({"metodo": "truncamiento", "tamano": 4}, "size", 4),
        ({"metodo": "truncamiento", "tamano": 1.0}, "size", 1.0),
        ({"metodo": "truncamiento"}, "size", 0.5),
        ({"metodo": "ruleta", "tamano": 4}, "size", 0),
        ({"cruce": 0.9}, "crossed", 0.9),
        ({"cruce": 0.9}, "crossing", "uniforme"),
        ({"cruce": "mezcla", "prob_cruce": 0.3}, "crossing", "mezcla"),
        ({"cruce": "mezcla", "prob_cruce": 0.3}, "crossed", 0.3),
    ],
)
def test_sizes_and_crossings(given: dict[str, Any], name: str, holds: Any) -> None:
    found = getattr(_parsed(**given), name)
    assert (found, type(found)) == (holds, type(holds))


def test_topologies_have_english_names() -> None:
    for name, holds in (("ring", "anillo"), ("full", "completa"), ("random", "azar"),
                        ("aleatoria", "azar"), ("anillo", "anillo")):  # fmt: skip
        migracion = _parsed(migracion={"cada": 2, "topologia": name}).migracion
        assert migracion is not None
        assert migracion.topology == holds


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tamano": 0.5}, "tamano: found 0.5, allowed with torneo null"),
        ({"metodo": "truncamiento", "tamano": 0}, "tamano: found 0, allowed with truncamiento"),
        ({"metodo": "truncamiento", "tamano": 1.5}, "tamano: found 1.5, allowed with truncamiento"),
        ({"cruce": 1.5}, 'cruce: found 1.5, allowed "uniforme"'),
        ({"cruce": True}, 'cruce: found true, allowed "uniforme"'),
        ({"cruce": "todo"}, 'cruce: found "todo", allowed "uniforme"'),
        ({"cruce": 0.5, "prob_cruce": 0.5}, "cruce: found a number, beside prob_cruce, allowed"),
        ({"migracion": {"cada": 1, "topologia": "star"}}, 'found "star", allowed "anillo" or'),
    ],
)
def test_what_can_t_be_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _parsed(**given)
