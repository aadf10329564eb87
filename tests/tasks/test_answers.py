"""What a task may return: answers, one or several, as mappings or pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from corec.config import parse_config
from corec.config.acting import TaskConfig
from corec.notices import Notice
from corec.plan import make_plan
from corec.tasks.child import as_line
from corec.tasks.source import OfAlerts
from corec.tasks.streams import ANSWERS_MAX, Names, answers_of

BLOQUE = {"id": "s", "canal": 1, "entidades": 10, "entidades_por_bloque": 10}


def told(returned: Any) -> list[tuple[str, list[Any]]]:
    """The entries of what a function returned, on the way that it goes."""
    plan = make_plan(parse_config({"instance_id": "one", "bloques": [BLOQUE]}))
    said = orjson.loads(as_line({"number": "1", "ok": True, "returned": returned}))
    assert said["ok"], said
    return answers_of(plan, Names("one"), said["returned"])


@pytest.mark.parametrize(
    "returned",
    [{"id": 3, "valor": 0.5}, [{"id": 3, "valor": 0.5}], (3, 0.5), [(3, 0.5)], [[3, 0.5]],
     (np.uint32(3), np.float32(0.5)), [{"id": np.int64(3), "valor": np.float64(0.5)}]],
)  # fmt: skip
def test_one_answer_in_each_form(returned: Any) -> None:
    assert told(returned) == told({"id": 3, "valor": 0.5}) != []


@pytest.mark.parametrize(("canal", "wanted"), [(None, 1), (3, 1), (-3, 0), (4, 0)])
def test_only_alerts_of_its_canal(canal: int | None, wanted: int) -> None:
    notice = Notice("a-7-3", "raised", 7, 3, 3, "sensor", 0.5)
    source = OfAlerts(Names("one"), TaskConfig(run="my:task", canal=canal))
    assert source.batch([b"aviso", orjson.dumps(notice.as_dict())]).size == wanted


def test_several_and_none() -> None:
    pairs = [(3, 0.5), (4, 1)]
    assert told(pairs) == told([{"id": 3, "valor": 0.5}, {"id": 4, "valor": 1}])
    assert len(told(pairs)) == 2
    assert told([]) == told(None) == []


@pytest.mark.parametrize(
    ("returned", "says"),
    [([3.5, 0.5], "found 3.5, expected a mapping"), ([[3, 0.5, 1]], "or a pair"),
     ([("3", 0.5)], "or a pair"), ((3, True), "expected a number"),
     ((3, np.nan), "expected a number"), ((3, 3.4028236e38), "that float32 can hold"),
     ((10, 1.0), "entity 10, which there is not")],
)  # fmt: skip
def test_what_is_no_answer(returned: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        told(returned)


def test_as_many_as_there_may_be_and_one_more() -> None:
    plan, names = make_plan(parse_config({"instance_id": "one", "bloques": [BLOQUE]})), Names("one")
    assert len(answers_of(plan, names, [[3, 0.5]] * ANSWERS_MAX)) == ANSWERS_MAX
    with pytest.raises(ValueError, match="found 10001 answers, expected 10000 at most"):
        answers_of(plan, names, [[3, 0.5]] * (ANSWERS_MAX + 1))


@pytest.mark.parametrize("returned", [["x" * 10_000], [[3, "x" * 10_000]], [[3, [[[[9] * 999]]]]]])
def test_what_is_no_answer_is_told_in_short(returned: Any) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        told(returned)
    assert len(str(refused.value)) < 200


def test_the_largest_number_there_is() -> None:
    largest = told((3, float(np.finfo(np.float32).max)))
    assert largest[0][1][0] == "m"
    assert told((3, 3.4028235e38)) == largest  # as it is written in short


def test_what_is_no_json_is_said_once() -> None:
    said = orjson.loads(as_line({"number": "1", "ok": True, "returned": [object()]}))
    assert (said["ok"], said["give_up"]) == (False, True)
    assert "no JSON" in said["error"]
