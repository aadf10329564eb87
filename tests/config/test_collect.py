"""``collect`` at the top level and in a bloque, as a list and as one object."""

from __future__ import annotations

from typing import Any

import pytest

import corec
from corec import layout as L
from corec.config import ConfigError, parse_config
from corec.config.collecting import COLUMNS_MAX
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
        ({**ONE, "keep": 1_000_001}, (), "collect[0].keep: found 1000001, allowed null (all) or"),
        ({**ONE, "keep": 0}, (), "collect[0].keep: found 0"),
    ],
)
def test_what_is_wrong_is_one_line(collect: Any, of_town: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        told(config(collect, of_town))
    assert str(refused.value).startswith(says)
    assert len(str(refused.value).splitlines()) == 1


def test_sixty_four_columns_and_one_more() -> None:
    """Of a processor with as many fields and genes as there may be; of each the mean is told."""
    fields = {f"f{k}": "f4" for k in range(L.FIELDS_MAX)}
    genes = {f"g{k}": (0.0, 1.0, 0.1) for k in range(L.GENES_MAX)}

    @corec.micro(state=fields, genes=genes, fitness="f0")
    def wide(me: Any) -> Any:
        return me.f0

    names = [*fields, *genes]
    one = {"every": 1, "columns": names, "keep": 1_000_000}
    town = {"id": "town", "canal": 1, "entidades": 10, "procesador": "wide", "collect": one}
    raw = {"instance_id": "one", "bloques": [town]}
    (swarm,) = make_plan(parse_config(raw), {"wide": wide}).swarms
    assert len(swarm.collect[0].expressions) == COLUMNS_MAX == 64
    assert swarm.collect[0].keep == 1_000_000
    one["columns"] = [*names, "activo"]
    with pytest.raises(ConfigError, match=r"^bloques\[0\].collect\[0\].columns: found .*up to 64"):
        parse_config(raw)
