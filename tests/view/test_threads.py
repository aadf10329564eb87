"""``corec.World(threads=…)``: the same world for any number of threads, whatever is in it."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import corec
from corec.view.crew import THREADS_MAX

GRID = {"kind": "grid", "width": 12, "height": 12}
PLANE = {"kind": "plane", "position": ["x", "y"], "size": 20.0, "wrap": True, "radius": 2.0}
SMALL = {"entidades": 150, "entidades_por_bloque": 20}


@corec.micro(state={"x": "f4", "told": "u4"}, sends=2, params={"most": 1.9}, means=("x",))
def gossip(me: Any) -> Any:
    """It sends, hears and fails now and then."""
    for value in me.inbox:
        me.told = me.told + 1
        me.x = me.x + value
    me.send((me.id * 7 + 1) % 150, 0.25)
    me.x = 0.5 * me.x + me.random() + 0.1 * me.mean_x
    if me.x > me.most:
        raise ValueError("too much")
    return me.x


CONFIG: dict[str, Any] = {
    "seed": 5, "globals": {"beta": 0.1}, "persist": {"every_ticks": 3},
    "schedule": [{"at": 6, "set": {"bloques.talk.parametros.most": 1.2}}],
    "bloques": [
        {"id": "talk", "canal": 1, "procesador": gossip, **SMALL, "umbral": 0.9,
         "collect": {"every": 4, "stats": ["mean(x)"]}},
        {"id": "birds", "canal": 2, "procesador": "boids", **SMALL, "space": PLANE},
        {"id": "homes", "canal": 2, "procesador": "schelling", "entidades": 130,
         "capacidad": 144, "entidades_por_bloque": 20, "space": GRID},
        {"id": "gauges", "canal": 3, "procesador": "ewma", **SMALL},
    ],
}  # fmt: skip


def lived(threads: int) -> list[Any]:
    """Everything that can be seen of a world that has lived for a while."""
    with corec.World(CONFIG, threads=threads) as world:
        seen: list[Any] = []
        for tick in range(12):
            world.tick({"gauges": np.arange(150) * 0.01 + tick})
            seen += [world.digest(), world.messages().tolist()]
        world.write("talk", x=0.5)
        world.set("talk.most", 1.5)
        world.grow("gauges", 37)
        world.run(5)
        twin = world.fork()
        for one in (world, twin):
            one.run(4)
            seen += [one.digest(), one.messages().tolist()]
        seen += [world.events(), list(world.alerts("all")), world.blocks()]
        seen.append({(one["text"], one["line"]) for one in world.errors()})
        return seen


def test_it_is_the_same_world() -> None:
    alone = lived(1)
    assert alone[-1]  # some fail
    assert alone[-4]  # and some emit
    for threads in (2, 3, THREADS_MAX):
        assert lived(threads) == alone, threads


def test_no_thread_to_be_had_ends_a_tick_and_not_the_process() -> None:
    """What had begun by then is waited for, and what was handed in never begins."""
    config = {"bloques": [{"id": "one", "canal": 1, **SMALL}]}
    before = threading.stack_size(1 << 46)
    try:
        with corec.World(config, threads=3) as world, pytest.raises(RuntimeError, match="thread"):
            world.run(2)
    finally:
        threading.stack_size(before)
    with corec.World(config, threads=3) as world:
        world.run(2)


@pytest.mark.parametrize(("threads", "says"), [
    (0, "threads: found 0, expected a whole number, 1 or more"),
    (THREADS_MAX + 1, f"threads: found {THREADS_MAX + 1}, expected 1 to {THREADS_MAX}"),
    (1.5, "threads: found 1.5, expected a whole number"),
    ("2", "threads: found '2', expected a whole number"),
])  # fmt: skip
def test_what_is_no_number_of_threads(threads: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        corec.World(CONFIG, threads=threads)


def test_a_fork_of_the_process_goes_on() -> None:
    """It has none of its parent's threads."""
    config = {"bloques": [{"id": "one", "canal": 1, **SMALL}]}
    with corec.World(config, threads=2) as world, corec.World(config) as calm:
        world.run(2)
        reading, writing = os.pipe()
        with warnings.catch_warnings():  # newer Pythons warn of threads that a fork has not
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.write(writing, str((world.run(3), world.digest())[1]).encode())
            os._exit(0)
        os.close(writing)
        found = os.read(reading, 100).decode()
        os.close(reading)
        assert os.waitpid(pid, 0)[1] == 0
        calm.run(5)
        assert found == calm.digest()
        world.run(3)
        assert world.digest() == calm.digest()


def test_several_threads_of_the_caller_take_turns() -> None:
    """No tick is half another one's, no frame is of two."""
    config = {"bloques": [{"id": "town", "canal": 1, "entidades": 20_000, "procesador": "sir"}]}
    with corec.World(config, seed=4) as world, corec.World(config, seed=4) as same:
        over = threading.Event()
        frames: list[Any] = []

        def look() -> None:
            while not over.is_set():
                frames.append(world.frame("town", "infected"))

        with ThreadPoolExecutor(3) as pool:
            looking = pool.submit(look)
            try:
                for one in [pool.submit(world.run, 50) for _ in range(2)]:
                    one.result(120)
            finally:
                over.set()
            looking.result(120)
        for frame in frames:
            same.run(frame.tick - same.ticks)
            assert (same.frame("town", "infected")["infected"] == frame["infected"]).all()
        same.run(100 - same.ticks)
        assert (world.ticks, world.digest()) == (100, same.digest())


def test_a_copy_is_a_fork_and_nothing_is_pickled() -> None:
    with corec.World(CONFIG) as world:
        world.run(3)
        for twin in (copy.copy(world), copy.deepcopy(world)):
            twin.run(1)
            assert (world.ticks, twin.ticks) == (3, 4)
        with pytest.raises(TypeError, match="a World can't be pickled: make one in the other"):
            pickle.dumps(world)
