"""Drawn worlds whose entities send, are born, die and move agree with the oracle in every field."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from corec.lab.oracle.world import log_cap
from corec.placing import place_block
from tests.oracle import kernels, whole
from tests.oracle.drawn import EVERYBODY, MET, MODULE, MODULES, PER_BLOCK, Drawn
from tests.oracle.meeting import GROUPS, whole_worlds

STAND = tuple(f"oracle_placed:{name}" for name in ("swift", "voter"))
"""Two of them, whose code is compiled for it: the long form has the others."""


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(whole_worlds(only=MET))
def test_drawn_worlds_of_those_who_meet_agree_with_the_oracle(drawn: Drawn) -> None:
    whole.check(drawn)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(whole_worlds(only=STAND))
def test_drawn_worlds_of_those_who_stand_somewhere_agree_with_the_oracle(drawn: Drawn) -> None:
    """On a plane and in a graph; what is written, collected and inherited as well."""
    whole.check(drawn)


@pytest.mark.parametrize("cap", [1, 40, 1000])
@pytest.mark.parametrize("name", EVERYBODY)
def test_the_log_has_the_room_that_the_rules_say(name: str, cap: int) -> None:
    """Beside copies, histories and what a block leaves to the next tick."""
    module, _, short = name.rpartition(":")
    found = kernels.PROCESSORS.get(name) or getattr(MODULES[module], short)
    place = place_block(found, cap, 1 << 20)
    if place is None:
        assert (short, cap) == ("hoarder", 1000), "it has room"
        return
    assert log_cap(EVERYBODY[name], cap, 1) == place.log_cap


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_as_many_values_as_a_block_may_send_and_one_beyond(more: int) -> None:
    """Each reading above 0.5 of a relay sends two; a block may send two for each entity."""
    burst = [(k, 0.75, True) for k in range(PER_BLOCK)]
    one = [(7, 0.25, True)]
    readings = {-1: burst[:-1] + one, 0: burst, 1: burst + one}[more]
    swarm = {
        "id": "b0", "canal": 3, "entidades": 2 * PER_BLOCK, "entidades_por_bloque": PER_BLOCK,
        "procesador": f"{MODULE}:relay", "parametros": {"reach": 2 * PER_BLOCK - 1},
    }  # fmt: skip
    config = {"seed": 5, "carga": 1.0, "persist": {"every_ticks": 2}, "bloques": [swarm]}
    drawn = Drawn(config, 3, {1: readings})
    world = drawn.oracle()
    drawn.step(world)
    assert world.blocks[0].sent == 2 * PER_BLOCK + more
    assert world.blocks[0].undelivered == max(0, more)
    whole.check(drawn)


def test_everybody_is_drawn() -> None:
    assert set(EVERYBODY) == {name for group in GROUPS for name in group}
