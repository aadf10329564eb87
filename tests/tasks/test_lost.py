"""Notices that Redis had, and came back without, are told once."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from corec.tasks.streams import TOLD, Names
from tests.e2e.conftest import compiled, make
from tests.support.processes import wait_until
from tests.tasks.test_messages import PROCESSORS, config, packed
from tests.tasks.test_thermostats import ctl

__all__ = ["compiled", "make"]
NAMES = Names("echo")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_notices_that_redis_lost_are_told(make: Any, valkey_url: str) -> None:
    one = make({**config(), "tasks": [], "alertas": {"clear_after_ticks": 10**9}})
    (one.home / "plugins").mkdir(exist_ok=True)
    alerting = PROCESSORS.replace("@corec.celu\n", "@corec.celu(alerts=True)\n")
    assert alerting != PROCESSORS
    (one.home / "plugins" / "echoing.py").write_text(alerting)
    run = one.start("--fresh", "--workers", "1").ready(seconds=150.0)
    with redis.Redis.from_url(valkey_url) as client:

        def raised(*entities: int, so_far: int) -> None:
            sent = packed(*((entity, 1.0) for entity in entities))
            client.xadd(NAMES.keys.incoming(1), {"m": sent})
            wait_until(lambda: said() == so_far, "the notices", 60.0)

        def said() -> int:
            found: Any = client.hget(NAMES.progress, TOLD)
            return int(found or 0)

        def reconnected() -> None:
            found: Any = client.client_list()
            own = client.client_id()
            for other in found:
                if int(other["id"]) != own:
                    client.client_kill_filter(_id=other["id"])

        def letters() -> list[dict[str, Any]]:
            return list(ctl(one, "tasks")[1]["failed"])

        raised(1, 2, 3, so_far=3)
        first: Any = client.xrange(NAMES.notices, count=1)
        with client.pipeline() as pipe:  # as a log has it whose end is cut
            pipe.delete(NAMES.notices)
            pipe.xadd(NAMES.notices, first[0][1], id=first[0][0])
            pipe.hset(NAMES.progress, TOLD, 1)
            pipe.execute()
        reconnected()
        wait_until(lambda: len(letters()) == 1, "it is told", 60.0)
        (letter,) = letters()
        assert (letter["tarea"], letter["aviso"]["entries"]) == ("avisos", 2)
        assert "that Redis lost: 2" in letter["error"]
        assert said() == 3
        raised(4, so_far=4)
        reconnected()
        raised(5, so_far=5)
        assert letters() == [letter]
        found: Any = client.xrange(NAMES.notices)
        assert [entry for entry, _ in found] == [b"1-0", b"4-0", b"5-0"]
    assert run.stop().code == 0
