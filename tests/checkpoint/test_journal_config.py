"""What a record of the journal says of a configuration with thousands of bloques."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from corec import layout as L
from corec.config import Config, ConfigError
from corec.plan import Plan, make_plan
from corec.supervisor.lanes import JOURNAL_LANE_BYTES
from corec.world.past import CONFIG_BYTES_MAX, as_it_was, check_journal, in_journal, live_values


def planned(bloques: Iterable[dict[str, Any]]) -> tuple[Config, Plan]:
    found = [{"canal": 1, "entidades": 2, "procesador": "ewma", **one} for one in bloques]
    config = Config.model_validate({"instance_id": "corec1", "bloques": found})
    return config, make_plan(config)


def test_the_largest_record_fits_into_its_lane() -> None:
    """With all that may be set, and the position of every canal."""
    positions = {str(-canal): [(1 << 42) + 1, 1 << 20, 1 << 20, 1] for canal in range(100, 356)}
    size = len(orjson.dumps({"tick": 1 << 62, "in": positions, "readings": 1 << 32}))
    assert size + L.SETTINGS_BYTES + CONFIG_BYTES_MAX + 200 < JOURNAL_LANE_BYTES // 4


@pytest.mark.parametrize("bloques", [20, 2000])
def test_it_says_the_values_of_all(bloques: int) -> None:
    ids = [f"b{number}" for number in range(bloques)]
    was, plan = planned({"id": name, "umbral": 0.25 + k / 8192} for k, name in enumerate(ids))
    said = orjson.loads(orjson.dumps(in_journal(was, plan)))
    assert ("live" in said) == (bloques == 20)
    check_journal(was, plan)
    now, _ = planned({"id": name, "umbral": 0.5 if k == 7 else 0.25 + k / 8192}
                     for k, name in enumerate(ids))  # fmt: skip
    assert live_values(as_it_was(now, plan, said), plan) == live_values(was, plan)


def test_more_than_a_record_can_tell_is_refused() -> None:
    rng = random.Random(1)
    config, plan = planned(
        {"id": rng.randbytes(20).hex(), "umbral": rng.random()} for _ in range(7000)
    )
    with pytest.raises(ConfigError, match=r"bloques: found 7000 whose values take [\d,]+ bytes"):
        check_journal(config, plan)
