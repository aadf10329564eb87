"""The command as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.replay.support import Server, read_stream
from tests.support.processes import patient, wait_until

REPOSITORY = Path(__file__).parents[2]
NAB = REPOSITORY.parent / "shared" / "data" / "nab"
RUN = (
    "import typer; from corec.replay.command import replay;"
    " app = typer.Typer(); app.command()(replay); app()"
)
COMPLETION = ("--install-completion", "--show-completion")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_leaks")]


def start(folder: Path, *arguments: object, **environ: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **environ}
    variables.setdefault("COREC_RUNTIME_BASE", str(folder / "nothing-runs"))
    variables.pop("COREC_REDIS_URL", None) if "COREC_REDIS_URL" not in environ else None
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(folder: Path, *arguments: object, **environ: str) -> tuple[int, str, str]:
    process = start(folder, *arguments, **environ)
    out, err = process.communicate(timeout=patient(60))
    return process.returncode, out, err


@pytest.fixture
def work(tmp_path: Path) -> Path:
    rows = "".join(f"2020-01-01 00:{minute:02}:00,{minute}\n" for minute in range(0, 60, 5))
    (tmp_path / "a.csv").write_text("timestamp,value\n" + rows + "2020-01-01 00:55:00,1\n")
    (tmp_path / "b.csv").write_text(rows.replace(",", ",1"))
    (tmp_path / "configs").mkdir()
    write_config(tmp_path, {"embedded": True})
    return tmp_path


def write_config(work: Path, redis_config: dict[str, Any]) -> None:
    config = {
        "instance_id": "plant",
        "redis_config": redis_config,
        "state_dir": str(work / "state"),
        "bloques": [
            {"id": "first", "canal": 1, "entidades": 10},
            {"id": "other", "canal": 2, "entidades": 5},
            {"id": "second", "canal": 1, "entidades": 4},
        ],
    }
    (work / "configs" / "corec_config.json").write_text(json.dumps(config))


def counted(folder: Path) -> tuple[int, int, int]:
    """Files, lines below their headers, and lines with the time of the line before."""
    files = sorted(folder.rglob("*.csv"))
    rows = repeated = 0
    for file in files:
        times = [line.partition(",")[0] for line in file.read_text().splitlines()[1:]]
        rows += len(times)
        repeated += sum(one == other for one, other in pairwise(times))
    return len(files), rows, repeated


def test_the_summary_is_what_the_stream_holds(work: Path, server: Server) -> None:
    code, out, err = run(work, "a.csv", "b.csv", "--canal", 1, "--speed", 0, "--url", server.url,
                         "--json")  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    with server.client() as client:
        entries = read_stream(client, "corec:{plant}:in:1")
        ids = [entry_id.decode() for entry_id, _ in client.xrange("corec:{plant}:in:1")]
    messages = np.concatenate(entries)
    assert summary["readings"] == len(messages) == 14 * 12
    assert summary["bytes"] == 10 * len(messages)
    assert summary["entries"] == len(entries) == summary["rounds"] == 12
    assert [summary["first_id"], summary["last_id"]] == [ids[0], ids[-1]]
    assert summary["series"] == 2
    assert summary["entities"] == 14
    assert summary["skipped"] == {"repeated_timestamp": 1}
    assert summary["interrupted"] is False
    assert summary["readings_per_second"] > 0
    # the bloques of canal 1 have the ids 0-9 and 15-18
    assert sorted(set(messages["id"].tolist())) == [*range(10), *range(15, 19)]
    assert "a.csv: skipped 1 repeated_timestamp (line 14)" in err


PAIRS = '''"""A processor of two values."""

import corec


@corec.celu(value={"t": "f4", "h": "f4"})
def pair(me, v):
    """The sum."""
    return v.t + v.h
'''
FORM = np.dtype([("id", ">u4"), ("t", ">f4"), ("h", ">f4")])


@pytest.mark.parametrize("columns", [[], ["--value", "temp,h"]])
def test_columns_become_values(work: Path, server: Server, columns: list[str]) -> None:
    """By their names, or as it is said; a row counts when each of them has a number."""
    (work / "plugins").mkdir()
    (work / "plugins" / "pairs.py").write_text(PAIRS)
    path = work / "configs" / "corec_config.json"
    config = json.loads(path.read_text())
    config["bloques"] = [{"id": "a", "canal": 1, "entidades": 3, "procesador": "pairs:pair"}]
    path.write_text(json.dumps(config))
    name = "temp" if columns else "t"
    (work / "c.csv").write_text(
        f"timestamp,h,note,{name}\n2020-01-01 00:00:00,1,x,10\n2020-01-01 00:05:00,2,x,20\n"
        "2020-01-01 00:10:00,,x,30\n2020-01-01 00:15:00,4,x,oops\n2020-01-01 00:20:00,5,x,50\n"
    )
    code, out, err = run(work, "c.csv", "--canal", 1, "--speed", 0, "--url", server.url,
                         "--json", *columns)  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    with server.client() as client:
        entries = [fields[b"v"] for _, fields in client.xrange("corec:{plant}:in:1")]
    found = np.frombuffer(b"".join(entries), FORM)
    assert summary["readings"] == len(found) == 9
    assert sorted({(float(one["t"]), float(one["h"])) for one in found}) == [
        (10, 1), (20, 2), (50, 5)
    ]  # fmt: skip
    assert found["id"].tolist() == [0, 1, 2] * 3
    assert summary["skipped"] == {"not_a_number": 1, "empty_value": 1}
    code, _, err = run(work, "c.csv", "--canal", 1, "--value", "h", "--dry-run")
    assert code == 2
    assert "--value h: found 1 columns; the entities of canal 1 take 2 values: t, h" in err


def test_map_limit_rate_and_loop(work: Path, server: Server) -> None:
    code, out, err = run(work, "a.csv", "--canal", 1, "--map", "3:2,12", "--rate", 1000, "--loop",
                         0, "--limit", 250, "--url", server.url, "--json")  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    assert summary["readings"] == 250
    assert summary["seconds"] >= 0.24
    assert "1 of the ids in --map are not on this canal" in err


def test_dry_run_needs_no_server(work: Path) -> None:
    code, out, _ = run(work, ".", "--canal", 1, "--dry-run", "--speed", 0)
    assert code == 0
    assert "would replay 24 rows of 2 series for 14 entities: 168 readings" in out
    code, out, _ = run(work, ".", "--canal", 1, "--dry-run", "--speed", 1, "--json")
    assert json.loads(out)["step_seconds"] == 300.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_summary_so_far(
    work: Path, server: Server, number: signal.Signals
) -> None:
    process = start(work, "a.csv", "--canal", 1, "--speed", 3000, "--loop", 0, "--url", server.url,
                    "--json")  # fmt: skip
    with server.client() as client:
        wait_until(lambda: client.xlen("corec:{plant}:in:1") >= 2, "it plays")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        summary = json.loads(out)
        assert summary["interrupted"] is True
        assert summary["entries"] == client.xlen("corec:{plant}:in:1")
        assert client.keys() == [b"corec:{plant}:in:1"]


def test_drain_waits_for_the_instance(work: Path, server: Server) -> None:
    with server.client() as client:
        client.hset("corec:{plant}:pos", "in:1", "0-0")
        process = start(work, "a.csv", "--canal", 1, "--speed", 0, "--url", server.url, "--drain",
                        "--json")  # fmt: skip
        wait_until(lambda: client.xlen("corec:{plant}:in:1") == 12, "it has published")
        assert process.poll() is None
        client.hset("corec:{plant}:pos", "in:1", "9999999999999-0")
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert json.loads(out)["applied"] is True


def test_the_server_comes_from_config_or_environment(work: Path, server: Server) -> None:
    write_config(work, {"url": server.url})
    assert run(work, "a.csv", "--canal", 2, "--speed", 0)[0] == 0
    code, _, err = run(work, "a.csv", "--canal", 1, "--speed", 0, "--instance", "mill", "--map", 7,
                       COREC_REDIS_URL=server.url)  # fmt: skip
    assert code == 0, err
    with server.client() as client:
        assert client.xlen("corec:{plant}:in:2") == 12
        assert client.xlen("corec:{mill}:in:1") == 12


def test_a_pipe_is_waited_for_and_it_is_said(work: Path) -> None:
    os.mkfifo(work / "pipe")
    with ThreadPoolExecutor(1) as beside:
        beside.submit((work / "pipe").write_text, "1,2\n2,3\n")
        code, out, err = run(work, "pipe", "--canal", 1, "--dry-run", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 2)
    assert "pipe: read to its end before it is played" in err


def test_an_unreachable_server_is_one_line(work: Path, free_port: int) -> None:
    url = f"redis://me:s3cret@127.0.0.1:{free_port}"
    code, out, err = run(work, "b.csv", "--canal", 1, "--url", url, "--json")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"Redis at 127.0.0.1:{free_port}: " in err
    assert "refused" in err
    assert "s3cret" not in err


def test_an_embedded_server_that_does_not_run(work: Path) -> None:
    code, _, err = run(work, "b.csv", "--canal", 1)
    assert code == 1
    assert "running" in err
    assert "--url" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.csv", "--canal", "1"], "gone.csv: no such file"),
        (["bad.csv", "--canal", "1"], "bad.csv: no usable row"),
        (["b.csv", "--canal", "9"], "no bloque of plant has this canal; it has 1, 2"),
        (["b.csv", "--canal", "300"], "--canal"),
        (["b.csv", "--canal", "1", "--map", "9-2"], "--map '9-2'"),
        (["b.csv", "--canal", "1", "--speed", "nan"], "--speed"),
        (["b.csv", "--canal", "1", "--speed", "-1"], "--speed"),
        (["b.csv", "--canal", "1", "--config", "nope.json"], "nope.json"),
        (["b.csv", "--canal", "1", "--url", "ftp://h"], "the Redis URL cannot be read"),
        (["b.csv", "--canal", "1", "--instance", "x", "--url", "redis://h"], "which entities?"),
        (["--canal", "1"], "FILES"),
    ],
)
def test_usage_errors(work: Path, arguments: list[str], said: str) -> None:
    (work / "bad.csv").write_text("timestamp,value\nx,y\n")
    code, out, err = run(
        work, *arguments, *([] if "--url" in arguments else ["--url", "unix:///x"])
    )
    assert (code, out) == (2, "")
    assert said.lower() in err.lower()
    assert "Traceback" not in err


def test_every_option_is_documented(work: Path) -> None:
    code, out, _ = run(work, "--help")
    assert code == 0
    page = (REPOSITORY / "docs" / "replay.md").read_text()
    options = set(re.findall(r"--[a-z-]+", out)) - {"--help", *COMPLETION}
    assert len(options) > 12
    assert {option for option in options if option not in page} == set()


@pytest.mark.needs_shared
@pytest.mark.skipif(not NAB.is_dir(), reason="the NAB series lie beside the checkout")
def test_the_real_series(work: Path, server: Server) -> None:
    code, out, err = run(work, NAB, "--canal", 1, "--map", "0:980000", "--limit", 4_000_000,
                         "--speed", 0, "--url", server.url, "--json")  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    files, rows, repeated = counted(NAB)
    assert summary["series"] == files
    assert summary["rows"] == rows - repeated
    assert summary["skipped"] == {"repeated_timestamp": repeated}
    assert summary["readings"] == 4_000_000
    with server.client() as client:
        messages = np.concatenate(read_stream(client, "corec:{plant}:in:1"))
    assert (messages["id"][:980_000] == np.arange(980_000)).all()
    assert np.isfinite(messages["valor"]).all()
    assert summary["readings_per_second"] > 1_000_000
