"""A processor with other fields than the checkpoint: what stays, what goes, what is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corec.view.saved import Saved
from tests.e2e.conftest import Make
from tests.support.instance import Instance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FIRST = '''"""What it was."""

import corec


@corec.micro(state={"a": "f4", "b": "u4"}, history={"h": ("f4", 5)}, params={"up": 1.0})
def thing(me):
    """Counts, and remembers; one fails once."""
    if me.tick == 3 and me.id == 7:
        raise ValueError("once")
    me.a = me.a + me.up
    me.b = me.b + 1
    me.h.push(me.a)
    return me.a
'''
SECOND = '''"""What it is."""

import corec


@corec.micro(state={"c": ("f4", 7.0), "a": "f4", "b": "f8"}, history={"h": ("f4", 5)},
             params={"up": 1.0, "down": 0.5}, means=("a",))
def thing(me):
    """Counts, and remembers, and something more."""
    me.a = me.a + me.up
    me.c = me.c + 1.0
    me.h.push(me.a)
    return me.mean_a
'''
THIRD = SECOND.replace('"c": ("f4", 7.0), ', '"c": ("f4", 0.0), "d": ("i2", -3), ')


def config() -> dict[str, Any]:
    return {
        "instance_id": "corec1", "http": {"port": 0}, "autoreparacion": {"max_errores": 1.0},
        "persist": {"every_ticks": 100},
        "bloques": [{"id": "t", "canal": 1, "entidades": 70, "entidades_por_bloque": 50,
                     "procesador": "thing:thing", "umbral": "siempre"}],
    }  # fmt: skip


def write(one: Instance, text: str) -> None:
    (one.home / "plugins").mkdir(exist_ok=True)
    (one.home / "plugins" / "thing.py").write_text(text, encoding="utf-8")


def last(one: Instance, *columns: str) -> dict[str, np.ndarray[Any, Any]]:
    paths = (path for path in one.home.rglob("*.corec") if path.is_file())
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
    frame = Saved(newest).frame("t", list(columns))
    return {name: frame[name] for name in columns}


def test_what_has_the_same_name_and_type_stays(make: Make) -> None:
    one = make(config())
    write(one, FIRST)
    first = one.run("--ticks", "6").summary
    assert first["tick"] == 6
    write(one, SECOND)
    refused = one.run("--ticks", "1")
    assert refused.code == 2
    assert "state field of thing:thing: b is f8 and was u4: its values go" in refused.err
    assert "--migrate" in refused.err
    checked = one.command("check", str(one.config_path))
    assert checked.code == 0, checked.err
    assert "b is f8 and was u4: its values go (it takes --migrate)" in checked.out
    assert "c is new (f4), and begins as in a new entity" in checked.out
    assert one.run("--ticks", "3", "--migrate").summary["tick"] == 9
    found = last(one, "id", "a", "b", "c", "h", "fallos", "valor")
    ticks = np.where(found["id"] == 7, 8, 9)
    assert found["a"].tolist() == ticks.tolist()
    assert found["c"].tolist() == [10.0] * 70
    assert not found["b"].any()
    assert found["h"][1].tolist() == [5, 6, 7, 8, 9]
    assert found["h"][7].tolist() == [4, 5, 6, 7, 8]
    assert found["fallos"].tolist() == [int(k == 7) for k in range(70)]
    assert found["valor"][0] == pytest.approx((49 * 8 + 7) / 50)
    write(one, THIRD)  # another default, and one field more: nothing is lost
    assert one.run("--ticks", "1").summary["tick"] == 10
    found = last(one, "a", "c", "d")
    assert (found["a"][0], found["c"][0], found["d"][0]) == (10.0, 11.0, -3)
