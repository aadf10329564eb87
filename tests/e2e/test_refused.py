"""Starts that are refused: one clear line, the right exit code, nothing started, nothing left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Make
from tests.support.instance import Instance, small_config
from tests.support.processes import patient

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.slow, pytest.mark.timeout(300)]

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"bloquez": []}, "bloquez"),
    "unknown key inside": ({"persist": {"every_tick": 5}}, "persist.every_tick"),
    "wrong type": ({"tick_hz": "fast"}, "tick_hz"),
    "impossible number": ({"carga": 1.5}, "carga"),
    "duplicate id": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 5}] * 2},
        "bloques[1].id",
    ),
    "missing processor": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 5, "procesador": "no.such:thing"}]},
        "bloques[0].procesador",
    ),
    "processor that does not compile": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 5, "procesador": "opens_files:opener"}]},
        "bloques[0].procesador",
    ),
    "unknown parameter": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 5, "parametros": {"sigma": 1}}]},
        "bloques[0].parametros.sigma",
    ),
    "more than the id space": (
        {"bloques": [{"id": n, "canal": 1, "entidades": 2**31 + 1} for n in "ab"]},
        "bloques",
    ),
    "more blocks than anybody has": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 2**32, "entidades_por_bloque": 1}]},
        "bloques",
    ),
    "more than the tmpfs": (
        {"bloques": [{"id": "a", "canal": 1, "entidades": 4_000_000_000}]},
        "bloques",
    ),
}

OPENER = """
import corec

@corec.micro(state={"x": "f4"})
def opener(me):
    me.x = len(open("/etc/hostname").read())
"""


def world_files(one: Instance) -> list[str]:
    """The segments in its runtime folder."""
    return [name for name in one.runtime_files() if name.endswith((".seg", ".lane"))]


def refused(one: Instance, code: int, *options: str) -> str:
    """The one line with which a start is refused."""
    before = world_files(one)
    ended = one.run(*options)
    assert ended.code == code, ended.err[-2000:]
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert len(ended.complaints) == 1, ended.err[-2000:]
    assert ended.complaints[0].startswith("corec: ")
    assert world_files(one) == before
    if not before:
        assert not one.runtime_files()
    return ended.complaints[0].removeprefix("corec: ")


def test_bad_configurations(make_embedded: Make) -> None:
    one = make_embedded()
    (one.home / "plugins").mkdir()
    (one.home / "plugins" / "opens_files.py").write_text(OPENER)
    for name, (changes, key) in BAD.items():
        one.configure(small_config(**changes))
        line = refused(one, 2, "--ticks", "1")
        assert line.startswith(key), f"{name}: {line}"
    checked = one.command("check", str(one.config_path))
    assert checked.code == 2
    assert checked.complaints[0].startswith("corec: bloques")
    assert not (one.home / "var" / "state").exists(), "nothing was started"


def test_broken_json_and_missing_file(make_embedded: Make) -> None:
    one = make_embedded()
    one.config_path.write_text('{"instance_id": "a",\n oops}')
    assert "line 2" in refused(one, 2)
    one.config_path.unlink()
    assert "configs/corec_config.json" in refused(one, 2)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_server_is_one_line_without_its_password(make: Make) -> None:
    one = make()
    port = free_port()
    urls = dict(one.environment)
    one.environment["COREC_REDIS_URL"] = f"redis://user:S3cret-pass@127.0.0.1:{port}/0"
    line = refused(one, 1, "--ticks", "1")
    assert f"127.0.0.1:{port}" in line
    assert "can't be reached" in line
    assert "S3cret" not in line
    one.environment = urls | {
        "COREC_DB_URL": f"postgresql://someone:S3cret-pass@127.0.0.1:{port}/things"
    }
    line = refused(one, 1, "--ticks", "1")
    assert f"127.0.0.1:{port}" in line
    assert "can't be reached" in line
    assert "S3cret" not in line


def test_an_http_port_that_is_taken(make: Make) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        one = make(small_config(http={"port": port}))
        assert str(port) in refused(one, 1, "--ticks", "1")


def test_a_second_start_and_a_world_that_does_not_fit(make: Make) -> None:
    one = make()
    run = one.start("--tick-hz", "50").ready()
    assert f"pid {run.pid}" in refused(one, 4, "--ticks", "1")
    run.ready()
    digest = run.stop().summary["digest"]

    line = refused(one, 2, "--ticks", "1", "--seed", "5")
    assert "seed: found 42, configured 5" in line
    line = refused(one, 2, "--ticks", "1", "--scale", "2")
    assert "bloques[0].entidades: found 290, configured 580" in line
    one.configure(small_config(bloques=[*one.config["bloques"][::-1]]))
    assert "does not fit" in refused(one, 2, "--ticks", "1")
    one.configure(small_config())
    assert one.run("--ticks", "0").summary["digest"] == digest


def test_a_world_in_memory_that_does_not_fit_stays(make: Make) -> None:
    one = make()
    run = one.start("--tick-hz", "50").ready().until_tick(3)
    run.process.kill()
    run.process.wait()
    line = refused(one, 2, "--ticks", "1", "--seed", "5")
    assert "does not fit" in line
    assert one.run("--ticks", "1").summary["tick"] >= 4


def test_a_tmpfs_that_is_too_small(make: Make, tmp_path: Path) -> None:
    one = make()
    mount = tmp_path / "small"
    mount.mkdir()
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    mounted = f"mount -t tmpfs -o size=12m none {mount}"
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*namespace, "sh", "-c", mounted], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this system gives no mount namespace to its users")
    one.environment["COREC_RUNTIME_BASE"] = str(mount / "run")
    import sys

    script = (
        f"{mounted} && {sys.executable} -m corec run --ticks 1; code=$?;"
        f" find {mount} -mindepth 1; exit $code"
    )
    done = subprocess.run(
        [*namespace, "sh", "-c", script],
        env=one.environment, capture_output=True, text=True, check=False, cwd=one.home,
        timeout=patient(60),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "bloques" in done.stderr
    assert os.listdir(mount) == []
