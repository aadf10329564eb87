"""What the README tells a stranger to type is what the programs understand."""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from corec.cli.main import whole_app
from corec.config import load_config
from corec.control.console import to_bytes
from corec.control.ctl import app as ctl_app
from corec.plan import make_plan
from tests.docs.documents import ROOT, blocks, commands, documents, files_written

README = ROOT / "README.md"
OWN_WORDS = ("test", "tool")  # of run.sh itself


def invocation(words: list[str]) -> tuple[Any, list[str]] | None:
    """The program a command line starts, and its arguments; None when it is not ours."""
    words = words[3:] if words[:2] == ["sudo", "-u"] else words
    if words[0] == "bash" and words[1].endswith("run.sh"):
        rest = words[2:]
        if rest[:1] == ["ctl"]:
            return ctl_app, rest[1:]
        if rest and rest[0] in OWN_WORDS:
            return None
        return whole_app(), rest if rest and not rest[0].startswith("-") else ["run", *rest]
    if words[0] in ("corec", "corec-ctl"):
        return (whole_app() if words[0] == "corec" else ctl_app), words[1:]
    return None


def ours() -> list[Any]:
    """Every command line of ours in every document."""
    found = []
    for path in documents():
        for words in commands(path):
            called = invocation(words)
            if called and "…" not in " ".join(words) and "|" not in words:
                found.append(pytest.param(*called, id=f"{path.name}: {' '.join(words)[:60]}"))
    return found


@pytest.mark.parametrize(("app", "arguments"), ours())
def test_every_command_line_parses(app: typer.Typer, arguments: list[str]) -> None:
    group = typer.main.get_command(app)
    name, *rest = arguments
    command = group.commands[name]  # type: ignore[attr-defined]  # the app is a click group
    context_class = getattr(command, "context_class", click.Context)
    with context_class(command, info_name=name) as context:
        left = command.make_parser(context).parse_args(args=list(rest))[1]
    assert left == [], f"{arguments}: {left} mean nothing here"


def test_the_readme_shows_commands() -> None:
    assert len([words for words in commands(README) if invocation(words)]) >= 15


def test_the_first_entity_is_the_file_that_is_shipped() -> None:
    first, second = [block for block in blocks(README, "python") if "@corec" in block.text]
    assert first.text == (ROOT / "plugins" / "my_first.py").read_text(encoding="utf-8")
    assert second.text == (ROOT / "examples" / "life.py").read_text(encoding="utf-8")


def test_the_first_configuration_finds_the_first_entity(tmp_path: Path) -> None:
    ((name, text),) = files_written(README).items()
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins")
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    plan = make_plan(load_config(path))
    (swarm,) = plan.swarms
    assert [field.name for field in swarm.processor.state] == ["wear", "replaced"]
    assert swarm.params == pytest.approx([0.02])
    assert plan.entidades == 10_000


def test_the_message_by_hand_says_what_the_text_says() -> None:
    (words,) = [words for words in commands(README) if "XADD" in words]
    message = struct.unpack("!Ibf?", to_bytes(words[-1]))
    assert message == (4711, 7, 0.0, False)


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.name))
def test_code_blocks_are_well_formed(path: Path) -> None:
    for block in blocks(path, "python"):
        ast.parse(block.text)
    for block in blocks(path, "json"):
        json.loads(block.text.replace("…", ""))


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.name))
def test_links_resolve(path: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), f"{path.name} links to {target}"
        assert found.is_relative_to(ROOT)
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{path.name} links to {target}"


def test_every_document_is_linked_from_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    names = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert [name for name in names if f"docs/{name})" not in text] == []
