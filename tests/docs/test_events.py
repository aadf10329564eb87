"""Every kind of event is in one table, told by somebody, and in the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from corec.persister.encode import parse_event
from corec.process.events import (
    KINDS,
    LINEAGE,
    OF_PHASES,
    PARTITION_KEPT,
    PARTITIONS_NOT_MADE,
    REPAIR,
    ROWS_LOST,
    encode,
)

ROOT = Path(__file__).resolve().parents[2]
TELLERS = {"emit": 0, "raise_event": 1, "_begin": 1, "News": 0}
"""Functions that tell of events, and which of their arguments is the kind."""


def _words(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _words(node.body)
        yield from _words(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value


def told() -> set[str]:
    """The kinds that the sources tell of."""
    found = {REPAIR, LINEAGE, *OF_PHASES, ROWS_LOST, PARTITION_KEPT, PARTITIONS_NOT_MADE}
    for source in (ROOT / "corec").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                at = TELLERS.get(name, len(node.args))
                if at < len(node.args):
                    found.update(_words(node.args[at]))
    return found


def test_what_is_told_is_what_is_listed() -> None:
    assert told() == set(KINDS)


def test_the_documentation_has_the_same_table() -> None:
    text = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    section = text.split("## `eventos`", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{kind}` | {what} |" for kind, what in KINDS.items()]


def test_why_has_one_name() -> None:
    """Of kinds with two names for it a query has to know of each which."""
    texts = {path: path.read_text("utf-8") for path in (ROOT / "corec").rglob("*.py")}
    assert [str(path) for path, text in texts.items() if "motivo" in text] == []
    by_hand = re.compile(r"""(?:emit|raise_event|encode|note_once)\([^)]*["']reason["']:""")
    assert [str(path) for path, text in texts.items() if by_hand.search(text)] == []
    assert sum("REASON:" in text for text in texts.values()) > 9


def test_one_that_is_encoded_is_read_back() -> None:
    biggest = 2**63 - 1
    event = parse_event(
        encode("frozen", {"role": "worker"}, tick=biggest, unix_ns=biggest, entidad=biggest)
    )
    assert (event.unix_ns, event.tick, event.entidad) == (biggest, biggest, biggest)
    assert (event.tipo, event.bloque, orjson.loads(event.detalle)) == (
        "frozen", None, {"role": "worker"},
    )  # fmt: skip
    assert parse_event(encode("frozen", {}, tick=-1)).tick == 0
