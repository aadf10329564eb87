"""A stream with the largest id there is takes nothing more: that is waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from corec import layout as L
from corec.broker.link import LAST_ID
from tests.broker.support import Instance
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
Make = Callable[..., Instance]


def waits(one: Instance) -> bool:
    return one.rt.slot(L.SLOT_BROKER).get(L.S_ERROR) == L.REASON_SERVER_ERROR


def goes_on(one: Instance, key: str) -> list[dict[bytes, bytes]]:
    """Do what the reason says is to be done; what was in the stream so far."""
    with one.redis() as client:
        client.rename(key, f"{key}:kept")
    slot = one.rt.slot(L.SLOT_BROKER)
    wait_until(lambda: slot.get(L.S_ERROR) == 0, "it works again", 20)
    return [fields for _, fields in one.stream(f"{key}:kept")]


@pytest.mark.parametrize("which", ["out", "alerts", "dead"])
def test_it_waits_until_the_stream_goes_on(
    instance: Make, which: str, capfd: pytest.CaptureFixture[str]
) -> None:
    one = instance()
    key = {"out": one.keys.out(1), "alerts": one.keys.alerts, "dead": one.keys.dead}[which]
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 35, "the first tick is sent")
    with one.redis() as client:
        client.xadd(key, {"x": "y"}, id=LAST_ID)
    if which == "dead":
        one.add(1, {"m": b"short"})
    one.run_tick(2)
    wait_until(partial(waits, one), "it waits")
    assert f"{key} has had an entry with the last id there is" in "".join(capfd.readouterr())
    kept = goes_on(one, key)
    one.run_tick(3)
    one.drain(pid)
    assert kept[-1] == {b"x": b"y"}
    found = [*kept[:-1], *(fields for _, fields in one.stream(key))]
    if which == "out":
        assert [int(fields[b"t"]) for fields in found] == [1, 2, 3]
    else:
        assert len(found) == (3 if which == "alerts" else 1)
        one.check_ledger()


def test_who_took_the_entry_away_again_left_a_stream_that_takes_nothing(
    instance: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is seen when it refuses something: this is lost, and told; from then on it waits."""
    one = instance()
    key = one.keys.out(1)
    pid = one.start()
    one.run_tick(1)
    wait_until(lambda: one.count(L.B_MESSAGES_OUT) == 35, "the first tick is sent")
    with one.redis() as client:
        client.xadd(key, {"x": "y"}, id=LAST_ID)
        client.xdel(key, LAST_ID)
    for tick in (2, 3, 4):
        one.run_tick(tick)
        wait_until(partial(waits, one), "it waits")
    found = [int(fields[b"t"]) for fields in goes_on(one, key)]
    one.run_tick(5)
    one.drain(pid)
    assert "messages lost: a stream refused an entry" in "".join(capfd.readouterr())
    found += [int(fields[b"t"]) for _, fields in one.stream(key)]
    assert found == [1, 3, 4, 5]
    assert one.count(L.B_DROPPED) >= 1
