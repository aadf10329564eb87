"""The container's files: their steps run here as far as they can, what they name is there.

There is no Docker where the tests run: the image's RUN lines run in a folder of the test's own,
with its paths moved there. What they would fetch, the packages of requirements.lock, is this
environment's own instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import redis

from corec.config import load_config
from corec.embedded.wheels import valkey_program
from tests.support.processes import patient, wait_until

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def lines(word: str) -> list[str]:
    """What follows ``word`` in the Dockerfile's lines."""
    return re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)


@pytest.mark.slow
def test_the_steps_of_the_image(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "opt" / "corec"
    source.mkdir()
    for line in lines("COPY"):
        *names, _ = line.split()
        for name in names if not line.startswith("--from") else ():
            path = ROOT / name
            put = source / path.name
            if path.is_dir():
                shutil.copytree(path, put, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, put)
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                   "HOME": str(tmp_path), "PIP_NO_INPUT": "1"}  # fmt: skip
    ran = []
    for step in lines("RUN"):
        if step.startswith("useradd"):
            continue  # needs root, and changes this machine
        command = step.replace("/opt/corec", str(target))
        ran.append(command)
        if "requirements.lock" in command:
            site = next(target.glob("lib/python*/site-packages"))
            (site / "locked.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
            continue
        done = subprocess.run(
            ["sh", "-ec", command], cwd=source, env=environment, capture_output=True, text=True,
            timeout=patient(120), check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert len(ran) == 4
    done = subprocess.run(
        [target / "bin" / "corec", "schema"], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=patient(60), check=True,
    )  # fmt: skip
    shown = json.loads(done.stdout)
    assert shown == json.loads((ROOT / "configs" / "corec_config.schema.json").read_text())
    (package,) = target.glob("lib/python*/site-packages/corec")
    assert (package / "__init__.py").exists()
    assert not (package / "lab").exists(), "the laboratory is no part of an installation"
    for name in ("bench", "chaos"):
        done = subprocess.run(
            [target / "bin" / "corec", name, "--seed", "1"], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=patient(60), check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr == (
            f"corec {name}: found no corec.lab in this installation, expected a checkout of CoreC: "
            f"there, bash run.sh {name}\n"
        )
    for line in lines("CMD") + lines("ENTRYPOINT"):
        assert (target / "bin" / json.loads(line.removeprefix("CMD "))[0]).exists() or "run" in line


def test_the_image_is_locked_and_not_roots() -> None:
    (install,) = (line for line in lines("RUN") if "requirements.lock" in line)
    assert "--require-hashes" in install
    assert lines("USER") == ["corec"]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {n for line in lines("COPY") if "--from" not in line for n in line.split()[:-1]}
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == {
        name.removeprefix("./") for name in copied
    }


def test_the_configuration_of_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        secret = tmp_path / name
        secret.write_text(f"of {name}\n")
        monkeypatch.setenv(f"{name}_FILE", str(secret))
    config = load_config(ROOT / "configs" / "container.json")
    assert not config.db.embedded
    assert "of POSTGRES_PASSWORD" in config.db.conninfo()
    assert "of%20REDIS_PASSWORD" in config.redis.connection_url()
    assert config.http.hosts == ("corec",), "the name that Prometheus asks for"


def test_what_compose_names_is_there() -> None:
    for path in re.findall(r"- (\./[^:]+):", COMPOSE):
        assert (ROOT / path).is_file() or (ROOT / path / "my_first.py").is_file(), path
    for path in re.findall(r"file: (\./\S+)}", COMPOSE):
        assert path.startswith("./secrets/")
    assert "/secrets/" in (ROOT / ".gitignore").read_text().split()
    for port in re.findall(r'ports: \["([^"]+)"\]', COMPOSE):
        assert port.startswith("127.0.0.1:"), "only this machine reaches it"


def test_compose_is_one() -> None:
    yaml: Any = pytest.importorskip("yaml")
    said = yaml.safe_load(COMPOSE)
    for name, service in said["services"].items():
        assert ("healthcheck" in service) != (name == "corec"), name  # the image's own
        assert set(service.get("secrets", ())) <= said["secrets"].keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source.startswith("./") or source in said["volumes"], volume
        for other in service.get("depends_on", ()):
            assert other in said["services"]
    assert said["services"]["corec"]["shm_size"] == "2gb"
    plugins = "./plugins:/etc/corec/plugins:ro"
    (config,) = (one for one in said["services"]["corec"]["volumes"] if "container.json" in one)
    beside = Path(config.split(":")[1]).parent / "plugins"
    for name in ("corec", "worker"):
        assert plugins in said["services"][name]["volumes"], name
    worker = said["services"]["worker"]
    assert worker["environment"]["PYTHONPATH"] == str(beside) == plugins.split(":")[1]
    (command,), (_, check) = worker["command"], worker["healthcheck"]["test"]
    url = re.compile(r"COREC_REDIS_URL=\S+ \S+")  # has blanks: $$(cat …)
    assert url.findall(command) == url.findall(check) != []
    assert "celery -A corec.core.celery_app inspect ping" in check
    config_of_image = json.loads((ROOT / "configs" / "container.json").read_text())
    assert worker["environment"]["COREC_INSTANCE"] == config_of_image["instance_id"]


@pytest.mark.slow
def test_valkey_of_compose_has_its_password_and_shows_it_to_nobody(tmp_path: Path) -> None:
    service = COMPOSE.partition("\n  valkey:\n")[2].partition("\n\n")[0]
    assert "\n    user: valkey" in service, "not root"
    (words,) = re.findall(r"command:\n((?:      - .+\n)+)", service)
    shell, option, text = (word.strip().removeprefix("- ") for word in words.splitlines())
    secret, server = tmp_path / "redis", valkey_program()
    secret.write_text("of the test\n".replace(" ", "-"))
    for there, here in (
        ("$$", "$"), ("/run/secrets/redis", secret), ("/tmp/auth.conf", tmp_path / "auth.conf"),
        ("exec valkey-server", f"exec {server}"),
    ):  # fmt: skip
        assert there in text
        text = text.replace(there, str(here))
    socket = tmp_path / "s"
    words = [shell, option, f"{text} --port 0 --unixsocket {socket} --dir {tmp_path}"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis(unix_socket_path=str(socket), password="of-the-test") as client:
                wait_until(lambda: socket.exists() and client.ping(), "it answers", 30.0)
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                assert b"valkey-server" in shown
                assert b"of-the-test" not in shown
            with (
                redis.Redis(unix_socket_path=str(socket)) as nobody,
                pytest.raises(redis.AuthenticationError),
            ):
                nobody.ping()
            assert (tmp_path / "auth.conf").stat().st_mode & 0o077 == 0
        finally:
            process.terminate()


def test_grafana_asks_the_database() -> None:
    yaml: Any = pytest.importorskip("yaml")
    services = yaml.safe_load(COMPOSE)["services"]
    sources = yaml.safe_load((ROOT / "monitoring" / "grafana" / "datasources.yml").read_text())
    (source,) = (one for one in sources["datasources"] if "postgresql" in one["type"])
    secret = source["secureJsonData"]["password"].removeprefix("$__file{/run/secrets/")
    assert secret.removesuffix("}") in services["grafana"]["secrets"]
    server = services["postgres"]["environment"]
    assert source["user"] == server["POSTGRES_USER"]
    assert source["jsonData"]["database"] == server["POSTGRES_DB"]
    assert source["url"] == "postgres:5432"
    said = json.loads((ROOT / "monitoring" / "grafana-tables.json").read_text())
    (variable,) = said["templating"]["list"]
    assert variable["query"] == source["type"]
    asked = [target for panel in said["panels"] for target in panel["targets"]]
    for target in asked:
        assert target["datasource"] == {"type": source["type"], "uid": f"${{{variable['name']}}}"}
    assert len(asked) == 2
