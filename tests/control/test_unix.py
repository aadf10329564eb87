"""Unix sockets at long paths, with the right mode, replaced without a gap."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corec.control.client import Client, Unreachable
from corec.control.unix import connected, listening

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("length", [10, 200])
def test_any_length_of_path(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("x" * length)
    folder.mkdir()
    old_mask = os.umask(0)
    try:
        with listening(folder / "s") as first:
            assert stat.S_IMODE((folder / "s").stat().st_mode) == 0o600
            with listening(folder / "s") as second, connected(folder / "s", 5):
                second.setblocking(True)
                accepted, _ = second.accept()
                accepted.close()
                with pytest.raises(BlockingIOError):
                    first.accept()
    finally:
        os.umask(old_mask)
    assert [path.name for path in folder.iterdir()] == ["s"]


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="No such file"):
        Client(tmp_path / "s")
    listening(tmp_path / "s").close()
    with pytest.raises(Unreachable, match="refused"):
        Client(tmp_path / "s")


@pytest.mark.parametrize("reset", [False, True])
def test_who_is_left_without_an_answer_is_told_that_it_may_be_done(
    tmp_path: Path, reset: bool
) -> None:
    with listening(tmp_path / "s") as server, Client(tmp_path / "s") as client:
        server.setblocking(True)
        nucleus, _ = server.accept()
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(client.ask, "grow", {"bloque": "a", "more": 1}, 30.0)
            assert nucleus.recv(1)
            if not reset:  # what is read is not sent back as a reset
                nucleus.recv(65_536)
            nucleus.close()
            with pytest.raises(Unreachable, match=r"closed the connection .* may have been done"):
                asked.result(30.0)


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    with (
        listening(tmp_path / "s"),
        Client(tmp_path / "s", timeout_seconds=0.1) as client,
        pytest.raises(Unreachable, match=r"no answer within 0\.1 s"),
    ):
        client.ask("status")
