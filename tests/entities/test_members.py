"""``me`` is laid out and filled by one table of names."""

from __future__ import annotations

import pytest

from corec.entities.members import Members, members_of
from tests.entities.subjects import fading


def named(members: Members) -> dict[str, str]:
    return {name: f"<{name}>" for name, _ in members.all}


def test_values_come_in_the_order_of_the_struct_however_they_are_given() -> None:
    members = members_of(fading, 2, False, None)
    names = [name for name, _ in members.all]
    assert {"_seed", "_draw", "_r0", "_r1"} < set(names)
    backwards = dict(reversed(named(members).items()))
    assert members.in_order(backwards) == [f"<{name}>" for name in names]


def test_a_member_that_nobody_fills_and_a_value_of_no_member_are_refused() -> None:
    members = members_of(fading, 0, True, None)
    lacking = named(members)
    del lacking["_draw"]
    with pytest.raises(ValueError, match=r"no value for \['_draw'\], no member for \[\]"):
        members.in_order(lacking)
    with pytest.raises(ValueError, match=r"no value for \[\], no member for \['_r0'\]"):
        members.in_order({**named(members), "_r0": "0"})
