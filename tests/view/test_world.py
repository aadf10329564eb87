"""``corec.World``: what the oracle says, what it refuses, and that it is never torn by Ctrl-C."""

from __future__ import annotations

import json
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import corec
from corec.config import ConfigError
from tests.oracle.drawn import KINDS, Drawn
from tests.oracle.meeting import whole_worlds
from tests.oracle.whole import check


def town(entidades: int = 100, **changes: Any) -> dict[str, Any]:
    """A swarm of ``sir`` in blocks of 40, of a size that other tests compile, too."""
    bloque = {"id": "town", "canal": 1, "entidades": entidades, "entidades_por_bloque": 40}
    return {"bloques": [{**bloque, "procesador": "sir", "parametros": {"seeded": 0.25}, **changes}]}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(whole_worlds(only=tuple(KINDS)))
def test_a_world_is_what_the_oracle_says(drawn: Drawn) -> None:
    """State, blocks, messages and repairs after each tick, with readings and changes."""
    check(drawn)


def test_a_column_of_readings_is_one_for_each_entity() -> None:
    config = town(procesador="ewma", parametros={"warmup": 0})
    values = np.linspace(0.0, 1.0, 100)
    values[::3] = np.nan
    ids = np.flatnonzero(~np.isnan(values))
    with corec.World(config) as one, corec.World(config) as other:
        for _ in range(3):
            one.tick({"town": values})
            other.tick({"town": (ids[::-1], values[ids][::-1])})
        assert one.digest() == other.digest()
        one.tick({"town": 0.5})
        assert one.entity(0)["estado"] != other.entity(0)["estado"]
        assert one.ticks == one.digest().tick == 4
        assert pickle.loads(pickle.dumps(one.digest())).tick == 4


def test_the_same_from_a_file_and_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"instance_id": "one", **town()}), encoding="utf-8")
    with corec.World(path, seed=np.int64(7)) as one, corec.World({**town(), "seed": 7}) as other:
        one.run(5)
        other.run(5)
        assert one.digest() == other.digest()
        with corec.World(str(path)) as third:
            third.run(5)
            assert third.digest() != one.digest()


@pytest.mark.parametrize("name", ["namesake_entity", "namesake_folder.entity"])
def test_a_module_of_another_project_is_not_taken_for_one_of_this(
    tmp_path: Path, name: str
) -> None:
    """A process has one module of a name: that of the project it looked in first. Also one in a
    folder that has no ``__init__.py``, which has no file of its own."""
    configs, modules = [], []
    for number, folder in enumerate(("one", "other")):
        place = tmp_path / folder / "plugins" / name.replace(".", "/")
        modules.append(place.with_suffix(".py"))
        modules[-1].parent.mkdir(parents=True)
        text = f"import corec\n\n\n@corec.micro()\ndef gives(me):\n    return {number}.0\n"
        modules[-1].write_text(text, encoding="utf-8")
        config = {"instance_id": "one", **town(procesador=f"{name}:gives", parametros={})}
        configs.append(tmp_path / folder / "one.json")
        configs[-1].write_text(json.dumps(config), encoding="utf-8")
    for _ in range(2):
        with corec.World(configs[0]) as world:
            world.run(1)
            assert world.frame("town", "valor")["valor"].max() == 0.0
        with pytest.raises(ConfigError, match=rf"{name} of another project, .*one/plugins,"):
            corec.World(configs[1])
    modules[1].unlink()
    corec.World(configs[1]).close()  # it has none of its own: what this process has is meant


@corec.micro(state={"x": "f4", "n": "u1"}, means=("x",))
def follower(me: Any) -> Any:
    """Goes where the others of its block are."""
    me.x = me.mean_x
    return 0.0


def test_what_is_written_counts_from_the_next_tick_on() -> None:
    with corec.World(town(procesador=follower, parametros={})) as world:
        world.write("town", x=np.arange(100), n=7)
        world.write(ids=[1, 99], activo=False)
        assert world.frame()["n"].tolist() == [7] * 100
        assert [b["activas"] for b in world.blocks()] == [39, 40, 19]
        world.run(1)
        found = world.frame(columns=["x"])["x"]
        first = np.float32(np.delete(np.arange(40), 1).mean())
        assert set(np.delete(found[:40], 1).tolist()) == {first}
        assert (found[1], found[99]) == (1.0, 99.0)
        assert set(found[40:80].tolist()) == {59.5}
        assert set(found[80:99].tolist()) == {89.0}
        active = world.frame(columns=["activo"])["activo"]
        assert world.means("town", ["x"]) == {"x": float(found[active].mean(dtype=np.float64))}


def test_a_parameter_of_the_running_world() -> None:
    with corec.World(town()) as one, corec.World(town()) as other:
        one.set("bloques.town.parametros.beta", 0.0)
        other.set("town", beta=0.0)
        for world in (one, other):
            world.run(40)
        assert one.digest() == other.digest()
        assert one.config.bloques[0].parametros["beta"] == 0.0
        ever = one.frame(columns=["fase"])["fase"] > 0
        assert 0.1 < ever.mean() < 0.4  # nobody but those who were ill at the start
        with corec.World(town()) as third:
            third.run(40)
            assert (third.frame(columns=["fase"])["fase"] > 0).mean() > ever.mean()


def test_an_umbral_s_limits_are_scheduled_and_set_one_by_one() -> None:
    path = "bloques.town.umbral"
    world = corec.World({**town(), "schedule": [
        {"at": 2, "set": {f"{path}.min": 0.2, f"{path}.max": 0.8}},
        {"at": 4, "set": {f"{path}.min": 0.3}},
        {"at": 6, "set": {f"{path}.max": 0.25}},
        {"at": 8, "set": {path: "siempre"}},
        {"at": 10, "set": {f"{path}.max": 0.5}},
    ]})  # fmt: skip
    with world:
        world.run(4)
        with pytest.raises(ConfigError, match=r"found 0\.3, allowed at most max, which is 0\.1"):
            world.set(f"{path}.max", 0.1)
        world.run(6)
        told = [event["detalle"] for event in world.events() if "by" in event["detalle"]]
        assert [one["after_tick"] for one in told] == [1, 3, 5, 7, 9]
        assert [one["value"] for one in told] == [
            {"min": 0.2, "max": 0.8}, {"min": 0.3, "max": 0.8}, {"min": 0.25, "max": 0.25},
            "siempre", {"min": 0.5, "max": 0.5},
        ]  # fmt: skip
        world.set(path, {"min": 0.6, "max": 0.7})
        world.set(f"{path}.min", 0.65)
        world.run(1)
        assert world.blocks()[0]["umbral"] == np.float32(0.65)
    both = {"at": 1, "set": {f"{path}.min": 0.2, f"{path}.max": 0.1}}
    with pytest.raises(ConfigError, match=r"schedule\[0\].*allowed at most max, which is 0.1"):
        corec.World({**town(), "schedule": [both]})


def test_a_limit_of_an_umbral_leaves_the_other_as_it_counts_then() -> None:
    path = "bloques.town.umbral"
    world = corec.World({**town(), "schedule": [
        {"at": 3, "set": {f"{path}.min": -1.0}}, {"at": 5, "set": {path: {"max": 0.2}}},
        {"at": 7, "set": {f"{path}.max": 3.0}},
    ]})  # fmt: skip

    def counts() -> dict[str, float]:
        told = world.events("setting_changed")[-1]["detalle"]
        return dict(told["value"])

    with world:
        world.run(1)
        world.set(path, {"min": 0.3})
        world.run(2)
        assert counts() == {"min": -1.0, "max": 0.9}
        assert world.blocks()[0]["umbral"] > 0.3
        world.run(1)
        world.set(f"{path}.min", 0.15)  # from tick 5 on, as is what the schedule sets
        assert counts() == {"min": 0.15, "max": 0.2}
        world.run(1)
        assert world.blocks()[0]["umbral"] == np.float32(0.2)
        world.set(path, {"max": 0.2, "inicial": 0.15})
        world.run(2)
        assert counts()["max"] == 3.0
        world.set(f"{path}.min", 2.0)
        assert counts() == {"min": 2.0, "max": 3.0}
        world.run(1)
        assert world.blocks()[0]["umbral"] == 2.0
    least = {"schedule": [{"at": 1, "set": {f"{path}.min": 2.0}}]}  # the other one follows
    with corec.World({**town(umbral="siempre"), **least}) as world:
        world.run(1)
        assert world.blocks()[0]["umbral"] == 2.0


def test_a_frame_of_some() -> None:
    with corec.World(town(procesador="ewma", parametros={})) as world:
        world.tick({"town": np.arange(100)})
        ids = np.array([99, 3, 3, 41])
        frame = world.frame(columns=["values", "id", "valor"], ids=ids)
        assert frame["id"].tolist() == ids.tolist()
        assert frame["values"].shape == (4, 200)
        assert frame["values"][:, -1].tolist() == ids.tolist()
        assert np.isnan(frame["values"][:, :-1]).all()
        whole = world.frame()
        for name in whole.columns:
            assert world.frame(ids=ids)[name].tolist() == whole[name][ids].tolist()
        assert world.frame(ids=[])["valor"].shape == (0,)
        assert dict(whole.items()).keys() == set(whole.columns)
        assert "4 entities" in repr(frame)
        assert "<table>" in frame._repr_html_()


@pytest.mark.parametrize(
    ("act", "error", "said"),
    [
        (lambda w: w.frame("city"), ValueError, "swarm: found 'city', expected one of town"),
        (
            lambda w: w.frame(columns=["x"]),
            ValueError,
            "columns: found 'x', expected some of",
        ),
        (lambda w: w.frame(ids=[100]), ValueError, "ids: found 100, expected ids of town: 0 to 99"),
        (lambda w: w.frame(ids=[0.5]), ValueError, "ids: found float64"),
        (lambda w: w.frame(ids=5), ValueError, "ids: found 5, expected a list of whole ids"),
        (lambda w: w.frame(ids=[[1], [2, 3]]), ValueError, "ids: found .*expected a list of whole"),
        (lambda w: w.frame(ids=[2**63]), ValueError, "ids: found 9223372036854775808, expected"),
        (lambda w: w.frame(columns=5), ValueError, "columns: found 5, expected a list of names"),
        (lambda w: w.write(fase=[[1], [2, 3]]), ValueError, "fase: found .*expected 100 numbers"),
        (lambda w: w.entity(100), LookupError, "ids go from 0 to 99"),
        (lambda w: w.entity(1.5), ValueError, "id: found 1.5, expected a whole number"),
        (lambda w: w.run(-1), ValueError, "ticks: found -1"),
        (lambda w: w.run("5"), ValueError, "ticks: found '5', expected a whole number"),
        (lambda w: w.tick([1.0]), ValueError, "readings: found .1.0., expected a dict of swarms"),
        (lambda w: corec.World(town(), seed=cast("int", "x")), ValueError, "seed: found 'x'"),
        (
            lambda w: w.tick({"town": [1.0]}),
            ValueError,
            "found an array of shape .1,., expected 100",
        ),
        (
            lambda w: w.tick({"town": 1e39}),
            ValueError,
            "found 1e.39 for entity 0, expected a finite",
        ),
        (lambda w: w.tick({"town": ([3], "x")}), ValueError, "found a str, expected 1 numbers"),
        (lambda w: w.set("tick_hz", 5), ValueError, "this world ticks when run or tick is called"),
        (lambda w: w.set("bloques.town.canal", 5), ValueError, "in a new world only"),
        (lambda w: w.set("bloques.city.umbral", 5), ValueError, "the bloques are town"),
        (lambda w: w.set("town", gama=1), ValueError, "gama: not a parameter of .*sir"),
        (lambda w: w.set("carga", 2), ConfigError, "carga: found 2, allowed"),
        (lambda w: w.set("carga"), ConfigError, "carga: found"),
        (lambda w: w.write(fase=300), ValueError, "fase: found 300 at place 0, expected a whole"),
        (lambda w: w.write(valor=np.nan), ValueError, "valor: found nan at place 0"),
        (lambda w: w.write(ids=[3, 3], fase=1), ValueError, "ids: found 3 twice"),
        (lambda w: w.write(ids=3, fase=1), ValueError, "ids: found 3, expected a list"),
        (
            lambda w: w.write(tick=1),
            ValueError,
            "field: found 'tick', expected one of valor, activo",
        ),
    ],
)
def test_what_is_refused_changes_nothing(
    act: Callable[[corec.World], Any], error: type[Exception], said: str
) -> None:
    with corec.World(town()) as world:
        before = world.digest()
        world.write(ids=[], fase=1)  # of nobody
        with pytest.raises(error, match=said):
            act(world)
        assert world.digest() == before


def test_alerts_are_handed_over_once_to_each_group() -> None:
    config = town(procesador="ewma", parametros={"warmup": 1}, umbral=0.4)
    with corec.World(config) as world:
        sent = []
        for k in range(30):
            world.tick({"town": np.full(100, 9.0 if k == 25 else k % 2, np.float32)})
            sent += [(world.ticks, int(m["id"]), float(m["valor"])) for m in world.messages()]
        assert {tick for tick, _, _ in sent} >= {26}
        had = [(a.tick, a.id, a.valor) for a in world.alerts("one")]
        assert had == sent
        assert list(world.alerts("one")) == []
        other = world.alerts("other")
        assert [next(other).id for _ in range(3)] == [sent[k][1] for k in range(3)]
        other.close()
        again = [(a.tick, a.id, a.valor) for a in world.alerts("other")]
        assert again == sent[2:]  # the third was in its hands
        assert all(a.procesador.endswith("ewma") and a.canal == 1 for a in world.alerts("all"))


def test_a_fork_is_the_same_world_until_something_differs() -> None:
    config = town(procesador="ewma", parametros={"warmup": 1})
    rng = np.random.default_rng(5)
    with corec.World(config) as world:
        for _ in range(7):
            world.tick({"town": rng.normal(size=100)})
        twin, other = world.fork(), world.fork()
        other.set("town", z0=1000.0)
        assert twin.digest() == world.digest() == other.digest()
        arriving = rng.normal(size=100)
        for one in (world, twin, other):
            one.tick({"town": arriving})
        assert twin.digest() == world.digest() != other.digest()
        assert twin.frame(columns=["values"])["values"].tobytes() == (
            world.frame(columns=["values"])["values"].tobytes()
        )
        assert twin.blocks() == world.blocks()
        assert [twin.run(12), world.run(12)] == [20, 20]  # rows of tick 10 and 20 among them
        world.close()
        assert twin.ticks == twin.digest().tick == 20


def test_what_entities_see_of_each_other_is_forked_and_written_too() -> None:
    """A glider on a torus: written cell by cell, forked on its way, back where it was."""
    cells = np.zeros((32, 32), np.uint8)
    cells[[0, 1, 2, 2, 2], [1, 2, 0, 1, 2]] = 1
    bloque = {
        "id": "cells", "canal": 1, "entidades": 1024, "procesador": "life",
        "space": {"kind": "grid", "width": 32, "height": 32},
    }  # fmt: skip
    with corec.World({"bloques": [bloque]}) as world:
        world.write("cells", alive=cells.reshape(-1))
        world.run(64)
        half = world.frame(columns=["alive"])["alive"].reshape(32, 32)
        assert np.array_equal(half, np.roll(cells, (16, 16), (0, 1)))
        with world.fork() as twin:
            for one in (world, twin):
                one.run(64)
                found = one.frame(columns=["alive"])["alive"].reshape(32, 32)
                assert np.array_equal(found, cells)
    runs = corec.sweep({"bloques": [bloque]}, over={"cells.seeded": [0.0, 1.0]}, ticks=1,
                       collect={"cells": ["sum(alive)"]}, processes=1)  # fmt: skip
    assert runs["cells.sum(alive)"].tolist() == [0.0, 0.0]


@corec.micro
def odd(me: Any) -> Any:
    """Some raise."""
    if me.id % 50 == 3:
        raise ValueError("not today")
    return 0.0


def test_what_a_processor_raises_is_told() -> None:
    with corec.World(town(procesador=odd, parametros={})) as world:
        assert world.errors() == []
        world.run(2)
        (one,) = world.errors()
        assert one["what"].startswith("ValueError: not today (odd in test_world.py, line ")
        assert one["first_entity"] in (3, 53)
        assert world.frame()["fallos"].tolist().count(2) == 2
        assert "entities fail, see errors()" in repr(world)


def test_ctrl_c_ends_a_run_between_two_ticks() -> None:
    with corec.World(town()) as world:
        # a shell's background jobs ignore it; and no timer of the process: it is the test's limit
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        press = (threading.main_thread().ident, signal.SIGINT)
        finger = threading.Timer(0.05, signal.pthread_kill, press)

        def run() -> None:
            finger.start()
            world.run(10**9)

        try:
            with pytest.raises(KeyboardInterrupt):
                run()
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        finally:
            finger.join()
            signal.signal(signal.SIGINT, before)
        with corec.World(town()) as again:
            again.run(world.ticks)
            assert again.digest() == world.digest()
        assert world.run(1) == world.ticks


@pytest.mark.usefixtures("no_leaks")
def test_a_closed_world_says_so_and_has_left_nothing() -> None:
    world = corec.World(town())
    frame = world.frame()
    world.close()
    world.close()
    for act in (world.digest, world.frame, world.tick, world.messages, lambda: world.run(0)):
        with pytest.raises(ValueError, match="this world is closed"):
            act()
    assert len(frame["valor"]) == 100
    assert "closed" in repr(world)
    assert "closed" in world._repr_html_()
