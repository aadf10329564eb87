"""Folders that are an instance's alone: made closed whatever the umask, refused where another user
could read, change or replace what is in them."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corec.private import NotPrivate, check_private, make_private, private_file, sane_umask
from tests.support.processes import umask_now

pytestmark = pytest.mark.usefixtures("no_leaks")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")
NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Sets the umask for the rest of the test."""
    before = umask_now()
    yield lambda value: (os.umask(value), None)[1]
    os.umask(before)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder like /tmp: everybody may make something in it, and only its maker remove it."""
    path = Path(tempfile.mkdtemp(prefix="corec-test-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat(follow_symlinks=False).st_mode)


@pytest.mark.parametrize("value", [0, 0o022, 0o077, 0o277, 0o777])
def test_made_closed_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], None], value: int
) -> None:
    umask(value)
    folder = make_private(tmp_path / "a" / "b" / "c")
    assert [mode(path) for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    assert make_private(folder) == check_private(folder) == folder


@pytest.mark.parametrize("value", [0, 0o022, 0o077, 0o277, 0o700, 0o777])
def test_a_umask_never_closes_to_the_owner(umask: Callable[[int], None], value: int) -> None:
    umask(value)
    sane_umask(0o022)
    assert os.umask(0) == (value | 0o022) & 0o077
    umask(value)
    sane_umask(0o077)
    assert os.umask(0) == 0o077


@pytest.mark.parametrize("found", [0o000, 0o500, 0o701, 0o755, 0o770, 0o777, 0o1777, 0o2750])
def test_ours_but_open_is_closed(tmp_path: Path, found: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(found)
    assert mode(make_private(folder)) == 0o700


def test_a_look_changes_nothing_and_refuses_what_others_may_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_private(tmp_path / "none" / "there")
    assert not (tmp_path / "none").exists()
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o755)  # as an earlier version made it: read by others, not changed
    check_private(folder)
    assert mode(folder) == 0o755
    for found in (0o775, 0o757):
        folder.chmod(found)
        with pytest.raises(NotPrivate, match=f"mode {found:04o}"):
            check_private(folder)


def plant_file(path: Path) -> None:
    path.write_text("")


def plant_fifo(path: Path) -> None:
    os.mkfifo(path)


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind(str(path))


@pytest.mark.parametrize("plant", [plant_file, plant_fifo, plant_socket])
@pytest.mark.parametrize("below", ["", "more"])
def test_what_is_no_folder_is_refused_at_once(
    tmp_path: Path, plant: Callable[[Path], None], below: str
) -> None:
    plant(tmp_path / "x")
    with pytest.raises(NotADirectoryError, match="/x: is no folder; move it away") as refused:
        make_private(tmp_path / "x" / below)
    assert "\n" not in str(refused.value)


def test_a_symbolic_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    for name, target in (("link", "real"), ("dangling", "nowhere"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(NotPrivate, match=f"/{name}: found a symbolic link"):
            make_private(tmp_path / name)
        with pytest.raises(NotPrivate):
            check_private(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_our_own_symbolic_links_on_the_way_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to("../real")
    make_private(tmp_path / "absolute" / "up" / ".." / "real" / "folder")
    assert mode(tmp_path / "real" / "folder") == 0o700
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(NotPrivate, match="symbolic links on the way"):
        make_private(tmp_path / "one" / "folder")


@pytest.mark.parametrize("found", [0o777, 0o757, 0o703])
def test_below_a_folder_that_every_user_may_write_is_refused(tmp_path: Path, found: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(found)
    with pytest.raises(NotPrivate, match=rf"/open: every user may write it \(mode {found:04o}\)"):
        make_private(tmp_path / "open" / "deep" / "folder")
    assert not (tmp_path / "open" / "deep").exists()


def test_below_a_sticky_folder_and_one_of_a_group_is_accepted(public: Path, tmp_path: Path) -> None:
    make_private(public / "folder")
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2775)
    assert mode(make_private(tmp_path / "group" / "folder")) == 0o700


@needs_root
@pytest.mark.parametrize("found", [0o700, 0o755, 0o777])
def test_another_users_is_refused_also_for_root(tmp_path: Path, found: int) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(found)
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    with pytest.raises(NotPrivate, match=rf"/theirs: belongs to .*{NOBODY}.*, expected root"):
        make_private(tmp_path / "theirs")
    assert mode(tmp_path / "theirs") == found


@needs_root
def test_what_a_stranger_planted_in_a_public_folder_is_refused_for_root(public: Path) -> None:
    (public / "planted").mkdir(mode=0o755)
    os.chown(public / "planted", NOBODY, NOBODY)
    with pytest.raises(NotPrivate, match=r"/planted: belongs to .*who could replace"):
        make_private(public / "planted" / "state" / "corec1")
    os.symlink("/", public / "link")
    os.chown(public / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(NotPrivate, match=r"/link: is a symbolic link of .*65534"):
        make_private(public / "link" / "tmp" / "corec-test-never")
    assert not Path("/tmp/corec-test-never").exists()


@needs_root
def test_root_may_run_in_the_checkout_of_a_user(tmp_path: Path) -> None:
    """The folder was put where only root could put it: a home, a volume of a container."""
    (tmp_path / "home").mkdir(mode=0o755)
    os.chown(tmp_path / "home", NOBODY, NOBODY)
    assert mode(make_private(tmp_path / "home" / "state" / "corec1")) == 0o700


@needs_root
def test_an_ordinary_user_is_refused_below_another_users_folder(public: Path) -> None:
    """As ``games``: a folder of ``nobody``'s is refused, one of root's is not."""
    (public / "planted").mkdir()
    (public / "planted").chmod(0o777)
    os.chown(public / "planted", NOBODY, NOBODY)
    (public / "roots").mkdir()
    (public / "roots").chmod(0o1777)
    code = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.');"
        "from corec.private import make_private\n"
        "os.setgroups([]); os.setresgid(60, 60, 60); os.setresuid(5, 5, 5)\n"
        f"make_private(Path({str(public)!r}, 'roots', 'fine'))\n"
        f"try: make_private(Path({str(public)!r}, 'planted', 'x'))\n"
        "except PermissionError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "/planted: belongs to" in done.stdout, done.stderr
    assert list((public / "planted").iterdir()) == []
    assert (public / "roots" / "fine").stat().st_uid == 5


@needs_root
def test_what_could_not_be_made_later_is_refused_at_the_first_look(public: Path) -> None:
    """As ``games``, in a checkout of root's: said before anything is compiled, and what to do."""
    (public / "checkout").mkdir()
    (public / "checkout").chmod(0o755)  # whatever the umask
    code = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.');"
        "from corec.control.folders import unusable\n"
        "from corec.private import make_private, refuse_planted\n"
        "os.setgroups([]); os.setresgid(60, 60, 60); os.setresuid(5, 5, 5)\n"
        f"os.chdir({str(public / 'checkout')!r})\n"
        "for look in (refuse_planted, make_private):\n"
        "    try: look(Path('var', 'state', 'i'))\n"
        "    except PermissionError as error: print(unusable('state_dir', error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    told = done.stdout.splitlines()
    assert len(told) == 2, done.stderr
    for line in told:
        assert line.startswith(f"state_dir: {public}/checkout/var"), line
        assert "Permission denied to games" in line
        assert "corec new" in line


def test_a_file_that_is_read_is_a_plain_one_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("word")
    os.close(private_file(tmp_path / "file"))
    os.mkfifo(tmp_path / "fifo")  # does not wait for a writer
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(NotPrivate):
            private_file(tmp_path / name)
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic"):
        private_file(tmp_path / "link")
    if os.geteuid() == 0:
        os.chown(tmp_path / "file", NOBODY, NOBODY)
        with pytest.raises(NotPrivate):
            private_file(tmp_path / "file")
