"""A machine is lost at random moments, again and again; ``tests.crash.losses`` does it more often.

Beside the readings there are settings, carga, growth, state that is written and checkpoints, all by
a seed; at times it is lost while it is paused, with what was set and written there. What comes of
it in the end is what a ``corec.World`` comes to that takes in what the journal says.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

import corec
from tests.crash.hearing import (
    EARS,
    LEGS,
    compared,
    fed,
    instance,
    out_tick,
)
from tests.crash.losses import COUNT, SEED
from tests.e2e.conftest import Make
from tests.support.instance import Instance, Running, machine_is_lost
from tests.support.ledger import events_of
from tests.support.processes import wait_until

pytestmark = [
    pytest.mark.usefixtures("no_leaks"), pytest.mark.slow,
    pytest.mark.timeout(0 if COUNT in os.environ else 300),
]  # fmt: skip

DRAWN = 12883
"""beta, grow, and it is lost in a pause; write, snapshot, and before that tick."""
SECONDS_MAX = 900.0 if COUNT in os.environ else 120.0
PAUSED = "lost in a pause"
EARLIER = "lost before the tick of the loss before"
SPEAKS = ("replay_differs", "input_repeated", "journal_cut")


def disturb(one: Instance, run: Running, rng: random.Random, done: Counter[str]) -> None:
    """Something that an operator does to the living world."""
    what = rng.choice(("beta", "pace", "carga", "snapshot", "grow", "write", "write", "nothing"))
    if what == "beta":
        run.answered("set", changes={"globals.beta": rng.uniform(-0.1, 0.1)})
    elif what == "pace":
        run.answered("set", changes={"bloques.legs.parametros.pace": rng.uniform(0.01, 0.2)})
    elif what == "carga":
        run.answered("set", path="carga", value=rng.choice((0.3, 0.75, 1.0)))
    elif what == "snapshot":
        run.answered("snapshot")
    elif what == "write":
        written(rng)
    elif what == "grow":
        what = grown(one, rng.choice(("ears", "legs")), str(rng.randrange(1, 40)))
        run.lives(120.0)
    done[what] += 1


def written(rng: random.Random) -> None:
    """State of some of those that were there from the beginning."""
    ids = rng.sample(range(EARS, EARS + LEGS), rng.randrange(1, LEGS))
    with corec.attach("corec1") as found:
        found.write("legs", ids, x=rng.uniform(0.0, 1.0), activo=rng.random() < 0.9)


def changed_in_a_pause(run: Running, rng: random.Random) -> tuple[int, float]:
    """Where it stands, and the beta that counts from then on."""
    tick, beta = int(run.answered("pause")["tick"]), rng.uniform(-0.1, 0.1)
    run.answered("set", changes={"globals.beta": beta})
    written(rng)
    return tick, beta


def grown(one: Instance, name: str, more: str) -> str:
    """So many more of ``name``, or the refusal of a world that runs ticks again."""
    said: list[str] = []

    def answered() -> bool:
        told = one.ctl("grow", name, more)
        said[:] = ["grow" if told.code == 0 else told.err]
        return "control socket" not in told.err

    wait_until(answered, "an answer to grow", 120.0)
    if said[0] != "grow":
        assert "runs ticks again" in said[0], said[0]
    return "grow" if said[0] == "grow" else "grow refused"


def test_machines_are_lost(
    make: Make, pg_dsn: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, seed = int(os.environ.get(COUNT, "2")), int(os.environ.get(SEED, str(DRAWN)))
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    one = instance(make)
    monkeypatch.setenv("COREC_HOME", str(one.home))
    monkeypatch.setenv("COREC_RUNTIME_BASE", str(one.runtime_base))
    run = one.start("--tick-hz", "100").ready(300.0)
    reached, beta = 0, None
    with fed(valkey_url, seed):
        run.until_tick(10, 120.0)
        run.ask("snapshot", 60.0)
        for _ in range(count):
            # at times before it has come to where it was lost the last time
            goal = reached + rng.randrange(-40, 150)
            run.until_tick(goal - rng.randrange(60), SECONDS_MAX)
            for _ in range(rng.randrange(3)):
                disturb(one, run, rng, done)
            run.until_tick(goal, SECONDS_MAX)
            if rng.random() < 0.3:
                goal, beta = changed_in_a_pause(run, rng)
                done[PAUSED] += 1
            machine_is_lost(one, run)
            done[EARLIER] += goal < reached
            reached = max(goal, reached)
            run = one.start("--tick-hz", "100", "--workers", rng.choice("12")).lives(120.0)
            if beta is not None:
                assert run.answered("world")["globals"]["beta"] == beta
                beta = None
        last = max(reached, out_tick(valkey_url)) + 150  # all that is out is compared
        run.until_tick(last, SECONDS_MAX)
    summary = run.stop().summary
    assert not [event for event in events_of(pg_dsn) if event["tipo"] in SPEAKS]
    with compared(summary, one, pg_dsn, valkey_url):
        pass
    if COUNT not in os.environ:
        assert done == Counter(("beta", "grow", "write", "snapshot", PAUSED, EARLIER))
    print({
        "seed": seed, "losses": count, **done,
        **{name: summary[name] for name in
           ("tick", "entidades", "messages_in", "messages_out", "rows_persisted", "digest")},
    })  # fmt: skip
