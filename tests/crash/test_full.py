"""Memory that runs out under a running instance: said, refused, and tried again when there is room.

``RLIMIT_FSIZE`` of one process makes its files as limited as a full tmpfs does, for any user and
without filling anybody's memory. A tmpfs that is really full is in ``tests/shm/test_segment.py``
and ``tests/e2e/test_refused.py``, disks in ``tests/persister/test_gaps.py``.
"""

from __future__ import annotations

import resource
import signal

import pytest

from corec.control.client import Unreachable
from tests.crash.worlds import assert_same, instance, left_by, world
from tests.e2e.conftest import Make
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]


def test_more_workers_than_the_tmpfs_holds(make: Make, pg_dsn: str, valkey_url: str) -> None:
    one = instance(make, world())
    run = one.start("--tick-hz", "50", "--workers", "2").ready().until_tick(5)
    hard = resource.prlimit(run.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (1 << 20, hard))
    lanes = sorted(path.name for path in one.folder.glob("*.lane"))
    run.signal(signal.SIGTTIN)
    wait_until(lambda: "no room for more workers" in run.texts()[1], "it says so", 20.0)
    status = run.status()
    run.until_tick(status["tick"] + 10)
    assert sorted(path.name for path in one.folder.glob("*.lane")) == lanes
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (hard, hard))
    run.signal(signal.SIGTTIN)

    def workers() -> int:
        try:
            return sum(row["role"] == "worker" for row in run.status()["processes"])
        except Unreachable:
            return 0  # the nucleus is being replaced, too

    wait_until(lambda: workers() == 3, "there is room again", 20.0)
    run.ready().until_tick(run.status()["tick"] + 10)
    ended = run.stop()
    told = [e["detalle"] for e in events_of(pg_dsn) if e["tipo"] == "trabajadores"]
    assert [("reason" in d, d["antes"], d["ahora"]) for d in told] == [(True, 2, 2), (False, 2, 3)]

    tick = str(ended.summary["tick"])
    calm = instance(make, world("calm"), "calm").run("--ticks", tick, "--tick-hz", "0")
    wanted = left_by(calm.summary, pg_dsn, valkey_url, "calm")
    assert_same(left_by(ended.summary, pg_dsn, valkey_url, "corec1"), wanted)
