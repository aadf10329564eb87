"""A weight with a decimal comma is two cells of a line: refused, never read as another number."""

from __future__ import annotations

from pathlib import Path

import pytest

from corec.graph.files import BadEdges, read_links


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,1,0,5\n", "'0,1,0,5' in line 1 of e.csv: more than source,target,weight, allowed a fi"),
        ("source,target,weight\n0,1,0,5\n", "'0,1,0,5' in line 2 of e.csv, allowed source,target"),
        ("0,1,0.5\n\n1,2,0,5\n", "'1,2,0,5' in line 3 of e.csv, allowed source,target,weight"),
        ("weight,source,target\n0,5,0,1\n", "'0,5,0,1' in line 2 of e.csv"),
        ("source,target,weight,kind\n0,1,0.5,a\n1,2,0,5,b\n", "'1,2,0,5,b' in line 3 of e.csv"),
        ("0;1;0,5\n", "'0;1;0,5' in line 1 of e.csv"),
    ],
)
def test_a_line_with_more_cells_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text)
    with pytest.raises(BadEdges) as caught:
        read_links(path, 5, True, True)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "0,1,0.5\n", "0,1,0.5,\n", "0 1 0.5 7\n", '"0","1","0.5"\n', "0,1,0.5 # seen, twice\n",
        'source,target,weight,kind\n0,1,0.5,"a, b"\n', "weight,target,source\n0.5,1,0\n",
        "source,target,weight,\n0,1,0.5,\n",
    ],
)  # fmt: skip
def test_what_nobody_mistakes_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text)
    found = read_links(path, 5, True, True)
    assert found.weight is not None
    assert (found.of(0).tolist(), found.weight.tolist()) == ([1], [0.5])
    assert read_links(path, 5, False, True).of(0).tolist() == [1]
