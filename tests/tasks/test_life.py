"""The life of alerts, against the rule of docs/tasks.md applied to each entity's ticks alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.config import parse_config
from corec.config.acting import TaskConfig
from corec.config.schedule import TICK_MAX
from corec.notices import Notice, TaskError, load_task
from corec.plan import make_plan
from corec.tasks import command as commands
from corec.tasks.command import Failed, execute
from corec.tasks.life import CLEARED, Life, Message
from corec.tasks.process import letters_of, take_alert
from corec.tasks.source import OfAlerts
from corec.tasks.streams import Names, failure, letter_of, messages_of
from corec.view.alerts import Reader
from tests.support.processes import is_running, wait_until

CLEAR = 5
PLAN = make_plan(parse_config({"instance_id": "one", "bloques": [
    {"id": "a", "canal": 1, "entidades": 10, "entidades_por_bloque": 10},
    {"id": "b", "canal": 2, "entidades": 10, "entidades_por_bloque": 10},
]}))  # fmt: skip
NOTICE = Notice("00000000000000ff-7-3", "raised", 7, 3, 1, "thermostat", 0.9, {"t": 31.5})


def message(tick: int, entity: int) -> Message:
    """One message."""
    return Message(tick, entity, 1, "p", 0.5, {"t": float(tick)})


def wanted(ticks: list[int], now: int) -> list[tuple[int, int, int, int | None]]:
    """(first, last, ticks, cleared) of each alert of an entity at tick ``now``."""
    found: list[list[int]] = []
    for tick in sorted(set(ticks)):
        if found and tick - found[-1][-1] <= CLEAR:
            found[-1].append(tick)
        else:
            found.append([tick])
    over = [one[-1] + CLEAR if now - one[-1] > CLEAR else None for one in found]
    return [(one[0], one[-1], len(one), end) for one, end in zip(found, over, strict=True)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=80), st.data())
def test_against_the_rule(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    """However the messages are cut into batches, read twice, or taken up after a kill."""
    pairs.sort()
    life, table = Life(7, CLEAR, {}), {}
    notices: list[Notice] = []
    at = 0
    while at < len(pairs):
        end = data.draw(st.integers(at + 1, len(pairs)))
        again = data.draw(st.integers(0, at))
        for tick, entity in pairs[again if data.draw(st.booleans()) else at : end]:
            life.message(message(tick, entity))
        if data.draw(st.booleans()):
            life.passed(pairs[end - 1][0])
        table.update(life.changed)
        notices += life.notices
        still = {e: a for (e, _), a in table.items() if a.cleared is None}
        assert still == life.open
        life.written()
        if data.draw(st.booleans()):
            life = Life(7, CLEAR, still, life.tick)  # begun anew from the table
        at = end
    life.passed(61)
    table.update(life.changed)
    notices += life.notices
    for entity in range(4):
        mine = sorted((a for (e, _), a in table.items() if e == entity), key=lambda a: a.first)
        ticks = [tick for tick, who in pairs if who == entity]
        assert [(a.first, a.last, a.count, a.cleared) for a in mine] == wanted(ticks, 61)
        said = [(n.event, n.id) for n in notices if n.entity == entity]
        assert said == [
            (event, life.alert_id(a))
            for a in mine
            for event in ("raised", "cleared")[: 2 if a.cleared is not None else 1]
        ]


def test_at_the_limit_and_one_beyond() -> None:
    life = Life(1, CLEAR, {})
    for tick in (1, 1 + CLEAR, 1 + 2 * CLEAR + 1):
        life.message(message(tick, 0))
    assert [n.event for n in life.notices] == ["raised", "cleared", "raised"]
    life.passed(1 + 2 * CLEAR + 1 + CLEAR)
    assert 0 in life.open
    life.passed(1 + 2 * CLEAR + 1 + CLEAR + 1)
    assert life.changed[0, 2 * CLEAR + 2].state == CLEARED


def test_each_repeat_is_told_under_a_key_of_its_own() -> None:
    found = []
    for again in (False, True):
        life = Life(7, CLEAR, {})
        life.repeats = True
        for tick in (1, 2, 2, 4, 4 + CLEAR + 1):
            life.message(message(tick, 3))
            if again:  # taken up after a kill, and read once more
                found += life.notices
                life = Life(7, CLEAR, life.open, life.tick)
                life.repeats = True
                life.message(message(tick, 3))
        found += life.notices
    once, twice = found[: len(found) // 2], found[len(found) // 2 :]
    assert once == twice
    events = ["raised", "repeated", "repeated", "cleared", "raised"]
    assert [one.event for one in once] == events
    assert [one.tick for one in once] == [1, 2, 4, 4 + CLEAR, 4 + CLEAR + 1]
    assert [one.count for one in once] == [1, 2, 3, 3, 1]
    assert once[1].id == f"{7:016x}-2-3"
    assert len({one.key for one in once}) == len(once)


def test_an_acknowledged_alert_goes_on_and_is_told_once() -> None:
    life = Life(2**64 - 1, CLEAR, {})
    life.message(message(1, 3))
    name = life.alert_id(life.open[3])
    assert life.acknowledge(name, "me")
    assert not life.acknowledge(name, "you")
    assert not life.acknowledge(name.replace("-1-", "-2-"), "me")
    assert not life.acknowledge("", "me")
    assert not life.acknowledge(name + "9" * 5000, "me")
    life.message(message(2, 3))
    assert (life.open[3].acknowledged, life.open[3].count) == ("me", 2)
    assert [n.event for n in life.notices] == ["raised", "acknowledged"]


def test_what_a_task_raised_is_text_that_a_table_holds() -> None:
    """A program's standard error may hold anything: a row that is refused is tried for ever."""
    words = failure(
        "t", "command", {**NOTICE.as_dict(), "fields": {"a\0": ["\0"]}}, 3, "exit 1: \0?"
    )
    row = letter_of(
        b"1700000000000-3", [word if isinstance(word, bytes) else word.encode() for word in words]
    )
    assert row[-1] == "exit 1: \ufffd?"
    assert "\\u0000" not in row[4]
    for entry in (b"253402300800000-0", b"18446744073709551615-1"):  # somebody else's, and behind
        row = letter_of(entry, [b"tarea", orjson.dumps(orjson.loads(words[1]))])
        assert row[0] == entry.decode()
        assert 1.7e9 < row[1].timestamp() < 2**33


@pytest.mark.parametrize(
    "wrong",
    [{"canal": 128}, {"tick": -1}, {"tick": 1 << 63}, {"entidades": [{"id": 1 << 32, "valor": 1}]},
     {"entidades": [{"id": -1, "valor": 1}]}, {"entidades": [{"id": 1, "valor": "x"}]},
     {"entidades": [{"id": 1, "valor": True}]}],
)  # fmt: skip
def test_an_entry_that_no_table_can_hold_is_no_alert(wrong: dict[str, Any]) -> None:
    good = {"canal": 1, "procesador": "p\0", "tick": 7, "entidades": [{"id": 2, "valor": None}]}
    (found,) = messages_of(1, orjson.dumps(good))
    assert (found.entity, found.procesador, found.valor) == (2, "p\ufffd", None)
    with pytest.raises(ValueError, match="expected"):
        messages_of(1, orjson.dumps({**good, **wrong}))
    with pytest.raises(ValueError, match="expected"):
        messages_of(1 << 60, orjson.dumps(good))


DEEP = b'{"a":' * 500 + b"1" + b"}" * 500


@pytest.mark.parametrize(
    "text",
    [b"", b"[1]", b"5", DEEP, b'{"canal":1,"procesador":"p","tick":7,"entidades":[5]}',
     b'{"canal":1,"procesador":"p","tick":7,"entidades":"x"}',
     b'{"canal":1,"procesador":"p","tick":7,"entidades":[{"id":1,"valor":1,"x":' + DEEP + b"}]}"],
)  # fmt: skip
def test_no_entry_ends_the_process(text: bytes) -> None:
    """It would meet the same one after its start, and so for ever."""
    life = Life(7, CLEAR, {})
    take_alert(life, b"1-0", [b"alerta", text], TICK_MAX, PLAN)
    assert not life.changed
    assert letters_of([(b"1-0", [b"tarea", text])]) == []
    reader = Reader.__new__(Reader)  # of ``corec.attach``, which would stop at it likewise
    reader._key = "alertas"
    with pytest.warns(UserWarning, match="alertas 1-0: not an alert"):
        assert reader._named("1-0", {b"alerta": text}) == []
    source = OfAlerts(Names("corec1"), TaskConfig(run="a.b:c"))
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        source.batch([b"aviso", text])


def test_what_others_write_hides_no_alert() -> None:
    """Of a tick to come it is none, nor on another canal or of nobody; of a tick that is gone it
    raises one, and hides no other's."""

    def came(tick: int, entity: int, entry: bytes = b"1-0", canal: int = 1) -> None:
        said = {"canal": canal, "procesador": "p", "tick": tick,
                "entidades": [{"id": entity, "valor": 0.5}]}  # fmt: skip
        take_alert(life, entry, [b"alerta", orjson.dumps(said)], 101, PLAN)

    life = Life(7, CLEAR, {})
    came(102, 1)
    for entity, canal in ((9, 2), (10, 1), (19, 3), (20, 2), (20, 1)):
        came(101, entity, canal=canal)
    assert not life.changed
    came(101, 19, canal=2)
    came(101, 10, canal=2)
    assert sorted(life.open) == [10, 19]
    life = Life(7, CLEAR, {})
    came(101, 1, b"18446744073709551615-0")  # ids go on behind that one
    came(90, 2, b"18446744073709551615-1")
    assert sorted(life.open) == [1, 2]
    assert all(1.7e12 < one.raised_ms < 2**43 for one in life.open.values())
    life.passed(100)
    came(99, 3)  # read anew: it is known
    came(100, 4)
    assert sorted(life.open) == [1, 4]


def test_command() -> None:
    python = ["sh", "-c", 'test -n "$COREC_NOTICE" && cat']
    said = execute(NOTICE, {"command": python, "timeout_seconds": 5})
    assert said == orjson.loads(orjson.dumps(NOTICE.as_dict()))
    with pytest.raises(Failed, match="exit 3: no"):
        execute(NOTICE, {"command": ["sh", "-c", "echo no >&2; exit 3"], "timeout_seconds": 5})


def test_a_command_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(text: str) -> Any:
        return execute(NOTICE, {"command": ["sh", "-c", text], "timeout_seconds": 300.0})

    monkeypatch.setattr(commands, "PRINTED_MAX", 100_000)
    digits = "head -c 100000 /dev/zero | tr '\\0' 1"
    assert printed(f"printf '\"'; {digits} | tail -c +3; printf '\"'") == "1" * 99_998
    for text in ("yes", f"{digits}; printf 1"):
        with pytest.raises(Failed, match="it prints more than 100000 bytes"):
            printed(text)
    with pytest.raises(Failed, match="exit 3: 1111") as failed:
        printed(f"exec <&-; ( {digits}; echo ) >&2; exit 3")
    assert len(str(failed.value)) < 1100


def test_a_command_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREC_REDIS_URL", "redis://:secret@host")
    said = tmp_path / "pids"
    text = f'echo "$$ $COREC_REDIS_URL" >{said}; sleep 60 & echo $! >>{said}; wait'
    with pytest.raises(subprocess.TimeoutExpired):
        execute(NOTICE, {"command": ["sh", "-c", text], "timeout_seconds": 10})
    first, second = said.read_text().split()
    wait_until(lambda: not (is_running(int(first)) or is_running(int(second))), "both end", 30.0)
    code = (
        "from corec.tasks.command import execute; from corec.notices import Notice\n"
        f"execute(Notice('a', 'raised', 1, 2, 1, 's', 1.0), {{'command': ['sh', '-c', "
        f"'echo $$ >{said}.own; exec sleep 60'], 'timeout_seconds': 60}})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        own = tmp_path / "pids.own"
        wait_until(lambda: own.exists() and own.read_text().endswith("\n"), "it runs", 60.0)
        parent.kill()
    wait_until(lambda: not is_running(int(own.read_text())), "it ends with its parent", 30.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [("hook", "no task of this name"), ("corec.notices:nothing", "AttributeError"),
     ("corec.nothing:f", "ModuleNotFoundError"), ("corec.notices:GiveUp", "it is a type")],
)  # fmt: skip
def test_what_is_no_task(name: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        load_task(name)
