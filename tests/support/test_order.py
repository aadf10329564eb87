"""The long files are files, each named once, and go before the others, which keep their order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.docs.documents import ROOT
from tests.support.order import LONGEST_FIRST, longest_first


def test_who_is_named_is_there_and_once() -> None:
    assert [name for name in LONGEST_FIRST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)


def test_the_longest_first_and_each_file_in_its_own_order() -> None:
    names = ["b.py::z", "b.py::a", f"{LONGEST_FIRST[1]}::z[x::y]", f"{LONGEST_FIRST[1]}::a",
             f"{LONGEST_FIRST[0]}::k", "a.py::a"]  # fmt: skip
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in names]
    longest_first(items)
    assert [item.nodeid for item in items] == [names[4], *names[2:4], *names[:2], names[5]]
