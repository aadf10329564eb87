"""``collect`` at the top level and in a bloque, as a list and as one object."""

from __future__ import annotations

from typing import Any

import pytest

from corec.config import ConfigError, parse_config
from corec.plan import make_plan
from corec.plan_live import with_settings

ONE = {"every": 10, "stats": ["mean(valor)"]}
OTHER = {"every": 5, "stats": ["max(fase)"]}


def config(collect: Any, of_town: Any = ()) -> dict[str, Any]:
    """A swarm with ``fase`` and one without."""
    town = {"id": "town", "canal": 1, "entidades": 10, "procesador": "sir", "collect": of_town}
    plain = {"id": "plain", "canal": 2, "entidades": 10}
    return {"instance_id": "one", "bloques": [town, plain], "collect": collect}


def told(raw: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """What is told of each swarm, as (every, expression)."""
    checked = parse_config(raw)
    plan = make_plan(checked)
    assert with_settings(plan, checked).swarms[0].collect == plan.swarms[0].collect
    return {s.id: [(one.every, *one.stats) for one in s.collect] for s in plan.swarms}


@pytest.mark.parametrize("of_town", [OTHER, [OTHER]])
def test_of_one_and_of_all(of_town: Any) -> None:
    mean, most = (10, "mean(valor)"), (5, "max(fase)")
    assert told(config((), of_town)) == {"town": [most], "plain": []}
    assert told(config(ONE, of_town)) == {"town": [most, mean], "plain": [mean]}
    both = [{**OTHER, "swarm": "town"}, ONE]
    assert told(config(both)) == {"town": [most, mean], "plain": [mean]}
    assert told(config({**ONE, "swarm": "plain"})) == {"town": [], "plain": [mean]}


@pytest.mark.parametrize(
    ("collect", "of_town", "says"),
    [
        ({**ONE, "swarm": "twon"}, (), 'collect[0].swarm: found "twon", allowed null or one of'),
        ({**ONE, "every": 0}, (), "collect[0].every: found 0"),
        ({**ONE, "often": 3}, (), "collect[0].often"),
        ((), {"every": 0, "stats": ["mean(valor)"]}, "bloques[0].collect[0].every: found 0"),
        ((), {**ONE, "swarm": "town"}, "bloques[0].collect[0].swarm"),
        (OTHER, (), "collect[0].stats[0]: found 'max(fase)', allowed one of the columns of plain"),
        ((), {**ONE, "stats": ["max(x)"]}, "bloques[0].collect[0].stats[0]: found 'max(x)'"),
        (5, (), "collect: found 5, allowed a list of objects"),
    ],
)
def test_what_is_wrong_is_one_line(collect: Any, of_town: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        told(config(collect, of_town))
    assert str(refused.value).startswith(says)
    assert len(str(refused.value).splitlines()) == 1
