"""A world in memory of which the processors read, tell or evolve otherwise by now."""

from __future__ import annotations

import pytest
import redis

from tests.e2e.conftest import Make
from tests.e2e.test_migrated import (
    FIRST,
    config,
    last,
    left_in_memory,
    refused,
    stepped,
    upgraded,
    write,
)
from tests.support.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

READS = '''"""What it reads."""

import corec


@corec.celu(state={"a": "f4"}, value={"t": "f4", "h": "f4"})
def thing(me, v):
    """Adds up."""
    me.a = me.a + v.t
    return me.a
'''


def test_a_world_in_memory_reads_and_tells_what_its_code_did(make: Make) -> None:
    """Which is no field: told as what it is, with the way out, which is gone then; an upgrade is
    refused with the same words."""
    one = make(config())
    write(one, READS)
    run = one.start("--tick-hz", "0.001").ready()
    stepped(run, 3)
    other = READS.replace('value={"t": "f4", "h": "f4"}', 'value={"h": "f4", "t": "f4"}')
    value = "bloques[0]: thing:thing: value: found ['t', 'h'], configured ['h', 't']"
    assert value in upgraded(run, other)
    left_in_memory(one, run)
    (told,) = [line for line in refused(one).splitlines() if "does not fit the config" in line]
    assert f"({value}); stop it with the code it was left by" in told
    write(one, READS.replace('"f4"})', '"f4"}, alerts=("a",))'))
    assert "thing: alerts: found [], configured ['a']" in refused(one)
    write(one, READS)
    assert one.run("--ticks", "1").summary["tick"] == 4
    write(one, other)
    assert one.run("--ticks", "1").summary["tick"] == 5


def test_readings_that_wait_are_read_as_they_were_written(make: Make, valkey_url: str) -> None:
    """Those of the old values, in a world in memory that has another field besides."""
    one = make(config())
    write(one, READS)
    run = one.start("--tick-hz", "0.001").ready()
    stepped(run, 3)
    other = READS.replace('value={"t": "f4", "h": "f4"}', 'value={"h": "f4", "t": "f4"}')
    other = other.replace('state={"a": "f4"}', 'state={"a": "f4", "b": "f4"}')
    with redis.Redis.from_url(valkey_url) as client:
        client.xadd("corec:{corec1}:in:1", {"id": "5", "datos": '{"t": 1.0, "h": 64.0}'})
    wait_until(lambda: run.status()["messages_in"] == 1, "it waits in the lane", 20.0)
    left_in_memory(one, run)
    write(one, other)
    assert "readings of its old values wait to be taken in" in refused(one)
    write(one, READS)
    assert one.run("--ticks", "1").summary["tick"] == 4
    assert last(one, "a")["a"][5] == 1.0
    write(one, other)
    assert one.run("--ticks", "1").summary["tick"] == 5


def test_a_world_in_memory_has_another_gene_and_nothing_else(make: Make) -> None:
    with_gene = FIRST.replace("history=", 'genes={"g": (2.0, 3.0, 0.5)}, history=')
    one = make(config())
    write(one, with_gene)
    run = one.start("--tick-hz", "0.001").ready()
    stepped(run, 3)
    left_in_memory(one, run)
    write(one, with_gene.replace('"g": (2.0', '"k": (2.0, 3.0, 0.5), "g": (2.0'))
    assert one.run("--ticks", "1").summary["tick"] == 4
    found = last(one, "a", "g", "k")
    assert found["a"][0] == 4.0
    assert ((found["g"] >= 2.0) & (found["k"] >= 2.0)).all()
