"""The forms that ``corec.World`` takes a setting, a column or an alert in."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corec
from corec.view.measured import measured
from corec.view.runs import Kept
from tests.shm.helpers import fork, reap
from tests.view.test_world import town

FORMS: Mapping[str, Callable[[corec.World], int]] = {
    "a path in short": lambda w: w.set("town.beta", 0.5),
    "an object by path": lambda w: w.set({"town.beta": np.float32(0.5)}),
    "an object of parameters": lambda w: w.set("bloques.town.parametros", {"beta": 0.5}),
    "the bloque's parameters": lambda w: w.set("town", parametros={"beta": 0.5}),
    "a keyword": lambda w: w.set("town", beta=0.5),
    "a key of the bloque": lambda w: w.set("town", umbral="nunca"),
    "a global": lambda w: w.set("globals", noise=0.5),
    "globals as a whole": lambda w: w.set({"globals": {"noise": 0.5}}),
    "globals as a keyword": lambda w: w.set(globals={"noise": 0.5}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_setting_in_each_form(form: str) -> None:
    with corec.World({**town(), "globals": {"noise": 0.1, "other": 2.0}}) as world:
        assert FORMS[form](world) == 0
        (told,) = world.events()
        wanted: dict[str, Any] = {"a key of the bloque": ("bloques.town.umbral", "nunca")}
        if "global" in form:
            wanted[form] = ("globals.noise", 0.5)
        found = told["detalle"]["path"], told["detalle"]["value"]
        assert found == wanted.get(form, ("bloques.town.parametros.beta", 0.5))


def test_several_settings_count_together_or_not_at_all() -> None:
    with corec.World({**town(), "globals": {"noise": 0.1}}) as world:
        with pytest.raises(ValueError, match="gama: not a parameter of"):
            world.set({"globals.noise": 0.5, "town.gama": 1.0})
        assert world.config.globals == {"noise": 0.1}
        assert world.events() == []
        world.set({"globals.noise": 0.5, "town.gamma": 0.75, "carga": 0.5})
        assert (world.config.globals, world.config.carga) == ({"noise": 0.5}, 0.5)
        wrong: Any
        for wrong in ({}, 5, None):
            with pytest.raises(ValueError, match="set: found"):
                world.set(wrong)
        with pytest.raises(ValueError, match="set: found parametros of no bloque, expected set"):
            world.set(parametros={"beta": 1.0})


@pytest.mark.parametrize("limits", [(0.95, 0.99), (0.01, 0.05)])
def test_both_limits_of_an_umbral_are_checked_together(limits: tuple[float, float]) -> None:
    path = "bloques.town.umbral"
    for order in (("min", "max"), ("max", "min")):
        values = dict(zip(("min", "max"), limits, strict=True))
        with corec.World(town()) as world:
            world.set({f"{path}.{name}": values[name] for name in order})
            world.run(1)
            assert np.float32(limits[0]) <= world.blocks()[0]["umbral"] <= np.float32(limits[1])
            with pytest.raises(corec.config.ConfigError, match=r"allowed at most max, which is"):
                world.set({f"{path}.min": 0.5, f"{path}.max": 0.4})


def test_a_number_of_entities_is_growth() -> None:
    with corec.World(town()) as world, corec.World(town()) as other:
        world.run(2)
        other.run(2)
        assert world.set({"bloques.town.entidades": 150, "town.beta": 0.5}) == 2
        other.set("town.beta", 0.5)
        other.grow("town", 50)
        assert [e["detalle"]["path"] for e in world.events()] == [
            "bloques.town.entidades", "bloques.town.parametros.beta",
        ]  # fmt: skip
        world.run(3)
        other.run(3)
        assert world.digest() == other.digest()
        for wrong in (150, 20):
            with pytest.raises(ValueError, match=f"found {wrong}, expected more than the 150"):
                world.set({"town.beta": 0.1, "bloques.town.entidades": wrong})
        assert world.config.bloques[0].parametros["beta"] == 0.5


def test_a_schedule_s_parameter_in_short() -> None:
    found = []
    for path in ("town.beta", "bloques.town.parametros.beta"):
        with corec.World({**town(), "schedule": [{"at": 3, "set": {path: 0.9}}]}) as world:
            world.run(6)
            (told,) = world.events()
            assert told["detalle"]["path"] == "bloques.town.parametros.beta"
            found.append(world.digest())
    assert found[0] == found[1]


def test_one_column_by_its_name() -> None:
    with corec.World(town()) as world:
        world.run(2)
        assert world.means("town", "valor") == world.means("town", ["valor"])
        assert world.frame(columns="valor").columns == ["valor"]
        names: Any = ["valor", "id"]
        with pytest.raises(KeyError, match="expected one of the columns id, valor"):
            world.frame()[names]
        with pytest.raises(ValueError, match=r"columns: found 'fas', expected some of: id, valor"):
            world.frame("town", "fas")


@corec.micro(state={"ids": "f4", "swarm": "u1"})
def oddly_named(me: Any) -> Any:
    """Its fields are called as arguments of ``write`` are."""
    return me.ids


def test_any_field_can_be_written() -> None:
    bloque = {"id": "odd", "canal": 1, "entidades": 3, "procesador": oddly_named}
    with corec.World({"bloques": [bloque]}) as world:
        world.write("odd", {"ids": [1, 2, 3], "swarm": 7})
        world.write("odd", {"ids": 9.0}, ids=[1])
        world.write("odd", swarm=8, ids=[2])
        world.write({"valor": 0.5})
        world.write("odd", [0], valor=0.25)
        world.write(swarm="odd", ids=[1], activo=False)
        frame = world.frame()
        assert [frame[name].tolist() for name in ("ids", "swarm", "valor", "activo")] == [
            [1.0, 9.0, 3.0], [7, 7, 8], [0.25, 0.5, 0.5], [True, False, True],
        ]  # fmt: skip
        wrong: Mapping[str, Callable[[], object]] = {
            "write: found no field": lambda: world.write("odd", ids=[1]),
            "ids: found two lists": lambda: world.write("odd", [1], ids=[2], valor=1.0),
            "valor: found it twice": lambda: world.write("odd", {"valor": 1.0}, valor=1.0),
        }
        for said, form in wrong.items():
            with pytest.raises(ValueError, match=said):
                form()


def test_readings_by_id() -> None:
    config = town(procesador="rate", parametros={})
    with corec.World(config) as one, corec.World(config) as other:
        one.tick({"town": {3: 1.0, 97: 2.0}})
        other.tick({"town": ([3, 97], [1.0, 2.0])})
        assert one.digest() == other.digest()
        with pytest.raises(ValueError, match="ids: found 100, expected ids of town"):
            one.tick({"town": {100: 1.0}})


@pytest.mark.parametrize("bloques", [5, None, {"id": "a"}, [{"id": []}], ["a"]])
def test_bloques_that_are_none(bloques: Any) -> None:
    with pytest.raises(corec.config.ConfigError, match="bloques"):
        corec.World({"bloques": bloques}, changes={"town.beta": 0.5})
    changes: Any = ["town.beta"]
    with pytest.raises(TypeError, match="changes: found a list, expected a dict by path"):
        corec.World(town(), changes=changes)


def test_alerts_as_of_an_instance() -> None:
    config = town(procesador="ewma", parametros={"warmup": 1}, umbral=0.4)
    with corec.World(config) as world:
        for k in range(26):
            world.tick({"town": np.full(100, 9.0 if k == 25 else k % 2, np.float32)})
        late = world.alerts("late", from_now=True)
        every = list(world.alerts(group="g", consumer="c", timeout=0.0))
        assert len(every) >= 100
        assert list(world.alerts("g", timeout=None, from_now=True)) == []
        world.tick({"town": np.full(100, 99.0, np.float32)})
        new = list(world.alerts("g"))
        assert {one.tick for one in new} == {27}
        assert list(late) == new == list(world.alerts("all"))[len(every) :]


def test_some_events() -> None:
    with corec.World({**town(), "globals": {"noise": 0.1}}) as world:
        for tick in range(4):
            world.set("globals", noise=float(tick))
            world.run(1)
        every = world.events()
        assert [one["tick"] for one in every] == [0, 1, 2, 3]
        assert world.events("setting_changed", since=2) == every[2:]
        assert world.events(limit=1) == every[3:]
        assert world.events("repair", limit=0) == []
        with pytest.raises(ValueError, match="limit: found -1, expected a whole number, 0 or more"):
            world.events(limit=-1)


def test_numbers_of_a_tick() -> None:
    with corec.World(town()) as world:
        world.run(3)
        texts = ["mean(fase == 1)", "std(valor)", "max(valor)"]
        row, frame = measured(world, None, texts)
        assert row.columns == ["enjambre", "tick", "entidades", *texts]
        assert [row[name][0] for name in row.columns] == [
            "town", 3, 100, (frame["fase"] == 1).mean(),
            frame["valor"].std(dtype=np.float64), frame["valor"].max(),
        ]  # fmt: skip
        with pytest.raises(ValueError, match="columns: found 'x', expected some of"):
            measured(world, "town", ["mean(x)"])


def test_a_file_that_finds_no_room_is_named_and_not_there(tmp_path: Path) -> None:
    """What takes its place only when it is whole has another name until then."""
    out, before = tmp_path / "out.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    with corec.World(town()) as world:
        frame = world.frame("town")
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as refused:
                frame.to_csv(out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.filename == str(out)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_without_room_names_its_file_and_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "runs"

    def child() -> None:
        kept = Kept(path, "mark")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 8, resource.RLIM_INFINITY))
        with pytest.raises(OSError, match=r"File too large: '.*runs'"):
            kept.add(0, [[1.0]])
        kept.close()

    assert reap(fork(child)) == 0
    kept = Kept(path, "mark")
    assert kept.done == {}
    kept.add(0, [[2.0]])
    kept.close()
    again = Kept(path, "mark")
    assert again.done == {0: [[2.0]]}
    again.close()
