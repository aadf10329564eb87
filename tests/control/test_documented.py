"""A command, a request or an HTTP path that docs/operations.md does not name fails here."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from corec.control.ctl import app
from corec.http import app as http_app
from corec.nucleus.commands import Commands

OWN = {"top", "sql", "redis", "reload", "upgrade", "alerts", "tasks", "events", "fork"}
"""Commands that ask the servers, the control segment or the supervisor, not the nucleus."""
TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_command_is_documented() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a Group
    assert {name for name in commands if f"`{name}" not in TEXT} == set()


def test_every_request_is_a_command() -> None:
    requests = {name.removeprefix("do_") for name in dir(Commands) if name.startswith("do_")}
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a Group
    readers = {"hold", "release", "write"}  # of ``corec.attach``
    followed = {"taken_back"}  # what a refused ``set`` or ``grow`` waits for
    assert requests - readers - followed == commands - OWN
    assert {name for name in readers | followed if f"`{name} {{" not in TEXT} == set()


def test_every_path_is_documented() -> None:
    source = Path(http_app.__file__).read_text(encoding="utf-8")
    paths = re.findall(r'Route\("([^"]+)"', source)
    assert len(paths) == 5
    assert [path for path in paths if f"`{path}`" not in TEXT] == []
