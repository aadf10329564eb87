"""In-streams that are lost, written anew below where the reader stands, or trimmed unread."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from corec import layout as L
from corec.broker.continuity import RECENT_MAX, Canal, Verdict
from corec.broker.positions import ZERO, EntryId
from corec.broker.streams import StreamInfo
from tests.broker.support import DEFAULT_SWARMS, Instance, SwarmSpec, message
from tests.broker.test_in import collect_readings
from tests.broker.test_servers import valkey_with
from tests.support.processes import wait_until

Make = Callable[..., Instance]


def eid(ms: int) -> EntryId:
    return EntryId(ms, 0)


def info(last: int, added: int, length: int, first: int | None) -> StreamInfo:
    return StreamInfo(eid(last), added, length, None if first is None else eid(first))


def reader_at(*taken: int) -> Canal:
    """One that has looked at its stream after these entries."""
    canal = Canal(index=0)
    canal.took([eid(ms) for ms in taken])
    stream = info(taken[-1], len(taken), len(taken), taken[0])
    assert canal.look(eid(taken[-1]), stream, eid(taken[-1]), went_back=False) == Verdict()
    return canal


def test_a_stream_that_goes_on() -> None:
    canal = reader_at(10, 11, 12)
    assert canal.look(eid(12), info(14, 5, 5, 10), eid(12), went_back=False) == Verdict()
    canal.took([eid(13), eid(14)])
    assert canal.look(eid(14), info(14, 5, 0, None), eid(14), went_back=False) == Verdict()
    assert canal.look(eid(14), info(16, 7, 2, 15), eid(14), went_back=False) == Verdict()


def test_written_anew_below() -> None:
    canal = reader_at(10, 11, 12)
    verdict = canal.look(eid(12), info(5, 1, 1, 5), eid(12), went_back=False)
    assert verdict == Verdict(ZERO)


def test_written_anew_and_already_above() -> None:
    """5 came first, then 20, which the reader took: the count of entries tells."""
    canal = reader_at(10, 11, 12)
    canal.took([eid(20)])
    verdict = canal.look(eid(20), info(20, 2, 2, 5), eid(12), went_back=False)
    assert verdict.scan_from == ZERO
    assert verdict.taken == {eid(20)}


def test_lost_its_last_entries() -> None:
    """The server came back at 11 and has got 12 anew, smaller than what was read: 13."""
    canal = reader_at(10, 11, 12, 13)
    verdict = canal.look(eid(13), info(12, 3, 3, 10), eid(10), went_back=True)
    assert verdict.scan_from == eid(10)
    assert {eid(10), eid(11)} <= verdict.taken


def test_lost_with_the_reader() -> None:
    """Nobody remembers: what an older hash and an older stream agree on is old."""
    canal = Canal()
    verdict = canal.look(eid(13), info(11, 2, 2, 10), eid(10), went_back=True)
    assert (verdict.scan_from, verdict.taken_up_to) == (eid(10), eid(11))
    canal = Canal()
    verdict = canal.look(eid(13), info(5, 2, 2, 4), None, went_back=True)
    assert verdict == Verdict(ZERO)


@pytest.mark.parametrize(
    ("stream", "unread"),
    [
        (info(20, 8, 3, 18), 2),  # 5 more came, the first 2 of them are gone
        (info(20, 8, 0, None), 5),  # and all of them
        (info(20, 4, 1, 20), 0),
        (info(20, 4, 0, None), 1),
    ],
)
def test_trimmed_unread(stream: StreamInfo, unread: int) -> None:
    canal = reader_at(10, 11, 12)
    assert canal.look(eid(12), stream, eid(12), went_back=False).unread == unread
    assert canal.look(eid(12), stream, eid(12), went_back=False).unread == 0, "told once"


def test_trimmed_unread_before_the_reader_began() -> None:
    gone = info(20, 8, 3, 18)
    assert Canal().look(eid(12), gone, eid(12), went_back=False).unread == -1
    assert Canal(index=3).look(eid(12), gone, eid(12), went_back=False).unread == 2
    kept = info(20, 8, 6, 12)  # XTRIM MINID with the bound of the documents keeps that entry
    assert Canal().look(eid(12), kept, eid(12), went_back=False).unread == 0


@pytest.mark.parametrize("more", [0, 1])
def test_recent_ids_are_bounded(more: int) -> None:
    canal = Canal(index=0)
    for k in range(RECENT_MAX + more):
        canal.took([eid(k + 1)])
    assert canal.held == RECENT_MAX
    assert canal.index == RECENT_MAX + more
    assert canal.recent[0] == [eid(1 + more)]


def told(one: Instance, kind: str) -> list[dict[str, Any]]:
    """The events of a kind so far."""
    events = [json.loads(bytes(frame.payload)) for frame in one.rt.events["broker"].frames()]
    return [event["detalle"] for event in events if event["tipo"] == kind]


def xadd(one: Instance, entry: str, valor: float) -> None:
    with one.redis() as client:
        client.xadd(one.keys.incoming(1), {"m": message(3, 1, valor)}, id=entry)


def values(one: Instance, count: int) -> list[float]:
    return [reading[2] for reading in collect_readings(one, count)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("broker", ["lives", "killed", "killed early"])
def test_deleted_and_written_anew_below(instance: Make, broker: str) -> None:
    """Smaller ids than those that were read; bad entries among them are buried, too."""
    one = instance()
    pid = one.start()
    xadd(one, "1000-1", 1.0)
    xadd(one, "1000-2", 2.0)
    assert values(one, 2) == [1.0, 2.0]
    one.run_tick(1)
    wait_until(lambda: one.state().applied.get(1) == EntryId(1000, 2), "the position is kept")
    if broker == "killed early":
        one.kill(pid)
    with one.redis() as client:
        client.delete(one.keys.incoming(1))
        client.xadd(one.keys.incoming(1), {"rubbish": 1}, id="5-1")
    xadd(one, "5-2", 3.0)
    if broker == "killed early":
        pid = one.start()
    assert values(one, 1) == [3.0]
    if broker == "killed":
        one.kill(pid)
        pid = one.start()
    xadd(one, "6-0", 4.0)
    assert values(one, 1) == [4.0]
    one.drain(pid)
    assert one.readings() == []
    assert [letter[b"source"] for letter in one.dead()] == [b"5-1"]
    (event,) = told(one, "input_rewound")
    assert (event["at"], event["to"]) == ("1000-2", "0-0")
    assert one.state().total_in[1] == one.count(L.B_MESSAGES_IN) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("point", ["broker.before_rewind", "broker.after_rewind"])
def test_killed_while_it_goes_back(instance: Make, point: str) -> None:
    one = instance()
    pid = one.start(kill=point)
    xadd(one, "1000-1", 1.0)
    assert values(one, 1) == [1.0]
    wait_until(lambda: one.state().applied.get(1) == EntryId(1000, 1), "the position is kept")
    with one.redis() as client:
        client.delete(one.keys.incoming(1))
    xadd(one, "5-1", 2.0)
    xadd(one, "5-2", 3.0)
    assert one.wait_exit(pid) == -9
    pid = one.start()
    assert values(one, 2) == [2.0, 3.0]
    one.drain(pid)
    assert one.readings() == []


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_server_without_its_last_input(instance: Make, tmp_path: Path) -> None:
    """Its clock is behind: what comes then is smaller than what was read, and none is old."""
    folder, kept = tmp_path / "node", tmp_path / "kept"
    aof = ("--appendonly", "yes", "--appendfsync", "always")
    with valkey_with(folder, *aof) as port:
        one = instance(url=f"redis://127.0.0.1:{port}")
        pid = one.start()
        xadd(one, "1000-1", 1.0)
        assert values(one, 1) == [1.0]
        one.run_tick(1)
        wait_until(lambda: one.state().applied.get(1) == EntryId(1000, 1), "the position is kept")
        xadd(one, "1000-2", 2.0)  # applied, and the hash does not know
        shutil.copytree(folder, kept)
        xadd(one, "2000-1", 3.0)
        assert values(one, 2) == [2.0, 3.0]
        one.run_tick(2)
        wait_until(lambda: one.state().applied.get(1) == EntryId(2000, 1), "the position is kept")
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    with valkey_with(folder, *aof, port=port):
        xadd(one, "1500-1", 4.0)
        assert values(one, 1) == [4.0]
        with pytest.raises(ResponseError):
            xadd(one, "1400-1", 0.0)
        xadd(one, "3000-1", 5.0)
        assert values(one, 1) == [5.0]
        one.drain(pid)
        assert one.readings() == []
        assert told(one, "input_rewound")[0]["to"] == "1000-2"


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_unread_input_is_trimmed(instance: Make) -> None:
    one = instance(inbox_bytes=1 << 12)
    pid = one.start()
    xadd(one, "1-1", 0.0)
    assert values(one, 1) == [0.0]
    wait_until(lambda: 1 in one.state().added, "the count of entries is kept")
    one.kill(pid)
    for k in range(10):
        xadd(one, f"{k + 2}-1", float(k))
    with one.redis() as client:
        client.xtrim(one.keys.incoming(1), maxlen=4, approximate=False)
    pid = one.start()
    assert values(one, 4) == [6.0, 7.0, 8.0, 9.0]
    one.drain(pid)
    (event,) = told(one, "input_lost")
    assert event["entries"] == 6 == one.count(L.B_UNREAD_LOST) == one.state().total_unread


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("point", ["broker.before_world", "broker.after_world"])
def test_a_new_world_begins_behind_what_was_unread(instance: Make, point: str) -> None:
    """Decided once: a kill before it decides it later, one after it changes nothing."""
    old = instance(epoch=7)
    pid = old.start()
    old.run_tick(1)
    old.drain(pid)
    unread = [old.add(1, {"m": message(3, 1, float(k))}) for k in range(3)]
    new = instance(epoch=8)
    pid = new.start(kill=point)
    assert new.wait_exit(pid) == -9
    if point == "broker.after_world":
        new.add(1, {"m": message(3, 1, 9.0)})
    pid = new.start()
    if point == "broker.before_world":
        wait_until(lambda: new.state().epoch == 8, "the new world begins")
        new.add(1, {"m": message(3, 1, 9.0)})
    new.add(-2, {"m": message(33, -2, 8.0)})  # a stream that was not there
    assert sorted(reading[2] for reading in collect_readings(new, 2)) == [8.0, 9.0]
    new.drain(pid)
    assert new.readings() == []
    assert str(new.state().start[1]) == unread[-1]
    assert new.state().start[-2] == ZERO


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_so_it_does_on_a_canal_that_comes_later(instance: Make) -> None:
    """A bloque that is added to the new world does not find what waited for the older one."""
    old = instance(swarms=(*DEFAULT_SWARMS, SwarmSpec(5)))
    pid = old.start()
    old.run_tick(1)
    old.drain(pid)
    for entity, canal in ((53, 5), (63, -128), (73, 127)):
        old.add(canal, {"m": message(entity, canal, 1.0)})
    new = instance(epoch=8)
    pid = new.start()
    wait_until(lambda: new.state().epoch == 8, "the new world begins")
    new.drain(pid)
    grown = instance(
        epoch=8, swarms=(*DEFAULT_SWARMS, *(SwarmSpec(canal, 1) for canal in (5, -128, 127, 6)))
    )
    first = 50
    pid = grown.start()
    for place, canal in enumerate((5, -128, 127, 6)):
        grown.add(canal, {"m": message(first + 10 * place, canal, 2.0)})
    assert [reading[2] for reading in collect_readings(grown, 4)] == [2.0] * 4
    grown.drain(pid)


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("fresh", [0, 1])
def test_the_first_world_of_all(instance: Make, fresh: int) -> None:
    """What waits for it is its own, unless it was begun with --fresh."""
    one = instance()
    one.rt.set(L.C_FRESH, fresh)
    one.add(1, {"m": message(3, 1, 1.0)})
    pid = one.start()
    wait_until(lambda: one.state().epoch == 7, "the world begins")
    one.add(1, {"m": message(3, 1, 2.0)})
    assert values(one, 2 - fresh) == ([2.0] if fresh else [1.0, 2.0])
    one.drain(pid)


@pytest.mark.slow
@pytest.mark.usefixtures("no_leaks")
def test_new_input_waits_while_ticks_run_again(instance: Make) -> None:
    """What the old run had applied comes in at once, in part even of an entry; the rest later."""
    one = instance()
    pid = one.start()
    one.add(1, {"m": message(1, 1, 1.0)})
    half = one.add(1, {"m": b"".join(message(1, 1, float(k)) for k in (2, 3, 4))})
    values(one, 4)
    one.run_tick(20)
    one.drain(pid)
    with one.redis() as client:  # two messages of the second entry were applied by tick 20
        client.hset(one.keys.pos, "done:1", f"{half} 2 0")
    again = instance()
    again.rt.slot(L.SLOT_BROKER).set(L.S_TICK, 5)
    again.rt.slot(L.SLOT_PERSISTER).set(L.S_COUNT0 + L.P_OVERLAP, 2 + 22)
    again.commit(5)
    pid = again.start()
    again.add(1, {"m": message(2, 1, 5.0)})
    again.add(-2, {"m": message(33, -2, 6.0)})
    assert values(again, 3) == [1.0, 2.0, 3.0]
    for tick in (20, 21):  # the streams have seen 20, the tables 22
        again.commit(tick)
        wait_until(lambda: again.rt.slot(L.SLOT_BROKER).get(L.S_STATE) == L.PROC_READY, "ready")
        assert again.readings() == []
    again.commit(22)
    assert sorted(values(again, 3)) == [4.0, 5.0, 6.0]
    again.drain(pid)
    assert again.state().total_in == {1: 5, -2: 1}
    assert told(again, "input_repeated") == []
