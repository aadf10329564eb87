"""The tests that a document cites are there: a row that names one promises that it was shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


def cited(line: str) -> Iterator[tuple[str, str]]:
    """(file, test or "") of each in a line; a test without a file is of the file named before."""
    file = ""
    for words in re.findall(r"`([^`]+)`", line):
        if found := re.fullmatch(r"(tests/[\w/]+\.py)(?:::(\w+))?", words):
            file = found[1]
            yield file, found[2] or ""
        elif file and re.fullmatch(r"test_\w+", words):
            yield file, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_cited_is_there(document: Path) -> None:
    begins = r"^\s*(async )?def {}\b"
    missing = [
        f"{document.name}:{number}: {file}::{name}"
        for number, line in enumerate(document.read_text().splitlines(), 1)
        for file, name in cited(line)
        if not (ROOT / file).is_file()
        or (name and not re.search(begins.format(name), (ROOT / file).read_text(), re.MULTILINE))
    ]
    assert missing == []


def test_the_tables_cite_tests() -> None:
    found = [one for path in DOCUMENTS for one in cited(path.read_text())]
    assert len(found) > 100
