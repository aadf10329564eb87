"""Embedded servers under a world that ticks: whatever keeps one away is told, and it comes back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis

from corec.config import parse_config
from corec.embedded.errors import EmbeddedServerError
from corec.supervisor.servers import Servers
from tests.support.full import no_file_over
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow]


def servers(tmp_path: Path) -> Servers:
    """A Valkey of its own; the database is another's."""
    config = parse_config(
        {
            "instance_id": "i", "state_dir": str(tmp_path / "state"),
            "redis_config": {"embedded": True},
            "bloques": [{"id": "a", "canal": 1, "entidades": 1}],
        },
        environ={"COREC_DB_URL": "postgresql://nobody@127.0.0.1:1/none"},
    )  # fmt: skip
    return Servers(config, tmp_path / "run", lambda _text: None)


def refused(one: Servers) -> str:
    """Why it does not come up."""

    def look() -> bool:
        try:
            assert one.keep_alive() == [], "nobody is said to be up"
        except EmbeddedServerError as error:
            told.append(str(error))
        return bool(told)

    told: list[str] = []
    wait_until(look, "it is told", 30.0)
    return told[0]


def revived(one: Servers) -> None:
    """Until it takes connections, and is said to."""
    wait_until(lambda: one.keep_alive() == ["valkey"], "it is up", 60.0)
    with redis.Redis.from_url(one.redis_url) as client:
        assert client.ping()


def test_a_full_disk_keeps_one_away_for_a_while(tmp_path: Path) -> None:
    one = servers(tmp_path)
    assert one.valkey is not None
    try:
        one.valkey.start()
        url = one.redis_url
        assert one.valkey.url == url
        assert one.valkey.pid is not None
        os.kill(one.valkey.pid, signal.SIGKILL)
        with no_file_over(0):
            for _ in range(2):
                assert "File too large" in refused(one)
        revived(one)
        assert one.redis_url == url
    finally:
        one.stop()


def test_the_code_after_an_upgrade_goes_on_without_them(tmp_path: Path) -> None:
    """Neither is there: the one has no room, nobody listens at the other's address."""
    import corec.persister.owner  # noqa: F401  # its kernels are compiled while there is room

    before = servers(tmp_path)
    assert before.valkey is not None
    before.valkey.start()
    url = before.redis_url
    before.stop()
    one = servers(tmp_path)
    try:
        with no_file_over(1000):  # what is captured of the log fits, valkey.conf does not
            one.go_on()
            assert one.redis_url == url, "its place is known without it"
        revived(one)
    finally:
        one.stop()
