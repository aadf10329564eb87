"""What a start asks of Redis: is it fit, may this user do what is needed, does nobody hold it?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import redis

from corec import layout as L
from corec.broker.entry import Unfit, enter, judge
from corec.broker.link import Command, Link, SinkAway, key_of
from corec.broker.owner import HeldElsewhere
from corec.broker.positions import ZERO, EntryId, Keys
from corec.broker.streams import last_entry
from corec.process.runtime import LEASE_SECONDS, Owner
from tests.broker.support import INSTANCE, Instance, message
from tests.broker.test_in import collect_readings
from tests.broker.test_servers import free_port, valkey_with
from tests.support.instance import REPO
from tests.support.processes import wait_until

Make = Callable[..., Instance]
ONE, OTHER = Owner("one", "pid 1 on here"), Owner("other", "pid 2 on there")


@pytest.mark.parametrize(
    ("info", "cluster", "words"),
    [
        ({"redis_version": "7.0.15"}, False, None),
        ({"redis_version": "6.2.14"}, False, "found Redis 6.2.14, expected 7.0 or newer"),
        ({"redis_version": "10.0.0"}, False, None),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, False, None),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, False, "expected 8.0"),
        ({"maxmemory_policy": "allkeys-lru"}, False, "maxmemory-policy allkeys-lru"),
        ({"maxmemory_policy": "volatile-lru"}, False, None),
        ({"role": "slave", "master_host": "h", "master_port": "1"}, False, "replica of h:1"),
        ({"role": "slave"}, True, None),  # a Cluster's client goes to the slot's owner
        ({}, False, None),
    ],
)
def test_judged(info: dict[str, str], cluster: bool, words: str | None) -> None:
    reason = judge(info, cluster=cluster)
    assert reason is None if words is None else words in str(reason)


@pytest.mark.slow
def test_a_key_of_ours_that_holds_something_else_is_named(valkey_url: str) -> None:
    keys = Keys("odd_one")
    with redis.Redis.from_url(valkey_url) as client:
        for key in (keys.pos, keys.owner):
            client.set(key, "x")
            with pytest.raises(SinkAway, match=re.escape(f"{key} holds something else")):
                enter(valkey_url, "odd_one", cluster=False, owner=ONE)
            client.delete(key, keys.pos)


@pytest.mark.slow
def test_a_new_world_begins_though_an_input_key_holds_no_stream(valkey_url: str) -> None:
    key = Keys("odd_two").incoming(1)

    async def asked() -> EntryId:
        link = Link(valkey_url, key)
        await link.connect()
        try:
            return await last_entry(link, key)
        finally:
            await link.close()

    with redis.Redis.from_url(valkey_url) as client:
        client.set(key, "x")
        assert asyncio.run(asked()) == ZERO
        client.delete(key)
        client.xadd(key, {"m": "x"}, id="7-1")
        assert asyncio.run(asked()) == EntryId(7, 1)
        client.delete(key)


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random"), "allkeys-random"),
        (("--replicaof", "127.0.0.1 1"), "read-only replica of 127.0.0.1:1"),
    ],
)
def test_unfit(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    with valkey_with(tmp_path / "node", *options) as port:
        url = f"redis://127.0.0.1:{port}"
        with pytest.raises(Unfit, match=words):
            enter(url, INSTANCE, cluster=False, owner=ONE)
        with redis.Redis(port=port) as client:
            assert client.keys("*") == []


def test_nobody_there() -> None:
    with pytest.raises(SinkAway, match="connect"):
        enter(f"redis://127.0.0.1:{free_port()}", INSTANCE, cluster=False, owner=ONE)


@pytest.mark.slow
def test_a_dead_holder_is_outlived(valkey_url: str) -> None:
    """Nobody renews it: the start waits until the server has let it expire."""
    enter(valkey_url, INSTANCE, cluster=False, owner=ONE)
    enter(valkey_url, INSTANCE, cluster=False, owner=ONE)  # itself: at once
    with redis.Redis.from_url(valkey_url) as client:
        assert 0 < client.ttl(f"corec:{{{INSTANCE}}}:owner") <= LEASE_SECONDS
        client.expire(f"corec:{{{INSTANCE}}}:owner", 2)
        enter(valkey_url, INSTANCE, cluster=False, owner=OTHER)
        assert client.hget(f"corec:{{{INSTANCE}}}:owner", "id") == b"other"


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_a_live_holder(instance: Make) -> None:
    """Its broker renews: refused; taken over by wish: its broker leaves and stays away."""
    one = instance()
    one.rt.owner = ONE
    pid = one.start()
    wait_until(lambda: one.state().epoch, "the world begins")
    with pytest.raises(HeldElsewhere, match="pid 1 on here"):
        enter(one.url, INSTANCE, cluster=False, owner=OTHER)
    one.run_tick(1)
    enter(one.url, INSTANCE, cluster=False, owner=OTHER, take_over=True)
    one.run_tick(2)
    assert one.wait_exit(pid) == 5
    pid = one.start()
    assert one.wait_exit(pid) == 5
    with one.redis() as client:
        assert client.hget(one.keys.owner, "id") == b"other"


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_a_clean_end_gives_it_back(instance: Make) -> None:
    one = instance()
    one.rt.owner = ONE
    pid = one.start()
    one.run_tick(1)
    one.drain(pid)
    with one.redis() as client:
        assert not client.exists(one.keys.owner)


def _began(one: Instance, epoch: int) -> bool:
    with redis.Redis(port=int(one.url.rpartition(":")[2])) as client:
        return bool(client.hget(one.keys.pos, "epoch") == str(epoch).encode())


def documented_user() -> list[str]:
    """The words of the ACL SETUSER that docs/streams.md shows."""
    text = (REPO / "docs" / "streams.md").read_text(encoding="utf-8")
    found = re.search(r"redis-cli .*?(ACL SETUSER .*?)\n```", text, re.DOTALL)
    assert found is not None
    return found[1].replace("\\\n", " ").replace("\\|", "|").replace("'", "").split()


OPTIONAL = ("+xinfo", "+info", "+ping", "+cluster|slots", "+command")


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("less", [(), OPTIONAL])
def test_a_user_with_the_documented_rights(
    instance: Make, tmp_path: Path, less: tuple[str, ...]
) -> None:
    """Both ways, dead letters, a new world, a deleted hash; without the optional ones, too."""
    with valkey_with(tmp_path / "node") as port:
        words = [word for word in documented_user() if word not in less]
        with redis.Redis(port=port) as client:
            client.execute_command(*words)
        secret = next(word for word in words if word.startswith(">"))[1:]
        url = f"redis://{words[2]}:{secret}@127.0.0.1:{port}"
        enter(url, INSTANCE, cluster=False, owner=ONE)
        for epoch in (7, 8):
            one = instance(url=url, epoch=epoch)
            one.rt.owner = ONE
            pid = one.start()
            one.run_tick(1)
            wait_until(partial(_began, one, epoch), "it begins")
            with redis.Redis(port=port) as client:
                client.xadd(one.keys.incoming(1), {"m": message(3, 1, 0.5)})
                client.xadd(one.keys.incoming(1), {"rubbish": 1})
                assert len(collect_readings(one, 1)) == 1
                wait_until(partial(one.count, L.B_DEAD), "the dead letter is written")
                client.delete(one.keys.pos)
            one.run_tick(2)
            one.drain(pid)
            one.url = f"redis://127.0.0.1:{port}"
            one.check_ledger()
            assert len(one.dead()) == 1


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HGET", "a", "b"), "a"),
        (("XINFO", "STREAM", "a"), "a"),
        (("XGROUP", "CREATE", "a", "g", "$"), "a"),
        (("XREAD", "COUNT", 5, "STREAMS", "a", "0-0"), "a"),
        (("XREADGROUP", "GROUP", "g", "c", "COUNT", 5, "STREAMS", "a", ">"), "a"),
        (("XREAD", "STREAMS", "a", "b", "0-0", "0-0"), "one of a, b"),
        (("EVAL", "return 1", 2, "a", "b", "x"), "one of a, b"),
        (("EXEC",), None),
    ],
)
def test_the_key_of_a_command(command: Command, key: str | None) -> None:
    assert key_of(command) == key
