"""``corec-ctl`` as its user calls it: another process, looked at by exit code and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corec import layout as L
from corec.control.discover import NoInstance, find_instance
from corec.control.fallback import status_of
from corec.control.folders import BASE_VARIABLE
from tests.control.handmade import SECRET, Running
from tests.support import forked
from tests.support.processes import is_running, patient, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


def ctl(*arguments: str, code: int = 0, base: Path | None = None) -> str:
    """Standard output of ``corec-ctl ARGUMENTS``, which must exit with ``code``."""
    environment = dict(os.environ)
    if base is not None:
        environment[BASE_VARIABLE] = str(base)
    done = subprocess.run(
        [sys.executable, "-m", "corec.control.ctl", *arguments],
        capture_output=True, text=True, timeout=patient(60), env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def forked_ctl(*arguments: str, code: int = 0, base: Path | None = None) -> str:
    """The same, forked, where ``ctl`` starts it."""
    environment = forked.plain_environment()
    environment[BASE_VARIABLE] = str(base) if base is not None else os.environ[BASE_VARIABLE]
    done = forked.run(
        "corec.control.ctl", arguments, cwd=Path.cwd(), environment=environment, seconds=60.0
    )
    assert done.code == code, done
    assert SECRET not in done.out + done.err
    return done.out if code == 0 else done.out + done.err


def ctl_json(*arguments: str) -> Any:
    """The JSON that ``corec-ctl ARGUMENTS --json`` prints; forked."""
    return json.loads(forked_ctl(*arguments, "--json"))


def test_without_an_instance(tmp_path: Path) -> None:
    assert "no instance is running" in ctl("status", code=3, base=tmp_path)
    assert "'other'" in forked_ctl("stop", "--instance", "other", code=3, base=tmp_path)
    assert "Usage" in forked_ctl("status", "--nonsense", code=2, base=tmp_path)
    assert "Usage" in forked_ctl("no-such-command", code=2, base=tmp_path)
    config = tmp_path / "c.json"
    config.write_text('{"instance_id": 3}', encoding="utf-8")
    assert "instance_id" in forked_ctl("status", "--config", str(config), code=2, base=tmp_path)


@pytest.mark.slow
def test_every_command_both_ways(instance: Running) -> None:
    status = ctl_json("status")
    assert status["state"] == "running"
    assert len(ctl_json("workers")["workers"]) == 2
    assert ctl_json("blocks")["total"] == 3
    assert ctl_json("block", "one:00001")["id"] == "one:00001"
    entity = ctl_json("entity", "2000")
    assert {"id", "canal", "valor", "activo", "fallos", "bloque", "tick", "estado"} <= set(entity)
    assert (entity["id"], entity["canal"], entity["bloque"]) == (2000, 3, "two:00000")
    paused = ctl_json("pause")["tick"]
    assert ctl_json("step", "3")["tick"] == paused + 3
    digest = ctl_json("digest")
    assert set(digest) >= {"tick", "digest"}
    assert ctl_json("digest")["digest"] == digest["digest"]
    assert ctl_json("resume")["paused"] is False
    assert ctl_json("set", "tick_hz", "50")["value"] == 50
    assert ctl_json("set", "bloques.one.parametros.mu", "-0.25")["value"] == -0.25
    assert ctl_json("block", "one:00001")["parametros"]["mu"] == -0.25
    there = {one["id"]: one for one in ctl_json("world")["swarms"]}
    assert there["one"]["parametros"]["mu"] == -0.25
    assert there["two"]["ids"] == [[2000, 2499]]
    assert len(ctl_json("top", "--count", "1")["processes"]) == 5
    for arguments in (
        ["status"], ["workers"], ["blocks", "--limit", "2"], ["block", "two:00000"],
        ["entity", "0"], ["pause"], ["step"], ["digest"], ["resume"], ["set", "carga", "0.5"],
        ["top", "--count", "2", "--every", "0.2"], ["world"],
    ):  # fmt: skip
        assert ctl(*arguments).strip()


def test_doctor_names_what_is_wrong(instance: Running) -> None:
    for index in (L.SLOT_PERSISTER, L.SLOT_BROKER):
        slot = instance.rt.slot(index)
        wait_until(partial(slot.get, L.S_BEAT_NS), "it beats")
    assert "server postgresql" in ctl("doctor")
    instance.rt.slot(L.SLOT_PERSISTER).set(L.S_ERROR, L.REASON_UNREACHABLE)
    told = json.loads(ctl("doctor", "--json", code=1).splitlines()[0])
    assert [check["check"] for check in told["checks"] if not check["ok"]] == ["server postgresql"]


def test_usage_errors(instance: Running) -> None:
    assert "expected an integer from 0 to 2499" in forked_ctl("entity", "99999999", code=2)
    assert "no block" in ctl("block", "three:00000", code=1)
    assert "found a running world" in forked_ctl("step", code=1)
    assert "in a new world only" in forked_ctl("set", "seed", "3", code=2)
    assert "corec-ctl workers N" in forked_ctl("set", "workers", "3", code=2)
    assert "by reload" in forked_ctl("set", "log.file", "x.log", code=2)
    assert "expected 0 (as fast as possible), or" in forked_ctl("set", "tick_hz", "1e-320", code=2)
    assert "found -1, expected 0 (as fast" in forked_ctl("set", "tick_hz", "-1", code=2)


@pytest.mark.slow
def test_status_of_a_frozen_nucleus_comes_from_memory(instance: Running) -> None:
    os.kill(instance.nucleus, signal.SIGSTOP)
    try:
        status = ctl_json("status")
        assert status["source"] == "shared memory"
        assert status["instance_id"] == "handmade"
        assert (status["tick"] > 0, status["rows_persisted"]) == (True, 56)
        assert status["processes"][3]["role"] == "worker"
        assert "shared memory" in ctl("status")
        assert "no answer" in ctl("doctor", code=1)
    finally:
        os.kill(instance.nucleus, signal.SIGCONT)


@pytest.mark.slow
def test_words_of_a_dead_predecessor_are_not_the_status_of_a_start(instance: Running) -> None:
    os.kill(instance.nucleus, signal.SIGSTOP)
    mine = instance.rt.get(L.C_SUPERVISOR_PID)
    try:
        instance.rt.set(L.C_SUPERVISOR_PID, mine + 1)
        status = ctl_json("status")
        assert (status["state"], status["pid"]) == ("starting", mine)
        assert (status["tick"], status["processes"]) == (0, [])
        assert "starting" in ctl("status")
        assert "flat out" not in ctl("status"), "no figures of a world that is not there yet"
    finally:
        instance.rt.set(L.C_SUPERVISOR_PID, mine)
        os.kill(instance.nucleus, signal.SIGCONT)


@pytest.mark.slow
def test_a_start_has_no_servers_yet(instance: Running) -> None:
    """What asks them is told so, and asks no other server of this machine instead."""
    path = instance.rt.folder / "instance.json"
    said = path.read_text()
    starting = json.loads(said) | {"http_url": None, "redis_url": "", "db": ""}
    path.write_text(json.dumps(starting))
    try:
        for words in (
            ["sql", "SELECT 1"], ["redis", "PING"], ["events"], ["alerts"], ["alerts", "--ack-all"],
            ["tasks"],
        ):  # fmt: skip
            told = ctl(*words, code=3)
            assert len(told.strip().splitlines()) == 1, told
            assert "is starting" in told
    finally:
        path.write_text(said)


def test_stop_waits_until_it_is_gone(instance: Running) -> None:
    found = find_instance()
    words = [sys.executable, "-m", "corec.control.ctl", "top", "--every", "0.2", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None
        assert json.loads(top.stdout.readline())["state"] == "running"
        told = ctl_json("stop")
        assert (told["stopped"], told["way"]) == (True, "control socket")
        assert told["in_memory"] is False
        wait_until(lambda: not is_running(instance.supervisor), "it is gone")
        said = top.communicate(timeout=patient(60))[1]
    assert (top.returncode, said) == (0, "corec-ctl: the instance stopped\n")
    assert "no instance" in ctl("status", code=3)
    with pytest.raises(NoInstance, match="does not run any more"):
        status_of(found)


def test_stop_without_the_nucleus_signals_the_supervisor(instance: Running) -> None:
    nucleus = instance.nucleus
    os.kill(nucleus, signal.SIGSTOP)
    told = ctl_json("stop", "--no-wait")
    assert told["way"] == "signal"
    os.kill(nucleus, signal.SIGCONT)
    wait_until(lambda: not is_running(instance.supervisor), "it is gone")


@pytest.mark.slow
def test_an_answer_without_room_is_one_line(instance: Running) -> None:
    """As ``corec-ctl status >/dev/full``."""
    for words in (["status"], ["world", "--json"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "corec.control.ctl", *words],
                stdout=full, stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        told = done.stderr.decode().splitlines()
        assert told == ["corec-ctl: standard output: No space left on device"]
