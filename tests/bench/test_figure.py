"""The frame of the documents' figures: what they all begin with, and what may be said below."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from corec.lab.bench.figure import figure, words
from tests.docs.documents import ROOT

KEPT = sorted((ROOT / "docs").glob("*/*.svg"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_each_figure_that_is_kept_has_the_frame(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    size, font = (int(root.attrib["width"]), int(root.attrib["height"])), root.attrib["font-size"]
    shapes = text.splitlines()[2:-1]
    assert text == figure(size, str(root[0].text), shapes, int(font))
    assert shapes[-1].endswith(f">{root[0].text}</text>")


def test_there_are_figures() -> None:
    assert len(KEPT) >= 14


def test_what_is_said_may_be_anything() -> None:
    said = 'mean(x) < 3 & "y"'
    root = ET.fromstring(figure((10, 20), said, [words("1", "2", said, "end")]))
    assert [part.text for part in root] == [said, said]
    assert root[1].get("text-anchor") == "end"
