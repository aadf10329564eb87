"""Every bad configuration is one clear line that names the key."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corec.config import Config, ConfigError, Fault, load_config, parse_config, reading

JARGON = ("pydantic", "validation", "Input should", "type=", "Traceback", "int_type", "ctx")


def small(**changes: Any) -> dict[str, Any]:
    """The smallest file, with some top-level keys changed."""
    return {
        "instance_id": "corec1",
        "bloques": [{"id": "a", "canal": 1, "entidades": 10}],
        **changes,
    }


def bloque(**changes: Any) -> dict[str, Any]:
    """A file of one bloque, with some of its keys changed."""
    return small(bloques=[{"id": "a", "canal": 1, "entidades": 10, **changes}])


def lines(raw: dict[str, Any], **more: Any) -> list[str]:
    """What ``raw`` is refused with, line by line."""
    with pytest.raises(ConfigError) as caught:
        parse_config(raw, **more)
    text = str(caught.value)
    assert not any(word in text for word in JARGON)
    assert len(text.splitlines()) == len(caught.value.faults) > 0
    return text.splitlines()


def faults_of(raw: dict[str, Any]) -> list[Fault]:
    """The faults of ``raw``; none if it is a configuration."""
    try:
        parse_config(raw)
    except ConfigError as error:
        return error.faults
    return []


def test_the_promised_line() -> None:
    assert lines(bloque(canal=300)) == [
        "bloques[0].canal: found 300, allowed an integer from -128 to 127"
    ]


@pytest.mark.parametrize(
    ("raw", "path", "found"),
    [
        (bloque(canal=True), "bloques[0].canal", "true"),
        (bloque(canal="1"), "bloques[0].canal", '"1"'),
        (bloque(canal=1.0), "bloques[0].canal", "1.0"),
        (bloque(entidades=0), "bloques[0].entidades", "0"),
        (bloque(entidades=2**32 + 1), "bloques[0].entidades", "4294967297"),
        (bloque(entidades=10**30), "bloques[0].entidades", "1000000000000000000000000000000"),
        (bloque(max_size_mb=65), "bloques[0].max_size_mb", "65"),
        (bloque(id="a:b"), "bloques[0].id", '"a:b"'),
        (bloque(id=".."), "bloques[0].id", '".."'),
        (bloque(id="a\n"), "bloques[0].id", '"a\\n"'),
        (bloque(procesador="a b"), "bloques[0].procesador", '"a b"'),
        (bloque(parametros={"x": [1]}), "bloques[0].parametros.x", "a list"),
        (bloque(parametros=[]), "bloques[0].parametros", "an empty list"),
        (bloque(autoreparacion={"max_errores": 2}), "bloques[0].autoreparacion.max_errores", "2"),
        (small(instance_id=""), "instance_id", '""'),
        (small(instance_id="x" * 65), "instance_id", '"' + "x" * 65 + '"'),
        (small(instance_id="x" * 5000), "instance_id", "a string of 5000 characters"),
        (small(instance_id="../up"), "instance_id", '"../up"'),
        (small(bloques=[]), "bloques", "an empty list"),
        (small(bloques={}), "bloques", "an empty object"),
        (small(bloques=[7]), "bloques[0]", "7"),
        (small(seed=2**64), "seed", "18446744073709551616"),
        (small(seed=-1), "seed", "-1"),
        (small(tick_hz="10"), "tick_hz", '"10"'),
        (small(tick_hz=True), "tick_hz", "true"),
        (small(tick_hz=-0.5), "tick_hz", "-0.5"),
        (small(tick_hz=1e-320), "tick_hz", "1e-320"),
        (small(tick_hz=9.9e-7), "tick_hz", "9.9e-07"),
        (small(workers=0), "workers", "0"),
        (small(workers="all"), "workers", '"all"'),
        (small(workers=True), "workers", "true"),
        (small(workers=1025), "workers", "1025"),
        (small(carga=0), "carga", "0"),
        (small(carga=1.01), "carga", "1.01"),
        (small(persist={"partition": "week"}), "persist.partition", '"week"'),
        (small(persist={"retention": "30"}), "persist.retention", '"30"'),
        (small(persist={"payload": None}), "persist.payload", "null"),
        (small(http={"port": 65536}), "http.port", "65536"),
        (small(http=8000), "http", "8000"),
        (small(log={"level": 3}), "log.level", "3"),
        (small(modules=["registro", 3]), "modules[1]", "3"),
        (small(plugins={"x": {"enabled": "yes"}}), "plugins.x.enabled", '"yes"'),
        (small(plugins=["x", "x"]), "plugins", "a list"),
        (small(state_dir=""), "state_dir", '""'),
        (small(checkpoint={"every_seconds": -1}), "checkpoint.every_seconds", "-1"),
    ],
)
def test_one_bad_value(raw: dict[str, Any], path: str, found: str) -> None:
    (line,) = lines(raw)
    assert line.startswith(f"{path}: found {found}, allowed ")


def test_missing_keys_are_all_named() -> None:
    assert [line.split(":")[0] for line in lines({})] == ["instance_id", "bloques"]


def test_all_faults_at_once() -> None:
    raw = small(tick_hz="x", bloques=[{"id": "a", "canal": 999}, {"id": "a", "entidades": 1.5}])
    paths = {line.split(":")[0] for line in lines(raw)}
    assert paths == {
        "tick_hz",
        "bloques[0].canal",
        "bloques[0].entidades",
        "bloques[1].id",
        "bloques[1].canal",
        "bloques[1].entidades",
    }


def test_a_repeated_id_names_the_second_bloque() -> None:
    raw = small(bloques=[{"id": "a", "canal": c, "entidades": 1} for c in (1, 2)])
    assert lines(raw) == [
        'bloques[1].id: found "a", allowed a name of its own (bloques[0] has this one)'
    ]


def test_more_entities_than_ids() -> None:
    raw = small(bloques=[{"id": n, "canal": 1, "entidades": 2**31} for n in "abcd"])
    (line,) = lines(raw)
    assert line.startswith("bloques[2].entidades: found 2147483648, which makes 6442450944 in all")


def test_a_misspelt_key_gets_the_nearest_one() -> None:
    assert lines(small(tick_hzz=3)) == [
        'tick_hzz: found an unknown key, allowed "tick_hz" (the nearest known key)'
    ]
    (line,) = lines(bloque(entidadess=3))
    assert '"entidades"' in line
    (line,) = lines(small(port=3))
    assert line == (
        "port: found an unknown key, allowed in another place:"
        " db_config.port, redis_config.port, http.port"
    )
    (line,) = lines(small(canal=3))
    assert line.endswith("allowed in another place: bloques[].canal, tasks[].canal")
    (line,) = lines(bloque(tick_hz=3))
    assert line.endswith("found an unknown key, allowed in another place: tick_hz")
    (line,) = lines(small(bloque=[]))
    assert line == (
        'bloque: found an unknown key, allowed "bloques" (the nearest known key), '
        "or in another place: plugins.bloque"
    )
    (line,) = lines(small(checkpoint={"zzz": 1}))
    assert line == "checkpoint.zzz: found an unknown key, allowed only every_seconds, keep"


SECTIONS = ["", "bloques", "persist", "streams", "http", "checkpoint", "log", "autoreparacion"]


@given(name=st.text(min_size=1, max_size=30), section=st.sampled_from(SECTIONS), value=st.none())
def test_any_unknown_key_is_named(name: str, section: str, value: None) -> None:
    raw = small()
    name = "?" + name  # no known key begins like this
    place = raw if not section else raw.setdefault(section, {})
    if section == "bloques":
        place = raw["bloques"][0]
    place[name] = value
    (fault,) = faults_of(raw)
    assert json.dumps(name) in fault.path
    assert fault.found == "an unknown key"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(raw=st.dictionaries(st.sampled_from(list(Config.model_fields)), anything, max_size=6))
def test_whatever_is_written_is_one_line_per_fault(raw: dict[str, Any]) -> None:
    raw.pop("instance_id", None)
    faults = faults_of(raw)
    assert "instance_id" in {fault.path for fault in faults}
    assert all(len(str(fault).splitlines()) == 1 for fault in faults)


@given(raw=anything)
def test_any_bloque_is_taken_or_explained(raw: Any) -> None:
    assert all(fault.path.startswith("bloques") for fault in faults_of(small(bloques=[raw])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,\n  b}', "no valid JSON at line 2 column 3"),
        ("", "no valid JSON at line 1 column 1"),
        ("[]", "found a list, allowed one JSON object"),
        ("null", "found null, allowed one JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": NaN}', "seed: found NaN, allowed a finite number"),
        ('{"http": {"port": -Infinity}}', "http.port: found -Infinity"),
        ('{"bloques": [{"canal": 1e999}]}', "bloques[0].canal: found a number beyond"),
        ('{"seed": ' + "9" * 5000 + "}", "seed: found a number of 5000 digits"),
        ('{"http": {"port": 1, "port": 2}}', "http.port: found the key more than once"),
        ('{"state_dir": "\\ud800"}', "state_dir: found half of a surrogate pair"),
        ('{"plugins": {"\\ud800": {}}}', 'plugins["\\ud800"]: found half of a surrogate pair'),
        ('{"seed": 1, "seed": 1, "seed": 1}', "seed: found the key more than once"),
    ],
)
def test_what_json_leaves_to_luck(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})
    (line,) = str(caught.value).splitlines()
    assert expected in line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    not_text = tmp_path / "bytes.json"
    not_text.write_bytes(b'{"a": "\xff"}')
    for path, expected in (
        (tmp_path / "none.json", "no such file or directory"),
        (tmp_path, "is a directory"),
        (not_text, "not UTF-8 at offset 7"),
        (Path("a\0b"), "an impossible path"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(path, environ={})
        assert expected in str(caught.value)


def test_a_pipe_is_read_to_its_end_and_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "c.json"
    os.mkfifo(pipe)
    text = json.dumps(small()) + " " * 200_000  # more than a pipe has room for
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert load_config(pipe, environ={}).instance_id == "corec1"
    writer.join()
    monkeypatch.setattr(reading, "PIPE_SECONDS", 0.2)
    reader = os.open(pipe, os.O_RDWR)  # a writer that never ends
    for _ in range(2):
        with pytest.raises(ConfigError, match="found a pipe whose writer has not ended in 0 s"):
            load_config(pipe, environ={})
        if reader >= 0:
            os.close(reader)  # and then no writer at all
            reader = -1
    secret = {"COREC_DB_URL_FILE": str(pipe)}
    with pytest.raises(ConfigError, match=r"^COREC_DB_URL_FILE: .*cannot be read \(a pipe whose"):
        parse_config(small(), environ=secret)


def test_the_same_fault_is_said_once() -> None:
    fault = Fault("a", "b", "c")
    assert ConfigError([fault, fault]).faults == [fault]


def test_a_message_has_no_life() -> None:
    task = {"on": "mensajes", "run": "my:task"}
    assert faults_of(small(tasks=[task])) == []
    (line,) = lines(small(tasks=[{**task, "when": ["raised"]}]))
    assert line.startswith("tasks[0].when: found it is there with on: mensajes")


@pytest.mark.parametrize("canal", [-128, 0, 2, 127])
def test_a_task_of_a_canal_that_no_bloque_has(canal: int) -> None:
    bloques = [{"id": f"s{k}", "canal": c, "entidades": 10} for k, c in enumerate((3, 1, 3))]
    for on in ("alertas", "mensajes"):
        task = {"on": on, "run": "my:task"}
        for known in (1, 3, None):
            assert faults_of(small(bloques=bloques, tasks=[{**task, "canal": known}])) == []
        (line,) = lines(small(bloques=bloques, tasks=[{**task, "canal": canal}]))
        assert line == (
            f"tasks[0].canal: found {canal}, which no bloque has, "
            "allowed null (every canal) or one of 1, 3"
        )


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///path", "http://[::1", "http://host:99999/", "http://host:0/",
     "http://host:x/", "http://höst/", "http://host/\x7f", "http://user:pass@host/"],
)  # fmt: skip
def test_an_address_that_nothing_can_be_posted_to(url: str) -> None:
    (line,) = lines(small(tasks=[{"run": "webhook", "url": url}]))
    assert line.startswith("tasks[0].url: found a")
    assert "pass" not in line.replace("password", "")
    for good in ("http://host", "https://host:65535/a?b=%20c#d", "http://[::1]:1/"):
        assert faults_of(small(tasks=[{"run": "webhook", "url": good}])) == []


def test_what_concerns_several_keys_is_named_by_the_model_itself() -> None:
    """Also when the data come to it another way than through the file's own check."""
    raw = small(bloques=[{"id": "a", "canal": 1, "entidades": 10}] * 2)
    with pytest.raises(ConfigError) as found:
        Config.model_validate(raw)
    assert [fault.path for fault in found.value.faults] == ["bloques[1].id"]
