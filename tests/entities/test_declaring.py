"""Wrong declarations: each one line: which processor, what was found, what is allowed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corec
from corec import layout as L
from corec.config import ConfigError, parse_config
from corec.entities.declaring import check_function
from corec.entities.fields import field_of
from corec.entities.processor import Processor, ProcessorError
from corec.entities.registry import BUILT_IN, resolve
from corec.plan import make_plan


def fine(me: Any) -> Any:
    """A processor's function."""
    return me.valor


def arrived(me: Any, value: Any) -> Any:
    """A Celu processor's function."""
    return value


async def later(me: Any) -> Any:
    """Not a processor."""
    return me.valor


def several(me: Any) -> Any:
    """Not a processor either."""
    yield me.valor


MANY = {f"f{k}": "f4" for k in range(L.FIELDS_MAX + 1)}
NOT_SO: list[tuple[Any, dict[str, Any], str]] = [
    (arrived, {}, r"a micro processor takes \(me\), this one \(me: .*value"),
    (later, {}, "it is async, a processor is a plain function"),
    (several, {}, "it has a yield"),
    (3.5, {}, "goes on a function written with def, found a float"),
    (fine, {"state": {"x": "f2"}}, "state 'x' is 'f2', allowed: a type or .* f4, f8, i1"),
    (fine, {"state": {"x": ("f4", 1, 2)}}, r"state 'x' is \('f4', 1, 2\), allowed"),
    (fine, {"state": {"x": 3}}, "state 'x' is 3, allowed"),
    (fine, {"state": {"x": ("u1", 256)}}, "state 'x' starts as 256, which u1 can't"),
    (fine, {"state": {"x": ("u4", -1)}}, "state 'x' starts as -1, which u4 can't"),
    (fine, {"state": {"x": ("i4", 0.5)}}, "state 'x' starts as 0.5, which i4 can't"),
    (fine, {"state": {"x": ("f4", 1e40)}}, "starts as 1e\\+40, which f4 can't"),
    (fine, {"state": {"x": ("f4", float("nan"))}}, "starts as nan, which f4 can't"),
    (fine, {"state": {"x": ("f4", "a")}}, "starts as 'a', which f4 can't"),
    (fine, {"state": ["x"]}, "state is a list, allowed a dict"),
    (fine, {"state": {"random": "f4"}}, "'random' can't be the name"),
    (fine, {"state": {"fallos": "f4"}}, "'fallos' can't be the name"),
    (fine, {"state": {"_draw": "f4"}}, "'_draw' can't be the name"),
    (fine, {"state": {"x__n": "u4"}}, "'x__n' can't be the name"),
    (fine, {"state": {"class": "f4"}}, "'class' can't be the name"),
    (fine, {"state": {"a b": "f4"}}, "'a b' can't be the name"),
    (fine, {"state": {3: "f4"}}, "'3' can't be the name"),
    (fine, {"state": {"x": "f4"}, "params": {"x": 1.0}}, "the name 'x' is declared twice"),
    (fine, {"state": {"x": "f4"}, "means": ("x",), "params": {"mean_x": 1.0}}, "declared twice"),
    (fine, {"state": MANY}, f"{L.FIELDS_MAX + 1} state fields, at most {L.FIELDS_MAX}"),
    (fine, {"params": {f"p{k}": 1.0 for k in range(17)}}, "17 params, at most 16"),
    (fine, {"params": {"x": float("inf")}}, "params 'x' is inf, allowed a finite number"),
    (fine, {"params": {"x": True}}, "params 'x' is True, allowed a finite number"),
    (fine, {"params": {"x": "1"}}, "params 'x' is '1', allowed a finite number"),
    (fine, {"history": {"h": 200}}, r"history 'h' is 200, allowed \('f4', 1 to 4096\)"),
    (fine, {"history": {"h": ("f8", 200)}}, "history 'h' is"),
    (fine, {"history": {"h": ("f4", 0)}}, "history 'h' is"),
    (fine, {"history": {"h": ("f4", 4097)}}, "history 'h' is"),
    (fine, {"means": "x"}, "means='x', allowed a list or tuple"),
    (fine, {"means": ("x",)}, "means='x' must name a state field of type f4"),
    (fine, {"state": {"x": "u4"}, "means": ("x",)}, "must name a state field of type f4"),
    (fine, {"genes": {"g": (-3e38, 3e38, 0.1)}}, "gene 'g' is .*, allowed .* high - low finite"),
    (fine, {"genes": {"g": ("0", 1.0, 0.1)}}, r"gene 'g' is \('0', 1.0, 0.1\), allowed"),
    (fine, {"genes": {"g": (0.0, True, 0.1)}}, r"gene 'g' is \(0.0, True, 0.1\), allowed"),
    (fine, {"genes": {"g": (0.0, 10**400, 0.1)}}, r"gene 'g' is .*, allowed \(low"),
    (fine, {"genes": {"g": (1.0, 0.0, 0.1)}}, r"gene 'g' is \(1.0, 0.0, 0.1\), allowed"),
    (fine, {"init": 3}, "init is a int, allowed a function"),
    (fine, {"init": arrived}, r"init: a micro processor takes \(me\)"),
    (fine, {"fields": {}}, "found fields, allowed state, history, params, means, init, alerts"),
]


@pytest.mark.parametrize(("function", "given", "message"), NOT_SO)
def test_a_wrong_declaration_says_what_to_change(
    function: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProcessorError, match=message) as caught:
        corec.micro(**given)(function) if given else corec.micro(function)
    assert "\n" not in str(caught.value)


def test_a_celu_takes_two_arguments() -> None:
    with pytest.raises(ProcessorError, match=r"a celu processor takes \(me, value\)"):
        corec.celu(fine)
    assert corec.celu(arrived).value_name == "value"


def test_the_decorator_works_with_and_without_parentheses() -> None:
    bare, called = corec.micro(fine), corec.micro()(fine)
    assert bare == called
    assert bare.name.endswith("test_declaring:fine")


def test_parameters_of_the_config_are_checked() -> None:
    processor: Processor = corec.micro(params={"a": 1.0, "b": 2.0})(fine)
    assert processor.param_values({"b": 5}) == [1.0, 5.0]
    with pytest.raises(ProcessorError) as caught:
        processor.param_values({"c": 1, "a": True, "b": 1e39})
    faults = str(caught.value).split("; ")
    assert faults[0].startswith("c: not a parameter of ")
    assert faults[0].endswith("(it has: a, b)")
    assert faults[1:] == [
        "a: found True, allowed a finite number",
        "b: found 1e+39, allowed a finite number",
    ]


def test_processors_are_found_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BUILT_IN:
        assert resolve(name).name == BUILT_IN[name]
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "users_own.py").write_text("import corec\n@corec.micro\ndef mine(me): return 1.0\n")
    (tmp_path / "users_broken.py").write_text("x = 1 / 0\n")
    assert resolve("users_own:mine", (tmp_path,)).name == "users_own:mine"
    for name, message in (
        ("nothing", f"allowed one of {', '.join(sorted(BUILT_IN))}, or package.module:attribute"),
        ("users_own:other", "users_own has no 'other'"),
        ("users_absent:mine", "there is no module 'users_absent'"),
        ("users_broken:mine", "users_broken fails on import: ZeroDivisionError"),
        ("math:sqrt", "not a function with @corec.micro or @corec.celu"),
    ):
        with pytest.raises(ProcessorError, match=message):
            resolve(name, (tmp_path,))


def test_a_block_holds_no_more_than_its_message_log_can_number() -> None:
    def config(count: int) -> Any:
        bloque = {"id": "a", "canal": 1, "entidades": 100_000, "max_size_mb": 64}
        return parse_config(
            {"instance_id": "x", "bloques": [bloque | {"entidades_por_bloque": count}]}
        )

    assert make_plan(config(65_535)).n_blocks == 2
    with pytest.raises(ConfigError, match=r"65536 entities of sensor in 64 MB.* at most 65535"):
        make_plan(config(65_536))


@pytest.mark.parametrize("least", [1e-40, -1.4e-45, 1.1754942e-38, 0.0, -0.0])
def test_a_subnormal_number_is_an_initial_value(least: float) -> None:
    assert field_of("x", ("f4", least), "p").default == np.float32(least)


@pytest.mark.parametrize("beyond", [1e-46, -1e-300, 1e39])
def test_a_number_that_nothing_is_left_of_is_none(beyond: float) -> None:
    with pytest.raises(ProcessorError, match="starts as"):
        field_of("x", ("f4", beyond), "p")


def test_annotations_may_name_what_there_is_not(tmp_path: Path) -> None:
    """From Python 3.14 on they run when somebody asks for them; before, they are text like this."""
    late = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    module = tmp_path / "annotated.py"
    module.write_text(
        f"{late}def celu(me: Nowhere, value: Nor.This) -> Nothing: ...\n"
        "def one(notice: Nowhere) -> Nothing: ...\n"
    )
    found = runpy.run_path(str(module))
    assert check_function("celu", found["celu"], "celu") == "value"
    assert corec.task()(found["one"]).function is found["one"]
    with pytest.raises(TypeError, match=r"this one \(me: '?Nowhere"):
        corec.task()(found["celu"])
