"""What comes in over the streams, written by a plain client: exactly that and nothing else changes.

The worlds stand still while the input is written and step by hand, so each of them is determined.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
import redis

from tests.e2e.conftest import Make
from tests.support.instance import Running, small_config
from tests.support.ledger import dead_of
from tests.support.processes import wait_until

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

MESSAGE = struct.Struct("!Ibf?")
DETECTOR = 290


def paused(make: Make, name: str, *options: str) -> Running:
    """An instance at tick 0 that stands still, flat out once it is let go."""
    run = make(name=name).start("--tick-hz", "0.001", *options)
    run.ready()
    assert run.ask("pause") == {"paused": True, "tick": 0}
    run.ask("set", path="tick_hz", value=0)
    return run


def send(url: str, canal: int, **fields: Any) -> None:
    """One XADD."""
    with redis.Redis.from_url(url) as client:
        client.xadd(f"corec:{{corec1}}:in:{canal}", dict(fields))


def taken_in(run: Running, messages: int, dead: int = 0) -> None:
    """Wait until the broker has handed over so many."""

    def arrived() -> bool:
        status = run.status()
        return (status["messages_in"], status["messages_dead"]) == (messages, dead)

    wait_until(arrived, f"{messages} messages and {dead} dead letters are in")


def entity(run: Running, number: int) -> dict[str, Any]:
    """``entity`` of the control socket."""
    found: dict[str, Any] = run.ask("entity", id=number)
    return found


def everybody(run: Running) -> list[dict[str, Any]]:
    """Every entity."""
    return [entity(run, number) for number in range(330)]


def test_one_message_changes_one_entity(make: Make, valkey_url: str) -> None:
    run = paused(make, "quiet")
    run.ask("step", ticks=20)
    quiet, quiet_digest = everybody(run), run.ask("digest")
    assert run.stop().summary["messages_in"] == 0

    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    run = paused(make, "fed", "--fresh")
    run.ask("step", ticks=10)
    before = entity(run, 77)
    assert before["activo"] is True
    assert before["tick"] == 10
    send(valkey_url, 1, m=MESSAGE.pack(77, 1, 0.625, False))
    taken_in(run, 1)
    assert entity(run, 77) == before  # nothing takes effect between ticks
    run.ask("step", ticks=10)
    told = run.instance.ctl("entity", "77", "--json")
    fed, fed_digest = everybody(run), run.ask("digest")
    assert run.stop().summary["messages_in"] == 1

    assert fed[77]["activo"] is False
    assert fed[77]["valor"] == 0.625  # and kept: an inactive entity does not run
    assert told.code == 0
    assert '"valor": 0.625' in told.out
    for before, after in zip(quiet, fed, strict=True):
        if before["id"] != 77:
            assert before == after
    assert fed_digest["tick"] == quiet_digest["tick"] == 20
    assert fed_digest["digest"] != quiet_digest["digest"]


def test_switching_off_and_on_again(make: Make, valkey_url: str) -> None:
    run = paused(make, "home")
    run.ask("step", ticks=1)
    send(valkey_url, 1, m=MESSAGE.pack(3, 1, 0.5, False) + MESSAGE.pack(4, 1, 0.75, True))
    taken_in(run, 2)
    run.ask("step", ticks=1)
    assert (entity(run, 3)["valor"], entity(run, 3)["activo"]) == (0.5, False)
    four = entity(run, 4)  # ran on from 0.75: 0.3 + 0.95 · 0.45 + noise
    assert four["activo"] is True
    assert abs(four["valor"] - 0.7275) <= 0.0542
    send(valkey_url, 1, m=MESSAGE.pack(3, 1, 0.5, True))
    taken_in(run, 3)
    run.ask("step", ticks=1)
    assert entity(run, 3)["activo"] is True
    assert entity(run, 3)["valor"] != 0.5
    run.stop()


def test_datos_reach_a_detector(make: Make, valkey_url: str) -> None:
    run = paused(make, "home")
    send(valkey_url, 3, id=DETECTOR, datos='{"value": 1.5}')
    send(valkey_url, 3, id=DETECTOR, datos="2.5")
    send(valkey_url, 3, m=MESSAGE.pack(DETECTOR, 3, 3.5, True))
    taken_in(run, 3)
    run.ask("step", ticks=1)
    found = entity(run, DETECTOR)
    assert found["procesador"].endswith("ewma")
    assert found["estado"]["seen"] == 3
    assert found["estado"]["values"] == [1.5, 2.5, 3.5]
    assert found["estado"]["mean"] == pytest.approx(1.5 + 0.02 + 0.02 * (3.5 - 1.52), abs=1e-5)
    assert entity(run, DETECTOR + 1)["estado"]["seen"] == 0
    run.stop()


ZOO: tuple[tuple[int, dict[str, Any]], ...] = (
    (1, {"m": b"123456789"}),
    (1, {"m": b""}),
    (1, {"m": MESSAGE.pack(5, 3, 0.5, True)}),
    (1, {"m": MESSAGE.pack(999_999, 1, 0.5, True)}),
    (1, {"m": MESSAGE.pack(DETECTOR, 1, 0.5, True)}),
    (1, {"m": struct.pack("!Ibf?", 5, 1, float("nan"), True)}),
    (1, {"m": struct.pack("!Ibf?", 5, 1, float("inf"), True)}),
    (1, {"otro": b"field"}),
    (1, {"id": "5", "datos": "0.5"}),
    (3, {"id": str(DETECTOR), "datos": b"{not json"}),
    (3, {"id": str(DETECTOR), "datos": b"x" * 100_000}),
    (3, {"id": "no number", "datos": "1.0"}),
    (3, {"id": "4294967296", "datos": "1.0"}),
    (3, {"id": str(DETECTOR), "datos": '{"value": "NaN"}'}),
    (3, {"id": str(DETECTOR)}),
)


def test_garbage_lands_in_dead_and_changes_nothing(make: Make, valkey_url: str) -> None:
    run = paused(make, "quiet")
    run.ask("step", ticks=5)
    quiet = run.ask("digest")
    run.stop()
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    run = paused(make, "fed", "--fresh")
    for canal, fields in ZOO:
        send(valkey_url, canal, **fields)
    taken_in(run, 0, len(ZOO))
    run.ask("step", ticks=5)
    assert run.ask("digest")["digest"] == quiet["digest"]
    summary = run.stop().summary
    assert (summary["messages_in"], summary["messages_dead"]) == (0, len(ZOO))
    letters = dead_of(valkey_url)
    assert len(letters) == len(ZOO)
    for letter in letters:
        text = " ".join(f"{k!r} {v[:200]!r}" for k, v in letter.items())
        assert any(b"reason" in name for name in letter), text


def test_workers_do_not_show_in_what_the_input_did(make: Make, valkey_url: str) -> None:
    found = set()
    for workers in ("1", "2", "3"):
        with redis.Redis.from_url(valkey_url) as client:
            client.flushall()
        run = paused(make, f"with-{workers}", "--workers", workers)
        sent = 0
        for round_ in range(4):
            burst = b"".join(
                MESSAGE.pack(k, 1, 0.01 * round_ + k / 1000, k % 7 != round_) for k in range(290)
            )
            send(valkey_url, 1, m=burst)
            sent += 290
            for k in range(DETECTOR, DETECTOR + 40):
                send(valkey_url, 3, id=k, datos=str(k * 0.5 + round_ * (k % 3)))
                sent += 1
            send(valkey_url, 1, m=MESSAGE.pack(8, 1, 0.2, True) + MESSAGE.pack(8, 1, 0.4, True))
            sent += 2
            taken_in(run, sent)
            run.ask("step", ticks=3)
        found.add(run.ask("digest")["digest"])
        assert run.stop().summary["messages_in"] == sent
    assert len(found) == 1


def test_what_came_while_it_was_stopped_takes_effect_once(make: Make, valkey_url: str) -> None:
    one = make()
    one.run("--ticks", "10", "--tick-hz", "0")
    send(valkey_url, 3, id=DETECTOR, datos="1.0")
    send(valkey_url, 3, id=DETECTOR, datos="2.0")
    run = one.start("--tick-hz", "100").ready()
    taken_in(run, 2)
    wait_until(lambda: entity(run, DETECTOR)["estado"]["seen"] == 2, "both were processed")
    run.stop()
    run = one.start("--tick-hz", "100").ready()
    run.until_tick(run.status()["tick"] + 10)
    assert entity(run, DETECTOR)["estado"]["seen"] == 2
    send(valkey_url, 3, id=DETECTOR, datos="3.0")
    wait_until(lambda: entity(run, DETECTOR)["estado"]["seen"] == 3, "the third was processed")
    assert entity(run, DETECTOR)["estado"]["values"] == [1.0, 2.0, 3.0]
    assert run.stop().summary["messages_in"] == 3


def test_a_tick_takes_in_a_bounded_number(make: Make, valkey_url: str) -> None:
    """A paused world with a full inbox: control answers, each step takes in what it may, room comes
    back at once, and resume takes in the rest."""
    config = small_config(streams={"readings_per_tick": 10_000})
    one = make(config, name="bounded")
    run = one.start("--tick-hz", "20").ready()
    run.ask("pause")
    packed = b"".join(MESSAGE.pack(DETECTOR + k % 40, 3, 0.5, True) for k in range(60_000))
    total = 20 * 60_000
    with redis.Redis.from_url(valkey_url) as client:
        for _ in range(20):
            client.xadd("corec:{corec1}:in:3", {"m": packed})
    wait_until(lambda: _inbox(run) > 15 << 20, "the inbox is full")
    wait_until(lambda: run.status()["messages_in"] > 800_000, "it holds what was read")
    for step in range(1, 4):
        run.ask("step", ticks=1)
        assert _applied(run) == step * 10_000
    before = run.status()["messages_in"]
    assert run.ask("pause")["paused"] is True
    run.ask("step", ticks=20)
    wait_until(lambda: run.status()["messages_in"] > before, "there is room again while paused")
    run.ask("set", path="tick_hz", value=0)
    run.ask("resume")
    wait_until(lambda: _applied(run) == total, "everything is applied", 60)
    assert run.stop().summary["messages_in"] == total


def _inbox(run: Running) -> int:
    lanes = run.ask("status")["lanes"]
    return int(next(lane["used_bytes"] for lane in lanes if lane["lane"] == "in"))


def _applied(run: Running) -> int:
    return sum(int(block["readings"]) for block in run.ask("blocks")["blocks"])
