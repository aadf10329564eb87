"""Whose PostgreSQL runs: the wheel's, the system's, or nobody's; and that files choose."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from corec.embedded import EmbeddedPostgres, EmbeddedServerError
from corec.embedded.minors import POSTGRES_MINORS, postgres_behind, postgres_text
from corec.embedded.providers import BINDIR_VARIABLE, Postgres, postgres_for, providers
from tests.persister.small_world import expected_keys, keys_of, small_world

pytestmark = [pytest.mark.usefixtures("no_leaks")]


@pytest.fixture
def system() -> Postgres:
    """One of another major version than the wheel's."""
    wheel = postgres_for().major
    found = [one for one in providers() if one.provider == "system" and one.major != wheel]
    if not found:
        pytest.skip("no PostgreSQL of another major version is installed on this system")
    return found[0]


def test_the_wheel_comes_first_and_what_is_named_before_it(
    system: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert postgres_for().provider == "wheel"
    monkeypatch.setenv(BINDIR_VARIABLE, str(system.bindir))
    assert postgres_for() == system._replace(provider="named")


@pytest.mark.parametrize("what", ["nothing", "no folder", "too old", "not run"])
def test_a_name_without_a_postgresql_is_told(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what != "no folder":
        for name in ("postgres", "initdb"):
            program = tmp_path / name
            version = "postgres (PostgreSQL) 13.9" if what == "too old" else ""
            program.write_text(f"#!/bin/sh\necho '{version}'\n")
            program.chmod(0o644 if what == "not run" else 0o755)
    monkeypatch.setenv(BINDIR_VARIABLE, str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="expected a folder with PostgreSQL's programs"):
        postgres_for()


def test_files_of_a_version_that_nobody_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("13\n")
    with pytest.raises(EmbeddedServerError, match="is of PostgreSQL 13; found 18 "):
        postgres_for(tmp_path)


@pytest.mark.slow
def test_rows_in_a_server_of_the_system_and_its_files_choose_it_again(
    system: Postgres, shm_dir: Path, tmp_path: Path, servers_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv(BINDIR_VARIABLE, str(system.bindir))
    server = EmbeddedPostgres(tmp_path / "postgres", servers_dir / "system")
    server.start()
    try:
        with psycopg.connect(server.dsn) as connection:
            assert connection.info.server_version // 10_000 == system.major
            encoding = connection.execute("SHOW server_encoding").fetchone()
            assert encoding == ("UTF8",)
        with small_world(shm_dir, server.dsn, epoch=7) as world:
            world.publish_ticks(1, 3, repairs=1)
            world.drain()
            server.stop()
            monkeypatch.delenv(BINDIR_VARIABLE)
            assert os.environ.get(BINDIR_VARIABLE) is None
            server.start()  # the wheel's could not read these files
            world.publish_ticks(4, 5, repairs=1)
            world.drain()
            assert keys_of(server.dsn) == expected_keys(world)
        with small_world(shm_dir, server.dsn, epoch=8) as world:
            world.publish_ticks(1, 2)
            world.drain()
            assert keys_of(server.dsn) == expected_keys(world)
        with small_world(shm_dir, server.dsn, epoch=7) as world:
            world.publish_ticks(5, 6, repairs=1)
            world.drain()
            assert {tick for tick, _ in keys_of(server.dsn)} == {1, 2, 3, 4, 5, 6}
            assert len(keys_of(server.dsn)) == 36
    finally:
        server.stop()


def test_minors_that_are_known_to_be_behind() -> None:
    for major, minor in POSTGRES_MINORS.items():
        version = major * 10_000 + minor
        assert postgres_behind(version) is None
        assert postgres_behind(version + 1) is None
        assert postgres_behind(version - 1) == f"{major}.{minor}"
    assert postgres_behind(990_000) is None
    assert postgres_text(150_018) == "15.18"
