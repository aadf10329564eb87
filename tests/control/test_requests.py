"""Requests that change nothing, garbage among them, all to one instance: it answers to the end."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from corec.control.client import Client
from corec.control.protocol import LINE_BYTES_MAX, ControlError
from tests.control.handmade import Running, running

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for all of them; its nucleus is the first one to the end."""
    with running(tmp_path_factory.mktemp("one")) as one:
        yield one
        with Client(one.socket) as client:
            assert client.ask("status")["processes"][0]["restarts"] == 0


def raw_lines(one: Running, *pieces: bytes) -> list[dict[str, Any]]:
    """What the socket answers to raw bytes, as long as it answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(one.socket))
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while chunk := client.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
    return [json.loads(line) for line in received.splitlines()]


def test_socket_is_private(instance: Running) -> None:
    assert stat.S_IMODE(instance.socket.stat().st_mode) == 0o600


def test_unknown_op_names_those_there_are(instance: Running) -> None:
    with (
        Client(instance.socket) as client,
        pytest.raises(ControlError, match=r"not available in this version.*status") as error,
    ):
        client.ask("upgrade")
    assert error.value.code == "unknown_op"


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"hello",
        b"[]",
        b"{}",
        b'{"op": 3}',
        b'{"op": "status", "args": []}',
        b'{"op": "status", "v": 2}',
        b'{"op": "status", "v": true}',
        b'{"op": "status", "args": {"x": 1}}',
        b'{"op": "status", "more": 1}',
        b"[" * 100_000,
    ],
)
def test_garbage_gets_an_error_line_and_the_next_request_its_answer(
    instance: Running, line: bytes
) -> None:
    answers = raw_lines(instance, line + b"\n", b'\n{"op": "workers"}\n')
    assert [answer["ok"] for answer in answers] == [False, True]
    assert answers[0]["code"] == "bad_request"
    assert answers[0]["error"]


@pytest.mark.parametrize(
    "odd", [b"[" * 1000 + b"]" * 1000, b'"' + b"9" * 900_000 + b'"', b'"a:' + b"9" * 5000 + b'"']
)
@pytest.mark.parametrize(
    "request_with",
    [
        b'{"v": %s, "op": "status"}',
        b'{"op": "entity", "args": {"id": %s}}',
        b'{"op": "block", "args": {"id": %s}}',
        b'{"op": "set", "args": {"path": %s, "value": 1}}',
        b'{"op": "set", "args": {"path": "carga", "value": %s}}',
        b'{"op": "step", "args": {"ticks": %s}}',
    ],
)
def test_a_deep_or_long_value_is_refused_in_a_short_line(
    instance: Running, request_with: bytes, odd: bytes
) -> None:
    (answer,) = raw_lines(instance, request_with % odd + b"\n")
    assert answer["code"] in ("bad_request", "not_found")
    assert "found " in answer["error"] or "no block " in answer["error"]
    assert len(answer["error"]) < 400


@pytest.mark.parametrize("block", ["one:\u0660", "one:00000000000", "one:+0", "one:", "one"])
def test_a_block_is_named_in_plain_digits(instance: Running, block: str) -> None:
    with Client(instance.socket) as client:
        with pytest.raises(ControlError, match="no block ") as refused:
            client.ask("block", {"id": block})
        assert client.ask("block", {"id": "one:00000"})["id"] == "one:00000"
    assert refused.value.code == "not_found"


def test_a_line_too_long_ends_its_connection_only(instance: Running) -> None:
    with Client(instance.socket) as other:
        answers = raw_lines(instance, b"x" * (LINE_BYTES_MAX + 10) + b"\n", b'{"op": "workers"}\n')
        assert [answer["code"] for answer in answers[:1]] in ([], ["bad_request"])
        assert len(answers) <= 1
        assert other.ask("workers")["workers"]


def test_a_cut_line_is_an_error(instance: Running) -> None:
    assert [a["code"] for a in raw_lines(instance, b'{"op": "sta')] == ["bad_request"]
