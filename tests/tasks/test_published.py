"""Notices reach their stream once each and in order, whatever else is in it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import redis

from corec.notices import Notice
from corec.tasks.streams import TOLD, Names, lost, publish

NAMES = Names("published")
MS_MAX = 2**64 - 1


def notice(number: int) -> tuple[int, Notice]:
    return number, Notice(str(number), "raised", 1, 2, 1, "p", 0.5)


def test_each_is_published_once(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:

        def told(*numbers: int) -> None:
            client.execute_command(*publish(NAMES, [notice(number) for number in numbers]))

        def there() -> list[tuple[bytes, str]]:
            found: Any = client.xrange(NAMES.notices)
            said = [(entry, fields.get(b"aviso", b"{}")) for entry, fields in found]
            return [(entry, orjson.loads(text).get("id", "")) for entry, text in said]

        told(1, 2)
        told(1, 2, 3)
        client.delete(NAMES.progress)  # as a version had it that kept no count
        told(3)
        own = [(b"%d-0" % number, str(number)) for number in (1, 2, 3)]
        assert there() == own
        foreign = client.xadd(NAMES.notices, {"x": "y"}, id="1700000000000-0")
        told(3, 4, 5)
        told(4, 5)
        ids, names = zip(*there()[3:], strict=True)
        assert names == ("", "4", "5")
        assert ids[0] == foreign
        client.xadd(NAMES.notices, {"x": "y"}, id=f"{MS_MAX}-{MS_MAX}")
        with pytest.raises(redis.ResponseError, match="last possible ID"):
            told(6)  # told, and no notice is taken for one that is there
        assert client.hget(NAMES.progress, TOLD) == b"5"


def test_what_a_server_lost_is_told_once(valkey_url: str) -> None:
    names = Names("lost")
    assert lost(names, b"7", 7) is None
    assert lost(names, b"8", 7) is None  # of a database that is new
    assert lost(names, None, 0) is None
    with redis.Redis.from_url(valkey_url) as client:

        def letters() -> list[Any]:
            found: Any = client.xrange(names.failed)
            return [orjson.loads(fields[b"tarea"])["aviso"]["entries"] for _, fields in found]

        command = lost(names, None, 3)
        assert command is not None
        assert [client.execute_command(*command) for _ in range(2)] == [1, 0]
        assert (client.hget(names.progress, TOLD), letters()) == (b"3", [None])
        command = lost(names, b"3", 10**6)
        assert command is not None
        assert [client.execute_command(*command) for _ in range(2)] == [1, 0]
        assert letters() == [None, 999_997]


@pytest.mark.parametrize("other", [{"x": "y"}, {"aviso": "{}"}, {"x": "y", "aviso": "{}"}])
def test_somebody_elses_entry_under_a_number_of_ours_hides_no_notice(
    valkey_url: str, other: Any
) -> None:
    names = Names(f"numbered{len(str(other))}")
    with redis.Redis.from_url(valkey_url) as client:
        client.execute_command(*publish(names, [notice(1)]))
        client.xadd(names.notices, other, id="2-0")
        client.execute_command(*publish(names, [notice(2)]))
        client.execute_command(*publish(names, [notice(2), notice(3)]))
        found: Any = client.xrange(names.notices)
        said = [orjson.loads(fields.get(b"aviso", b"{}")).get("id") for _, fields in found]
        assert said == ["1", None, "2", "3"]
