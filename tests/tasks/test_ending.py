"""A notice is ended with all that follows from it, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from corec.broker.link import LAST_ID
from corec.tasks.streams import Names, end_notices

TITLE = "t"


def asked(client: Any, names: Names) -> bytes:
    """One notice in the hands of the task."""
    client.xgroup_create(names.notices, f"tarea:{TITLE}", "0", mkstream=True)
    entry: bytes = client.xadd(names.notices, {"aviso": "{}"})
    client.xreadgroup(f"tarea:{TITLE}", "corec", {names.notices: ">"})
    return entry


@pytest.mark.parametrize("how", ["another type", "the last id"])
@pytest.mark.parametrize("span", [(0, 1, 1), (0, 1, 2), (1, 2, 2)])
def test_answers_that_have_no_place_leave_the_notice_where_it_is(
    valkey_url: str, how: str, span: tuple[int, int, int]
) -> None:
    names = Names(f"ending{span[0]}{span[1]}{span[2]}{how[0]}")
    good, bad = names.keys.incoming(1), names.keys.incoming(2)
    with redis.Redis.from_url(valkey_url) as client:
        entry = asked(client, names)
        if span[0]:
            client.hset(names.progress, f"{names.notices} tarea:{TITLE} {entry.decode()}", span[0])
        if how == "another type":
            client.set(bad, "no stream")
        else:
            client.xadd(bad, {"m": "x"}, id=LAST_ID)
        command = end_notices(
            names, names.notices, TITLE, entry, span, [(good, ["m", b"1"]), (bad, ["m", b"2"])]
        )
        for _ in range(2):
            with pytest.raises(redis.ResponseError, match=r"WRONGTYPE|the last id there is"):
                client.execute_command(*command)
        assert client.xlen(good) == 0
        assert client.xpending(names.notices, f"tarea:{TITLE}")["pending"] == 1
        client.delete(bad)
        assert client.execute_command(*command) == 1
        assert client.execute_command(*command) == 0, "once"
        assert [client.xlen(key) for key in (good, bad)] == [1, 1]
        left = client.xpending(names.notices, f"tarea:{TITLE}")["pending"]
        assert left == (0 if span[1] == span[2] else 1)
        said = client.hvals(names.progress)
        assert said == ([] if span[1] == span[2] else [b"1"])
