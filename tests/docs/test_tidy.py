"""The house rules that a machine can check, for every file that git knows."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from corec import layout as L
from corec.layout import frames
from shm.layout import layout_hash
from tests.docs.documents import ROOT, tracked

LINES_MAX = 400
# one compiled function: split, its parts would no longer be inlined and vectorised together
LONGER = {"corec/kernels/block.py": 500}
FUNCTION_MAX = 70
"""Lines of code: what it is called with and what its text says are not counted."""
LONGER_FUNCTIONS = {
    # compiled as one: what is passed between parts would no longer stay in registers
    "corec/kernels/plane.py: finder": 90,
    "corec/kernels/evolution.py: evolve_block": 75,
    # a list of every key, in an order
    "tests/e2e/test_every_key.py: test_each_key_does_what_the_schema_says": 75,
}
CODES = {
    "KIND": "of frames, in lanes and spools of worlds that live on",
    "WHY": "of gaps, in spools on disks",
    "EXIT": "a shell's",
    "PR": "Linux's",
    "PHASE": "bits, added",
    "RING": "bits, added",
}
"""Numbers that are written by hand, by how their names begin; places are counted instead."""
CODED = ("ROW_HAS", "REPAIR_", "PHASE_", "STATE_", "STOP_", "PROC_", "REASON_", "IN_POS",
         "SETTINGS", "STEP_IN_WORD", "COMMIT_TICK", "NO_RUN", "RACHA_MAX")  # fmt: skip
"""How the codes of the layout begin that are stored in its words."""
CALLS = "corec/kernels/calls.py"
CALLS_MODULE = "corec.kernels.calls"
TEXT_MAX_BYTES = 1_000_000
# put together here, so that this file does not contain what it looks for
MACHINE = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/opt/py" + "pi", "/tm" + "p/v/"]
INDEX = ["py" + "pi.org", "python" + "hosted", "--index" + "-url", "--find" + "-links"]
LEFT_OVER = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error", "<<<<" + "<<<"]
NOT_IN_TESTS = ["time.sl" + "eep(", "unittest.mo" + "ck", "import mo" + "ck", "MagicMo" + "ck"]


@cache
def texts() -> dict[str, str]:
    """Path inside the checkout → text, of every file that is text."""
    found = {}
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw and len(raw) <= TEXT_MAX_BYTES:
            found[str(path.relative_to(ROOT))] = raw.decode("utf-8")
    return found


def python_files() -> dict[str, str]:
    """The same, of Python files."""
    return {name: text for name, text in texts().items() if name.endswith(".py")}


def having(needles: list[str], under: str = "") -> list[str]:
    """``path: needle`` for every file below ``under`` that has one of the needles."""
    return [
        f"{name}: {needle}"
        for name, text in texts().items()
        if name.startswith(under)
        for needle in needles
        if needle in text
    ]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert having(MACHINE) == []


def test_no_file_names_a_package_index() -> None:
    assert having(INDEX) == []


def test_nothing_is_left_for_later() -> None:
    assert having([*LEFT_OVER]) == []


def test_tests_wait_on_conditions_and_use_the_real_thing() -> None:
    assert having(NOT_IN_TESTS, "tests/") == []


def test_processes_are_listed_in_their_table_alone() -> None:
    """A second list of roles and slots, as there were nine, is forgotten when one is added."""
    listed = having(['", L.SLOT' + "_"], "corec/")
    assert [one for one in listed if not one.startswith("corec/process/roles.py")] == []


def test_every_room_is_named_where_imports_are_held_to_one_way() -> None:
    contracts = tomllib.loads(texts()["pyproject.toml"])["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "layers")
    named = {room for layer in layers for room in re.findall(r"corec\.\w+", layer)}
    rooms = {
        f"corec.{Path(name).relative_to('corec').parts[0].removesuffix('.py')}"
        for name in python_files()
        if name.startswith("corec/") and name != "corec/__init__.py"
    }
    assert rooms ^ named == set()


def test_a_state_folder_is_put_together_in_one_place() -> None:
    assert having(["state_path / "], "corec/") == ["corec/config/model.py: state_path / "]


def by_hand(text: str) -> list[str]:
    """The upper-case names of a module that are a number, or the name before and a number."""
    found = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        value = node.value
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            parts = [value.right]
        numbers = (ast.Constant, ast.Name, ast.Attribute) if parts != [value] else ast.Constant
        if all(isinstance(part, numbers) and not _is_text(part) for part in parts):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target))
            found += [name.id for name in names if isinstance(name, ast.Name)]
    return [name for name in found if name.isupper()]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is not int


def test_places_are_counted() -> None:
    """Three names of one table that were numbered by hand could share a place, and compile."""
    numbered = "A_B: Final = 1\nA_C, A_D = 2, 3\nA_E = A_D + L.MOST\nA_F = _a()\nA_G = 'x'"
    assert by_hand(numbered) == ["A_B", "A_C", "A_D", "A_E"]
    tables: dict[str, list[str]] = {}
    for path, text in python_files().items():
        if path.startswith(("corec/", "shm/")) and not path.startswith("corec/lab/"):
            for name in by_hand(text):
                first, _, second = name.lstrip("_").partition("_")
                if second and first not in CODES:
                    tables.setdefault(f"{path}: {first}_", []).append(name)
    assert {table: names for table, names in tables.items() if len(names) >= 3} == {}


def test_compiled_functions_are_called_by_the_names_of_their_arguments() -> None:
    """All are int64: two that change places compile, and so does one too few."""
    tables = set(re.findall(r"^class (\w+)\(NamedTuple\)", texts()[CALLS], re.MULTILINE))
    named, by_place = set(), []
    for path, text in python_files().items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in tables and f"from {CALLS_MODULE} import" in text:
                named.add(node.func.id)
                by_place += [f"{path}:{node.lineno}"] * (len(node.args) > 0)
            elif node.func.id == "call_kernel":
                by_place += [f"{path}:{node.lineno}"] * isinstance(node.args[1], ast.Tuple)
    assert named == tables
    assert by_place == []


def test_blocks_of_another_layout_are_of_another_version() -> None:
    """By LAYOUT_VERSION a checkpoint of before is refused as older: without it, as damaged."""
    assert (L.LAYOUT_VERSION, layout_hash(L.BLOCK_LAYOUT)) == (3, 0x67D945B4A6A39E9F)


def test_codes_that_no_hash_covers_are_of_a_version() -> None:
    """What is in memory, in lanes and spools and is no word's place: who goes on with a world must
    mean the same by it as who left it. LAYOUT_VERSION is in every hash."""
    codes = {n: v for n, v in vars(L).items() if n.startswith(CODED) and isinstance(v, int)}
    bits = (frames._CANAL_BITS, frames._ENTRIES_BITS, frames.PHASE_BLOCK, frames.TIME_BYTES)
    assert set(CODED) == {prefix for prefix in CODED for name in codes if name.startswith(prefix)}
    found = layout_hash(f"{sorted(codes.items())} {bits}")
    assert (L.LAYOUT_VERSION, found) == (3, 0x78F1C3086D154544)


def test_files_fit_their_purpose() -> None:
    lines = {name: text.count("\n") for name, text in python_files().items()}
    assert {n: c for n, c in lines.items() if c > LONGER.get(n, LINES_MAX)} == {}


def test_functions_fit_a_screen() -> None:
    longer = {}
    for name, text in python_files().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[min(ast.get_docstring(node) is not None, len(node.body) - 1)]
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > LONGER_FUNCTIONS.get(f"{name}: {node.name}", FUNCTION_MAX):
                    longer[f"{name}: {node.name}"] = lines
    assert longer == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        name
        for name, text in python_files().items()
        if text.strip()
        and not name.startswith("tests/")
        and ast.get_docstring(ast.parse(text)) is None
    ]
    assert silent == []


def test_every_ignore_says_why() -> None:
    """Behind it on its line, or in a comment on the line above."""
    bare = re.compile(r"# ?(type: ignore(\[[\w, -]*\])?|noqa(: ?[A-Z]+\d+(, ?[A-Z]+\d+)*)?)\s*$")
    found = []
    for name, text in python_files().items():
        above = ""
        for number, line in enumerate(text.splitlines(), 1):
            if bare.search(line) and not above.lstrip().startswith("#"):
                found.append(f"{name}:{number}")
            above = line
    assert found == []


def test_text_ends_in_one_newline_and_lines_in_no_space() -> None:
    ragged = re.compile(r"[ \t]$|\n\n\Z|[^\n]\Z", re.MULTILINE)
    assert [name for name, text in texts().items() if ragged.search(text)] == []


@pytest.mark.parametrize("name", ["run.sh", ".ci/run"])
def test_scripts_can_be_run(name: str) -> None:
    assert texts()[name].startswith("#!/usr/bin/env bash\n")
    assert os.access(ROOT / name, os.X_OK)


def test_only_scripts_have_a_shebang() -> None:
    shebang = {name for name, text in texts().items() if text.startswith("#!")}
    executable = {str(p.relative_to(ROOT)) for p in tracked() if p.stat().st_mode & 0o100}
    assert shebang == executable


def test_a_checkout_ignores_what_running_leaves() -> None:
    ignored = Path(ROOT, ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/.venv/", "/.venv.lock", "/var/", "__pycache__/"} <= set(ignored)
