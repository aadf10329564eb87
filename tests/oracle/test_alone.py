"""The oracle and what it is held against share no code, in either direction.

Not a contract of import-linter: a list of every other package would have to be kept there.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORACLE = ROOT / "corec" / "lab" / "oracle"
MAY_ASK = {("lab", "chaos")}  # `corec chaos` holds its ledger against it


def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_oracle_knows_nothing_of_corec() -> None:
    names = {name for path in ORACLE.glob("*.py") for name in imported(path)}
    ours = {name for name in names if name.partition(".")[0] in ("corec", "shm", "tests")}
    assert ours, "it imports its own parts"
    assert all(name.startswith("corec.lab.oracle.") for name in ours), ours


def test_nothing_of_corec_knows_the_oracle() -> None:
    files = [*(ROOT / "corec").rglob("*.py"), *(ROOT / "shm").rglob("*.py")]
    asking = {
        path.relative_to(ROOT / "corec").parts[:2]
        for path in files
        if ORACLE not in path.parents
        and any(name.startswith("corec.lab.oracle") for name in imported(path))
    }
    assert asking <= MAY_ASK
