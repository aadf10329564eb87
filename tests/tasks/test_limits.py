"""As many answers as one call may give, in many calls at once, and one more; and more failures than
their stream keeps."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import redis

from corec.tasks.process import LETTERS_LEAST
from corec.tasks.streams import ANSWERS_MAX, failure
from tests.e2e.conftest import compiled, make
from tests.support.processes import wait_until
from tests.tasks.test_messages import PROCESSORS, config, packed
from tests.tasks.test_thermostats import ctl

__all__ = ["compiled", "make"]
CALLS = 4
MANY = f'''

@corec.task
def many(notice):
    """As many as it is told to be beyond the limit."""
    return [(600 + k % 600, notice.valor) for k in range({ANSWERS_MAX} + int(notice.valor) - 1)]
'''


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("no_leaks")
def test_the_most_answers_and_failures(make: Any, valkey_url: str, pg_dsn: str) -> None:
    task = {"on": "mensajes", "canal": 1, "run": "echoing:many", "workers": 2}
    one = make({**config(), "tasks": [task], "streams": {"maxlen": 1000}})
    (one.home / "plugins").mkdir(exist_ok=True)
    (one.home / "plugins" / "echoing.py").write_text(PROCESSORS + MANY)
    run = one.start("--fresh", "--workers", "1").ready(seconds=150.0)
    with redis.Redis.from_url(valkey_url) as client:
        sent = [(k, 1.0) for k in range(CALLS)] + [(CALLS, 2.0)]
        client.xadd("corec:{echo}:in:1", {"m": packed(*sent)})
        wait_until(lambda: len(ctl(one, "tasks")[1]["failed"]) == 1, "one is too many", 90.0)
        wanted = CALLS * ANSWERS_MAX
        wait_until(lambda: client.xlen("corec:{echo}:in:2") == wanted, "all answers", 90.0)
        (failed,) = ctl(one, "tasks")[1]["failed"]
        said = f"found {ANSWERS_MAX + 1} answers, expected {ANSWERS_MAX} at most"
        assert (failed["error"], failed["aviso"]["entity"]) == (said, CALLS)
        since = run.status()["tick"]
        wait_until(lambda: run.status()["messages_in"] == wanted + len(sent), "taken in", 90.0)
        run.until_tick(since + 5)
        _more_failures_than_are_kept(client, pg_dsn)
    assert run.stop().code == 0


def _more_failures_than_are_kept(client: Any, dsn: str) -> None:
    """The stream keeps the latest, the table all."""
    key, more = "corec:{echo}:tareas_fallidas", 2500
    client.config_set("stream-node-max-entries", "100")
    with client.pipeline(transaction=False) as pipe:
        for number in range(LETTERS_LEAST + more):
            field, text = failure("other", "r", {"number": number}, 1, "no")
            pipe.xadd(key, {field: text})
        pipe.execute()

    def rows() -> int:
        with psycopg.connect(dsn) as connection:
            query = "SELECT count(*) FROM tareas_fallidas WHERE instance_id = 'echo'"
            (found,) = connection.execute(query).fetchone() or (0,)
            return int(found)

    wait_until(lambda: rows() == LETTERS_LEAST + more + 1, "all are in the table", 60.0)
    wait_until(lambda: client.xlen(key) < LETTERS_LEAST + 200, "the stream is cut", 30.0)
    assert client.xlen(key) >= LETTERS_LEAST
