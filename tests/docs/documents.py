"""The repository's own documents, read as data: code blocks, commands, links."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END\n", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced code block."""

    language: str
    text: str


def tracked() -> list[Path]:
    """Every file of the project that git knows and that is there; skips where git knows none."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, or there is no git")
    names = subprocess.run(
        [git, "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def documents() -> list[Path]:
    """README, CHANGELOG and docs/."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, *languages: str) -> list[Block]:
    """The fenced blocks of ``path`` in one of ``languages``."""
    found = (Block(*match) for match in _FENCE.findall(path.read_text(encoding="utf-8")))
    return [block for block in found if block.language in languages]


def files_written(path: Path) -> dict[str, str]:
    """Path → content of the files that the document's shell blocks write with ``cat``."""
    return {
        name: text for block in blocks(path, "sh") for name, text in _HEREDOC.findall(block.text)
    }


def commands(path: Path) -> list[list[str]]:
    """Every command line of the document's shell blocks as words, here-documents left out."""
    lines = "\n".join(_HEREDOC.sub("", block.text) for block in blocks(path, "sh", ""))
    lines = lines.replace("\\\n", " ")
    found = []
    for line in lines.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue  # prose or output in a block without a language
        if words:
            found.append(words)
    return found
