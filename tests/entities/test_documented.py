"""docs/entities.md: its code runs, is what plugins/ ships, and its figures are the code's."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corec import layout as L
from corec.config import parse_config
from corec.config.space import NEIGHBOURS_MAX, ROWS_MAX
from corec.config.space_faults import EDGES_MAX, GENERATED_MAX
from corec.entities.compile import compile_processor
from corec.entities.declaring import DRAWS_OF, RESERVED, SEE_MAX
from corec.entities.dense import DRAWS_PER_READING
from corec.entities.fields import FIELD_DTYPES, HISTORY_LENGTH_MAX
from corec.entities.plain import PlainEntity
from corec.entities.processor import ProcessorError, micro
from corec.entities.registry import BUILT_IN, resolve
from corec.lab.oracle.entity import Me
from corec.placing import BLOCK_ENTITIES_MAX, cold_bytes
from corec.plan import make_plan
from corec.testing import compare

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "entities.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugins folder can be imported from, as at a start."""
    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    yield ROOT / "plugins"
    for name in ("my_first", "gauges"):
        sys.modules.pop(name, None)


def test_the_entities_shown_are_the_ones_shipped(plugins: Path) -> None:
    shipped = "".join((plugins / f"{name}.py").read_text() for name in ("my_first", "gauges"))
    for block in code("python")[:3]:
        assert block.removeprefix("import corec\n").strip() in shipped


def test_every_member_of_me_is_documented_and_in_the_plain_form_and_the_oracle() -> None:
    kept_free = {"draws", "fallos", "seed"}  # no field's names, so that members may come
    missing = [name for name in RESERVED - kept_free if f"`me.{name}" not in TEXT]
    assert missing == []
    methods = {name for name in vars(PlainEntity) if not name.startswith("_")}
    assert set(DRAWS_OF) <= methods <= RESERVED
    assert methods <= {name for name in dir(Me) if not name.startswith("_")}


def test_life_as_shown_is_the_built_in_one() -> None:
    (text,) = [block for block in code("python") if "def life(me)" in block]
    shown = text.partition("def life(me):")[2].strip().splitlines()
    own = (ROOT / "corec" / "processors" / "life.py").read_text().rstrip().splitlines()
    assert [line.strip() for line in shown] == [line.strip() for line in own[-len(shown) :]]


@pytest.mark.slow
def test_the_entity_that_notices_silence_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = [block for block in code("python") if "silence=" in block]
    (tmp_path / "my_thermostat.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    thermostat = importlib.import_module("my_thermostat").thermostat
    assert compare(thermostat, ticks=3, entities=4) == 3 * 4 * 2 + 4


@pytest.mark.slow
def test_stepping_and_testing_run_as_shown(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, stepping, testing = code("python")
    scope: dict[str, Any] = {}
    exec(stepping, scope)
    assert "1" in capsys.readouterr().out.split()[-1]
    module = ModuleType("shown")
    exec(testing, module.__dict__)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


@pytest.mark.slow
def test_every_plugin_agrees_with_its_plain_form(plugins: Path) -> None:
    for name in ("my_first:bearing", "gauges:gauge", "gauges:cell"):
        assert compare(resolve(name), ticks=10, entities=10)


def test_the_configuration_shown_is_valid() -> None:
    bloque, shown = code("json")
    world = parse_config({"instance_id": "t", "bloques": [json.loads(bloque)]}, base_dir=ROOT)
    assert make_plan(world).swarms[0].meeting is not None
    config = parse_config(json.loads(shown), base_dir=ROOT)
    plan = make_plan(config)
    assert plan.entidades == 15_000
    assert plan.swarms[0].params == (0.02,)


def test_the_error_shown_is_the_one_that_comes() -> None:
    (shown,) = code("text")

    def bearing(me: Any) -> Any:
        return me.waer

    declared = micro(state={"wear": "f4", "replaced": "u4"}, params={"pace": 0.01})(bearing)
    with pytest.raises(ProcessorError) as caught:
        compile_processor(declared, 10)
    message = shown.strip().partition(" can't be compiled: ")[2].partition(" (")[0]
    assert str(caught.value).partition(" can't be compiled: ")[2].startswith(message)


def test_limits_and_sizes_are_the_codes_own() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]*) \|$", TEXT, re.MULTILINE))
    assert rows["state fields and histories together"] == str(L.FIELDS_MAX)
    assert rows["params and globals together, means"] == f"{L.PARAMS_MAX}, {L.MEANS_MAX}"
    assert rows["public fields"] == str(L.PUBLIC_MAX)
    limits = f"{NEIGHBOURS_MAX}, {ROWS_MAX}"
    assert rows["neighbours in a grid, and rows of cells that hold some"] == limits
    edges = f"{EDGES_MAX:,}; {GENERATED_MAX:,}"
    assert rows["edges of a graph that is made; entities of it"] == edges
    assert rows["other bloques that a processor sees"] == str(SEE_MAX)
    assert rows["length of a history"] == str(HISTORY_LENGTH_MAX)
    assert rows["pushes to one history in one call"] == str(L.PUSHES_PER_CALL_MAX)
    assert rows["entities in a block"].startswith(f"{BLOCK_ENTITIES_MAX:,},")
    assert rows["independent random numbers per reading of a Celu entity"] == str(DRAWS_PER_READING)
    assert f"types `{' '.join(FIELD_DTYPES)}`" in TEXT
    assert cold_bytes(64_000) == 14 * 64_000
    assert L.LOG_DTYPE.itemsize == 16
    ewma = resolve("ewma")
    ring, counters = ewma.history_bytes(64), 64 * 2 * 8
    assert ring + counters == 64 * 4 * (ewma.history[0].length + 12)


def test_every_built_in_is_listed_with_its_parameters() -> None:
    table = TEXT.partition("## Built-in processors")[2]
    for name in BUILT_IN:
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}` |")]
        processor = resolve(name)
        assert f"| {processor.kind.capitalize()} |" in row
        for key, default in processor.params:
            assert f"`{key}` {default:g}" in row, key
