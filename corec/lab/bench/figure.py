"""The frame and the colours of the documents' figures: an SVG with a title, and words below it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

BLUE: Final = "#4477aa"
RED: Final = "#cc3311"
GREEN: Final = "#228833"
YELLOW: Final = "#eecc66"
GREY: Final = "#667"
"""Of words and frames: it can be read on a light page and on a dark one."""
FOOT: Final = 22
"""Pixels below what is drawn, for the words."""
BASELINE: Final = 16
"""Where in them the words stand."""


def words(x: str, y: str, text: str, anchor: str = "") -> str:
    """``text`` at a place; ``anchor``: which part of it is there, its beginning if none is said."""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x}" y="{y}" fill="{GREY}"{anchored}>{escape(text, quote=False)}</text>'


def figure(size: tuple[int, int], said: str, shapes: Iterable[str], font: int = 12) -> str:
    """The SVG's text: ``shapes`` on a sheet of so many pixels, whose title is ``said``."""
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="{font}" role="img">\n'
        f"<title>{escape(said, quote=False)}</title>\n" + "\n".join(shapes) + "\n</svg>\n"
    )
