"""``corec new`` and ``corec completion``: a project that starts at once, and a shell that helps.

A project is made in a folder that was not there before; when something fails, that folder goes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from corec.config import json_schema
from corec.config.keys import SAFE_NAME, SAFE_NAME_ALLOWED
from corec.project import CONFIGS, DEFAULT_CONFIG

USAGE: Final = 2
SCHEMA: Final = "corec_config.schema.json"
FIRST: Final = '''"""A first entity: a bearing that wears, shakes, and is replaced."""

import corec


@corec.micro(state={"wear": "f4", "replaced": "u4"}, params={"pace": 0.01})
def bearing(me):
    """Its vibration becomes ``valor``; values above the umbral become messages."""
    me.wear = me.wear + me.pace * me.globals.load * me.random()
    if me.wear > 1.0:
        me.wear = 0.0
        me.replaced = me.replaced + 1
    return me.wear**6
'''
TEST: Final = '''"""The bearing, compiled as in the server and as plain Python."""

from first import bearing

from corec.testing import Block, PlainEntity, compare


def test_both_forms_agree():
    assert compare(bearing, ticks=50, globals={"load": 1.0}) > 0


def test_it_is_replaced_when_it_is_worn():
    me = PlainEntity(bearing, wear=0.9999, pace=1.0, globals={"load": 1.0})
    bearing(me)
    assert (me.wear, me.replaced) == (0.0, 1)


def test_a_block_of_them_wears():
    block = Block(bearing, entities=100, globals={"load": 1.0})
    for _ in range(20):
        block.tick()
    assert block.view.column("wear").min() > 0.0
'''
COMPOSE: Final = """# A PostgreSQL and a Valkey in containers, instead of those CoreC starts itself:
#
#   docker compose up -d
#   set -a; . ./.env; set +a
#   corec run
services:
  postgres:
    image: postgres:18
    environment:
      POSTGRES_USER: corec
      POSTGRES_DB: corec
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}
    ports: ["127.0.0.1:5432:5432"]
    volumes: ["postgres:/var/lib/postgresql"]
  valkey:
    image: valkey/valkey:9
    command: ["valkey-server", "--requirepass", "${REDIS_PASSWORD}", "--appendonly", "yes"]
    ports: ["127.0.0.1:6379:6379"]
    volumes: ["valkey:/data"]
volumes:
  postgres:
  valkey:
"""
IGNORED: Final = "/var/\n/.env\n/.venv/\n__pycache__/\n.pytest_cache/\n"
PYTEST: Final = "[pytest]\ntestpaths = tests\npythonpath = plugins\n"
README: Final = """# {name}

    corec run                  # starts it, with a PostgreSQL and a Valkey of its own
    corec-ctl status           # in another terminal; also: blocks, entity 42, doctor
    corec-ctl set globals.load 2.0
    corec check                # the configuration and the processors, nothing is started
    pytest                     # tests/test_first.py

`configs/corec_config.json` says what lives here, `plugins/first.py` how, `compose.yaml` has
servers in containers.
"""


def _config(name: str) -> dict[str, Any]:
    return {
        "$schema": f"./{SCHEMA}",
        "instance_id": name,
        "db_config": {"embedded": True},
        "redis_config": {"embedded": True},
        "globals": {"load": 1.0},
        "bloques": [
            {"id": "bearings", "canal": 7, "entidades": 10_000, "procesador": "first:bearing"}
        ],
    }


def _env() -> str:
    postgres, valkey = secrets.token_hex(16), secrets.token_hex(16)
    return (
        f"POSTGRES_PASSWORD={postgres}\nREDIS_PASSWORD={valkey}\n"
        f"COREC_DB_URL=postgresql://corec:{postgres}@127.0.0.1:5432/corec\n"
        f"COREC_REDIS_URL=redis://:{valkey}@127.0.0.1:6379/0\n"
    )


def _files(name: str) -> dict[str, str]:
    def as_text(data: Any) -> str:
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"

    return {
        str(DEFAULT_CONFIG): as_text(_config(name)),
        f"{CONFIGS}/{SCHEMA}": as_text(json_schema()),
        "plugins/first.py": FIRST,
        "tests/test_first.py": TEST,
        "compose.yaml": COMPOSE,
        "pytest.ini": PYTEST,
        ".gitignore": IGNORED,
        "README.md": README.format(name=name),
        ".env": _env(),
    }


def _write(folder: Path, path: str, text: str) -> None:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if path == ".env" else 0o666
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _refuse(text: str, code: int) -> typer.Exit:
    print(f"corec: {text}", file=sys.stderr)
    return typer.Exit(code)


def new(
    name: Annotated[
        Path, typer.Argument(metavar="NAME", help="The folder; its name is the instance_id.")
    ],
) -> None:
    """Make a project: configuration, a first entity with its test, a compose file."""
    known = name.name
    if not re.fullmatch(SAFE_NAME, known):
        raise _refuse(f"NAME: found {str(name)!r}, allowed {SAFE_NAME_ALLOWED}", USAGE)
    try:
        name.mkdir()
    except FileExistsError:
        raise _refuse(f"NAME: {name} is there already, expected a new name", USAGE) from None
    except OSError as error:
        raise _refuse(f"NAME: {name}: {error.strerror}", USAGE) from None
    try:
        for path, text in _files(known).items():
            _write(name, path, text)
    except BaseException as error:
        shutil.rmtree(name, ignore_errors=True)
        if isinstance(error, OSError):
            raise _refuse(f"{name}: {error.strerror}; nothing was left there", 1) from None
        raise
    print(f"{name} is made; go on with:\n\n  cd {name}\n  corec run")


class Shell(StrEnum):
    """Those that are helped."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")],
) -> None:
    """Print what completes corec and corec-ctl in a shell: eval "$(corec completion bash)"."""
    from typer import completion as typers

    for program in ("corec", "corec-ctl"):
        variable = f"_{program.replace('-', '_')}_complete".upper()
        script = typers.get_completion_script  # type: ignore[attr-defined]  # it is not in __all__
        print(script(prog_name=program, complete_var=variable, shell=shell.value))
