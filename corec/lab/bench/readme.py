"""Writes the figures into README.md, between two markers, with the machine's line."""

from __future__ import annotations

import os
from pathlib import Path

from corec.lab.bench.render import as_markdown
from corec.lab.bench.runner import Report
from corec.project import CHECKOUT

START = "<!-- bench:start -->"
END = "<!-- bench:end -->"
CHART = "![Updates per second and core, and time of a tick against entities](docs/bench.svg)"


class NoPlace(Exception):
    """There is no README with the two markers here; the text says what is missing."""


def checkout() -> Path:
    """The folder whose README.md has the markers: the current one, else the checkout.

    Raises:
        NoPlace: neither has.
    """
    places = [Path.cwd(), Path(os.environ.get(CHECKOUT, ".")), Path(__file__).parents[3]]
    for place in places:
        path = place / "README.md"
        if path.exists() and START in path.read_text(encoding="utf-8"):
            return place
    raise NoPlace(f"found no README.md with {START} and {END}")


def replaced(text: str, figures: str) -> str:
    """``text`` with ``figures`` between the markers.

    Raises:
        NoPlace: the markers are not there once each, in order.
    """
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end or START in tail or END in tail:
        raise NoPlace(f"expected {START} and then {END}, once each")
    return f"{head}{START}\n{figures}\n{END}{tail}"


def write(path: Path, report: Report) -> None:
    """Put the tables of ``report`` into ``path``, whole or not at all."""
    text = replaced(path.read_text(encoding="utf-8"), f"{as_markdown(report)}\n\n{CHART}")
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
