"""The pictures of the models: in the document, and what the generator draws."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from corec.lab.bench import model_pictures
from corec.lab.bench.model_pictures import PICTURES

DOCS = Path(__file__).parents[2] / "docs"


def test_each_is_in_the_document() -> None:
    document = (DOCS / "models.md").read_text(encoding="utf-8")
    for picture in PICTURES:
        assert f"(models/{picture.name}.svg)" in document
        drawn = ET.parse(DOCS / "models" / f"{picture.name}.svg").getroot()
        assert drawn[0].text == picture.said
    assert len(list((DOCS / "models").iterdir())) == len(PICTURES)


@pytest.mark.slow
def test_the_document_has_what_is_drawn_today() -> None:
    picture = next(picture for picture in PICTURES if picture.name == "life")
    kept = (DOCS / "models" / "life.svg").read_text(encoding="utf-8")
    assert model_pictures.drawn(picture) == kept


def test_it_says_where_to() -> None:
    assert model_pictures.main([]) == 2
