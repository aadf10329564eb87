"""Another local user beside a running instance: what he can read, change, reach or plant.

Root plays ``nobody`` and ``games``; as an ordinary user these tests are left out.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis

from corec.control.discover import Instance as Found
from corec.control.discover import find_instances, read_instance, signal_supervisor
from corec.control.folders import BASE_VARIABLE
from corec.private import NotPrivate
from shm.owner import OwnerLock
from tests.e2e.conftest import Make
from tests.security.stranger import NAMES, as_user, opened, reached
from tests.support.instance import REPO, Instance, small_config
from tests.support.processes import children_of, command_of, is_running, listening, patient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user"),
]
NOBODY = pwd.getpwnam("nobody")
STRANGERS = [pwd.getpwnam(name) for name in NAMES]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder like /tmp or /dev/shm."""
    path = Path(tempfile.mkdtemp(prefix="corec-test-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def open_up(folder: Path) -> None:
    """Let everybody come as far as ``folder``: what is in it must protect itself."""
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o055)


def assert_closed(folder: Path) -> None:
    """Nothing in it has a mode that lets anybody but its owner do anything."""
    for path in folder.rglob("*"):
        mode = path.stat(follow_symlinks=False).st_mode
        assert stat.S_ISLNK(mode) or not stat.S_IMODE(mode) & 0o077, path


def family(pid: int) -> set[int]:
    """A process and all below it."""
    found = {pid}
    for child in children_of(pid):
        found |= family(child)
    return found


def test_nothing_of_a_running_instance_is_anothers(make_embedded: Make) -> None:
    one = make_embedded(small_config(log={"file": "var/state/corec1/corec.log"}))
    open_up(one.home)
    run = one.start().ready(120.0).until_tick(20)
    state = one.home / "var" / "state"
    places = [one.runtime_base, one.folder, state, state / "corec1"]
    assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700] * 4
    paths = [str(path) for place in (one.runtime_base, state) for path in place.rglob("*")]
    assert sum(Path(path).is_socket() for path in paths) == 3
    assert_closed(one.runtime_base)
    assert_closed(state)
    pids = family(run.pid)
    titles = " ".join(command_of(pid) for pid in pids)
    assert "postgres" in titles
    assert "valkey" in titles
    # nothing but HTTP, which anybody on this machine may read and nobody may write
    assert listening(pids) == {run.http_port}
    for user in STRANGERS:
        found = as_user(user.pw_uid, user.pw_gid, lambda: opened([*map(str, places), *paths]))
        assert [line for line in found if line not in _seen_from_outside(places)] == []
        assert as_user(user.pw_uid, user.pw_gid, lambda: reached(pids)) == []
    assert _posted(run.http_port) == 405
    assert run.stop().code == 0
    assert_closed(state)


def _seen_from_outside(places: list[Path]) -> set[str]:
    """A closed folder's own name and mode are its parent's to show."""
    return {f"stat {place}" for place in (places[0], places[2])}


def _posted(port: int) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/status.json", method="POST")
    try:
        return int(urllib.request.urlopen(request, timeout=20).status)
    except urllib.error.HTTPError as error:
        return error.code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_was_asked_for_wants_a_password_that_only_we_can_read(
    make_embedded: Make,
) -> None:
    redis_port, db_port = free_port(), free_port()
    one = make_embedded(
        small_config(
            redis_config={"embedded": True, "port": redis_port},
            db_config={"embedded": True, "port": db_port},
        )
    )
    open_up(one.home)
    run = one.start().ready(120.0).until_tick(20)
    assert listening(family(run.pid)) == {run.http_port, redis_port, db_port}
    data = one.home / "var" / "state" / "corec1"
    files = [data / "valkey" / "password", data / "postgres" / "password"]
    passwords = [path.read_text(encoding="ascii").strip() for path in files]
    for user in STRANGERS:
        assert as_user(user.pw_uid, user.pw_gid, lambda: opened(map(str, files))) == []
    with redis.Redis(port=redis_port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.xlen("corec:{corec1}:out:1")
    with redis.Redis(port=redis_port, password=passwords[0]) as client:
        assert client.xlen("corec:{corec1}:out:1") > 0
    address = {"host": "127.0.0.1", "port": db_port, "user": "corec", "dbname": "corec"}
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(**address)  # type: ignore[arg-type]  # the keys of libpq
    with psycopg.connect(**address, password=passwords[1]) as connection:  # type: ignore[arg-type]  # likewise
        assert connection.execute("SELECT count(*) FROM bloques").fetchone() is not None
    assert one.ctl("redis", "PING").out.strip().endswith("PONG")
    assert one.ctl("sql", "SELECT 41 + 1 AS n").code == 0
    shown = one.ctl("status", "--json").out + (one.folder / "instance.json").read_text()
    shown += " ".join(command_of(pid) for pid in family(run.pid))
    ended = run.stop()
    for password in passwords:
        assert password not in shown + ended.err + ended.out


def started(one: Instance) -> tuple[int, str]:
    """Exit code and complaint of a start that is refused."""
    ended = one.run(seconds=120.0)
    assert ended.code == 0 or len(ended.complaints) == 1, ended.err
    return ended.code, "".join(ended.complaints)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
@pytest.mark.parametrize("what", ["base", "state"])
def test_a_planted_folder_is_refused_in_one_line(
    public: Path, compiled: None, what: str, mode: int
) -> None:
    planted = public / "planted"
    planted.mkdir()
    planted.chmod(mode)
    os.chown(planted, NOBODY.pw_uid, NOBODY.pw_gid)
    base = planted if what == "base" else public / "run"
    state = planted if what == "state" else public / "state"
    one = Instance(public / "home", base, small_config(state_dir=str(state)))
    code, told = started(one)
    assert code == 2
    assert told.startswith(f"corec: {'runtime' if what == 'base' else 'state'}_dir: {planted}: ")
    assert "belongs to nobody" in told
    assert list(planted.iterdir()) == []
    assert not one.runtime_files()


def test_a_planted_folder_makes_no_process_a_target(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``stop`` of an instance that a stranger has made up, with a bystander's pid in it."""
    base = public / "corec-0"
    folder = base / "corec1-0a1b2c3d"
    monkeypatch.setenv(BASE_VARIABLE, str(base))
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        folder.mkdir(parents=True)
        lock = OwnerLock(folder / "owner.lock")
        lock.acquire()  # held, but not by the process that the file names
        made_up = Found("corec1", bystander.pid, str(folder), "", None, "", "", 1, None, "0")
        (folder / "instance.json").write_text(json.dumps(asdict(made_up)))
        assert read_instance(folder) is None  # ours, and still the pid is no supervisor's
        with pytest.raises(ProcessLookupError):
            signal_supervisor(made_up, 15)
        for path in (base, folder, *folder.iterdir()):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        base.chmod(0o777)
        with pytest.raises(NotPrivate, match="corec-0: "):
            find_instances()
        done = subprocess.run(
            [sys.executable, "-m", "corec.control.ctl", "stop", "--no-wait"],
            cwd=REPO, capture_output=True, text=True, check=False, timeout=patient(60),
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"corec-ctl: {base}: ")
        assert done.stderr.count("\n") == 1
        assert is_running(bystander.pid)
        lock.release()
    finally:
        bystander.kill()
        bystander.communicate()


@pytest.mark.parametrize("umask", [0o000, 0o277, 0o777])
def test_a_start_under_any_umask_makes_closed_files(make_embedded: Make, umask: int) -> None:
    one = make_embedded(small_config(log={"file": "var/log/corec.log"}))
    open_up(one.home)
    before = os.umask(umask)
    try:
        run = one.start("--ticks", "40")
        ended = run.wait(120.0)
    finally:
        os.umask(before)
    assert ended.summary["ticks"] == 40
    assert_closed(one.home / "var")
    paths = [str(path) for path in (one.home / "var").rglob("*")]
    for user in STRANGERS:
        assert as_user(user.pw_uid, user.pw_gid, partial(opened, paths)) == []
