"""The HTTP server of a real nucleus, over real sockets: pages, metrics, readiness."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from corec import layout as L
from corec.http.metric_table import METRICS
from tests.control.handmade import ENTIDADES, SECRET, Running, running
from tests.support.processes import patient, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")
REPO = Path(__file__).parents[2]
DOCUMENT, MONITORING = REPO / "docs" / "metrics.md", REPO / "monitoring"

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running hand-made instance, under a short name: a socket's path is limited."""
    with running(tmp_path_factory.mktemp("one")) as one:
        yield one


def get(one: Running, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    """Status code, content type and text of ``path``."""
    parts = urlsplit(one.url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert SECRET not in text
        return answer.status, answer.headers["Content-Type"], text
    finally:
        connection.close()


def families(one: Running) -> dict[str, Metric]:
    """The metric families of ``/metrics`` by exposed name."""
    code, content_type, text = get(one, "/metrics")
    assert code == 200
    assert content_type.startswith("text/plain; version=")
    found = {}
    for family in parse(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = family
    return found


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    """The one sample of ``name`` with these labels."""
    fitting = [s.value for s in found[name].samples if s.name == name and s.labels == labels]
    assert len(fitting) == 1, (name, labels, found[name].samples)
    return fitting[0]


def test_metrics_are_those_of_the_table(instance: Running) -> None:
    slot = instance.rt.slot(L.SLOT_WORKER0)
    wait_until(lambda: slot.get(L.S_TICK) > 20, "it ticks")
    found = families(instance)
    assert set(found) == set(METRICS)
    for name, described in METRICS.items():
        family = found[name]
        assert family.documentation == described.help
        assert family.type == described.kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(described.labels), name


def test_metric_values(instance: Running) -> None:
    (instance.rt.folder / "broker.json").write_text(
        json.dumps({"out": {"1": 1000, "3": 234}, "in": {"3": 5}, "dead": {}}), encoding="utf-8"
    )
    slot = instance.rt.slot(L.SLOT_WORKER0)
    wait_until(lambda: slot.get(L.S_TICK) > 20, "it ticks")
    found = families(instance)
    assert value(found, "corec_entities") == ENTIDADES
    assert value(found, "corec_ticks_total", worker="1") > 20
    assert value(found, "corec_messages_out_total", canal="1") == 1000
    assert value(found, "corec_messages_in_total", canal="1") == 0
    assert value(found, "corec_messages_dead_total", canal="3") == 0
    assert value(found, "corec_rows_persisted_total") == 56
    assert value(found, "corec_swarm_umbral", swarm="two") == 0.5
    assert value(found, "corec_swarm_fitness", swarm="one") == 1.0
    assert value(found, "corec_process_up", role="broker", index="0") == 1
    assert value(found, "corec_process_resident_memory_bytes", role="nucleus", index="0") > 1e6
    assert value(found, "corec_lane_capacity_bytes", worker="1", lane="rows") > 0
    events = instance.rt.events["nucleus"].used  # what a module has told; nobody drains it
    assert value(found, "corec_lane_used_bytes", worker="nucleus", lane="events") == events
    buckets = [s for s in found["corec_tick_duration_seconds"].samples if s.labels["worker"] == "0"]
    counts = [s.value for s in buckets if s.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert len(counts) == len(L.TICK_BUCKETS_SECONDS) + 1
    assert counts[-1] == next(s.value for s in buckets if s.name.endswith("_count")) > 20


def test_metrics_follow_the_naming_rules(instance: Running) -> None:
    """What ``promtool check metrics`` looks at."""
    _, _, text = get(instance, "/metrics")
    for name, described in METRICS.items():
        assert re.fullmatch(r"corec_[a-z_]+", name)
        assert f"# HELP {name} " in text
        assert f"# TYPE {name} {described.kind}" in text
        assert (described.kind == "counter") == name.endswith("_total")
        assert not re.search(r"_(counter|gauge|histogram|milliseconds|kilobytes|percent)", name)
        assert described.help[0].isupper() or described.help[0].isdigit()
        assert not {"bloque", "entidad", "block", "entity", "pid"} & set(described.labels)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len({line.rpartition(" ")[0] for line in samples})


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing(instance: Running, tmp_path: Path) -> None:
    """In the metrics, in the rules, and in the configuration of the container."""
    config = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    own = tmp_path / "prometheus.yml"
    own.write_text(config.replace("/etc/prometheus", str(MONITORING)), encoding="utf-8")
    rules = str(MONITORING / "alerts.yml")
    _, _, text = get(instance, "/metrics")
    for words, given in (
        (["metrics"], text), (["rules", rules], None), (["config", str(own)], None),
    ):  # fmt: skip
        done = subprocess.run(
            ["promtool", "check", *words], input=given, capture_output=True, text=True,
            timeout=patient(60),
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_openmetrics_on_request(instance: Running) -> None:
    _, content_type, text = get(instance, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    found = list(parse_open(text))  # type: ignore[no-untyped-call]  # it carries no types
    assert len(found) == len(METRICS)


def test_an_odd_version_is_answered(instance: Running) -> None:
    """The library compares them with numbers, and raised: 500, and a traceback in the log."""
    for form in ("application/openmetrics-text", "text/plain"):
        for version in ("a", "1.a", "1..0", "\xb9", "9" * 5000):
            code, _, text = get(instance, "/metrics", f"{form}; version={version}")
            assert (code, "corec_tick_hz" in text) == (200, True), (form, version)


def test_bad_requests_do_not_fill_the_log(instance: Running) -> None:
    """Anybody on this machine can send them, as many as he likes."""
    parts = urlsplit(instance.url)
    before = len(instance.log_text.splitlines())
    for _ in range(50):
        for words in (b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", UPGRADE):
            with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
                connection.sendall(words)
                assert connection.recv(12).startswith(b"HTTP/1.1 ")
    wait_until(lambda: get(instance, "/healthz")[0] == 200, "it answers")
    lines = instance.log_text.splitlines()[before:]
    assert len(lines) < 50, lines[-3:]


def test_every_metric_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`corec_"):
            rows[cells[0].strip("`")] = cells[1:]
    assert set(rows) == set(METRICS)
    for name, (kind, labels, meaning) in rows.items():
        assert kind == METRICS[name].kind
        named = tuple(label.strip(" `") for label in labels.split(",") if label.strip(" `–"))
        assert named == METRICS[name].labels, name
        assert len(meaning) > 10


def test_health_and_the_page(instance: Running) -> None:
    assert get(instance, "/healthz")[0] == 200
    code, content_type, text = get(instance, "/")
    assert (code, content_type) == (200, "text/html; charset=utf-8")
    assert "status.json" in text
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\(", text)
    code, content_type, text = get(instance, "/status.json")
    assert (code, content_type) == (200, "application/json")
    status = json.loads(text)
    # what the page reads
    shown = {"tick", "ticks_per_second", "entity_updates_per_second", "swarms", "lanes"}
    assert shown <= set(status)
    assert get(instance, "/nothing")[0] == 404


def test_ready_says_why_not(instance: Running) -> None:
    rt = instance.rt
    for index in (L.SLOT_PERSISTER, L.SLOT_BROKER):
        wait_until(partial(rt.slot(index).get, L.S_BEAT_NS), "it beats")

    def reasons() -> list[str]:
        code, _, text = get(instance, "/readyz")
        answer = json.loads(text)
        assert (code == 200) == answer["ready"] == (not answer["reasons"])
        return list(answer["reasons"])

    assert reasons() == []
    rt.slot(L.SLOT_BROKER).set(L.S_ERROR, L.REASON_UNREACHABLE)
    assert reasons() == [f"redis: {L.REASON_NAMES[L.REASON_UNREACHABLE]}"]
    rt.slot(L.SLOT_BROKER).set(L.S_ERROR, 0)
    rt.slot(L.SLOT_WORKER0 + 1).set(L.S_UP, 0)
    assert reasons() == ["worker 1 is down"]
    rt.slot(L.SLOT_WORKER0 + 1).set(L.S_UP, 1)
    rt.set(L.C_PAUSED, 1)
    assert reasons() == []
    rt.set(L.C_STOP, L.STOP_TICKS)
    assert reasons() == ["the instance is draining"]


@pytest.mark.slow
def test_not_ready_when_ticks_stop(instance: Running) -> None:
    leader = instance.rt.slot(L.SLOT_WORKER0).get(L.S_PID)
    os.kill(leader, signal.SIGSTOP)
    try:
        wait_until(lambda: get(instance, "/readyz")[0] == 503, "it is not ready", 15.0)
        text = get(instance, "/readyz")[2]
        wait_until(lambda: "no tick was committed" in get(instance, "/readyz")[2], text, 15.0)
        assert "worker 0 is frozen" in text or "no tick" in text
        assert get(instance, "/healthz")[0] == 200
    finally:
        os.kill(leader, signal.SIGCONT)
    wait_until(lambda: get(instance, "/readyz")[0] == 200, "it is ready again")


def test_a_restarted_nucleus_keeps_the_port(instance: Running) -> None:
    before = instance.nucleus
    os.kill(before, signal.SIGKILL)
    # the listen queue holds what arrives meanwhile: no connection is refused
    assert get(instance, "/healthz")[0] == 200
    assert instance.nucleus != before
