"""Who the servers run as: root drops, an ordinary user does not, and two users do not mix."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from corec.embedded import EmbeddedPostgres, EmbeddedServerError, launch
from corec.embedded.home import socket_place
from corec.embedded.postgres import _quoted
from tests.security.stranger import as_user, opened, reached

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may use anybody's files")


@pytest.fixture
def closed_dir() -> Iterator[Path]:
    """A 0700 directory of ours, as a clone made below mktemp -d is."""
    path = Path(tempfile.mkdtemp(prefix="corec-test-closed-"))
    yield path
    shutil.rmtree(path)


def _uid_of(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _ambient(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("CapAmb:")[1].split()[0], 16)


@needs_root
def test_root_drops_below_a_directory_only_root_can_enter(closed_dir: Path) -> None:
    server = EmbeddedPostgres(closed_dir / "data", closed_dir / "run")
    server.start()
    assert _uid_of(server.pid) != 0
    assert _uid_of(server.pid) == (closed_dir / "data" / "pgdata").stat().st_uid
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        row = connection.execute("SELECT current_user").fetchone()
        assert row == ("corec",)
    server.restart(immediate=True)
    server.stop()


@needs_root
def test_roots_folders_stay_closed_and_the_server_keeps_one_capability(closed_dir: Path) -> None:
    server = EmbeddedPostgres(closed_dir / "data", closed_dir / "run")
    server.start()
    assert _ambient(server.pid) in {
        1 << launch.CAP_DAC_READ_SEARCH,
        1 << launch.CAP_DAC_OVERRIDE,
    }
    for path in [closed_dir / "data", *closed_dir.rglob("*")]:
        assert path.is_symlink() or not path.stat().st_mode & 0o077, path
    server.stop()


@needs_root
@pytest.mark.parametrize("owner", ["nobody", "games"])
def test_existing_data_is_handed_over_or_stays_its_owners(closed_dir: Path, owner: str) -> None:
    """Earlier versions ran it as ``nobody``, whom others share; ``games`` was somebody's choice."""
    entry = pwd.getpwnam(owner)
    first = EmbeddedPostgres(closed_dir / "data", closed_dir / "run")
    first.start()
    number = _uid_of(first.pid)
    with pytest.raises(KeyError):
        pwd.getpwuid(number)
    with psycopg.connect(first.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number int)")
    first.stop()
    pgdata = closed_dir / "data" / "pgdata"
    half = sorted(pgdata.rglob("*"))
    for path in [pgdata, *half[: len(half) // 2]]:  # as a hand-over that was killed leaves it
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    if owner == "games":
        for path in half:
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    first.start()
    assert _uid_of(first.pid) == (number if owner == "nobody" else entry.pw_uid)
    assert {path.stat().st_uid for path in [pgdata, *pgdata.rglob("*")]} == {_uid_of(first.pid)}
    with psycopg.connect(first.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    first.restart(immediate=True)
    first.stop()


@needs_root
def test_others_of_the_user_that_initdb_ran_as_cannot_touch_the_server(closed_dir: Path) -> None:
    server = EmbeddedPostgres(closed_dir / "data", closed_dir / "run")
    server.start()
    pid = server.pid
    assert pid is not None
    closed_dir.chmod(0o755)
    files = [str(path) for path in closed_dir.rglob("*")]
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        assert as_user(entry.pw_uid, entry.pw_gid, partial(reached, [pid])) == []
        seen = as_user(entry.pw_uid, entry.pw_gid, partial(opened, files))
        assert set(seen) == {f"stat {closed_dir / one}" for one in ("data", "run")}
    server.stop()


@needs_root
def test_a_server_whose_user_cannot_get_there_names_the_closed_directory(closed_dir: Path) -> None:
    """A container without the capabilities: the drop is tried in a process that has none."""
    child = subprocess.run(
        [
            *("setpriv", "--bounding-set", "-dac_override,-dac_read_search"),
            *("--inh-caps", "-dac_override,-dac_read_search"),
            *(sys.executable, "-m", "tests.support.server_owner", str(closed_dir), "postgres"),
        ],
        input="",
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert child.returncode == 1, child.stderr
    assert "cannot reach its files" in child.stderr


@needs_root
def test_data_of_root_is_one_clear_error_for_an_ordinary_user(closed_dir: Path) -> None:
    closed_dir.chmod(0o755)
    server = EmbeddedPostgres(closed_dir / "data", closed_dir / "run")
    server.start()
    server.stop()
    nobody = pwd.getpwnam("nobody")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
            os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
            server.start()
        except EmbeddedServerError as error:
            code = 0 if "belongs to root (uid 0)" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@needs_user
def test_a_directory_we_may_not_write_is_one_clear_error() -> None:
    server = EmbeddedPostgres(Path("/proc/corec"), Path("/proc/corec"))
    with pytest.raises(EmbeddedServerError, match="cannot use /proc/corec"):
        server.start()


def test_a_path_with_quotes_is_quoted_for_the_settings_file() -> None:
    assert _quoted("a'b\\c") == "'a''b\\\\c'"
    assert _quoted("a\nb") == "'a\\nb'"


def test_a_comma_is_no_part_of_a_sockets_path() -> None:
    """libpq takes it for the end of a host's name, and knows no way around."""
    assert socket_place(Path("/a/b"), "m", "s").path == Path("/a/b")
    assert "," not in str(socket_place(Path("/a,b"), "m", "s").path)
