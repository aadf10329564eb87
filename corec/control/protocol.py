"""The control socket's protocol, version 1.

A client connects to ``control.sock`` and writes requests; each is one JSON object on one line::

    {"v": 1, "op": "entity", "args": {"id": 17}}

and gets one line back, in the order of its requests::

    {"v": 1, "ok": true, "result": {...}}
    {"v": 1, "ok": false, "code": "bad_request", "error": "what was found, what was expected"}

``v`` may be left out (the newest is meant), ``args`` too. A line, newline included, is at most
1 MiB; a longer one gets an error line and the connection ends, since nobody can tell where the
next request starts. Anything else that is not a request gets an error line and the next line is
read. Codes: ``bad_request`` (not a request, wrong arguments), ``unknown_op``, ``not_found``,
``refused`` (not possible in the present state), ``timeout``, ``busy`` (too many clients),
``failed``.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

VERSION = 1
LINE_BYTES_MAX = 1 << 20
CLIENTS_MAX = 64
_SHOWN_CHARS_MAX: Final = 100


class ControlError(Exception):
    """A request that could not be done; ``code`` is one of the protocol's codes."""

    def __init__(self, message: str, code: str = "failed") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """One request; ``args`` is what the operation checks."""

    op: str
    args: Mapping[str, Any]


def brief(found: object) -> str:
    """``found``, which a client sent, as an error quotes it: short, however long or deep it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = _SHOWN_CHARS_MAX
    return short.repr(found)


def encode_request(op: str, args: Mapping[str, Any]) -> bytes:
    """One request line. Raises ControlError (``bad_request``): JSON can't carry an argument."""
    try:
        line = orjson.dumps({"v": VERSION, "op": op, "args": dict(args)}) + b"\n"
        _check_finite(args)  # they would be null, which is a value, too
        return line
    except TypeError as error:  # bytes of another encoding, a number of more than 64 bits
        raise ControlError(
            f"found an argument that can't be sent: {error}", "bad_request"
        ) from None


def _check_finite(found: object) -> None:
    if isinstance(found, float) and not math.isfinite(found):
        raise TypeError(f"{found}, expected a finite number")
    if isinstance(found, Mapping):
        found = [*found.values()]
    if isinstance(found, list | tuple):
        for one in found:
            _check_finite(one)


def decode_request(line: bytes) -> Request:
    """The request in ``line``; raises ``ControlError`` (``bad_request``)."""
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ControlError(f"found a line that is not JSON ({error})", "bad_request") from None
    if not isinstance(raw, dict):
        raise ControlError("found JSON that is no object", "bad_request")
    version = raw.get("v", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise ControlError(f"found version {brief(version)}, expected {VERSION}", "bad_request")
    op, args = raw.get("op"), raw.get("args", {})
    if not isinstance(op, str) or not isinstance(args, dict):
        raise ControlError('expected "op", a string, and "args", an object', "bad_request")
    unknown = set(raw) - {"v", "op", "args"}
    if unknown:
        raise ControlError(f"found unknown key {brief(min(unknown))}", "bad_request")
    return Request(op, args)


def encode_result(result: Any) -> bytes:
    """The line that answers a request that was done."""
    body = {"v": VERSION, "ok": True, "result": result}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS) + b"\n"


def encode_error(error: ControlError) -> bytes:
    """The line that answers a request that was not done."""
    body = {"v": VERSION, "ok": False, "code": error.code, "error": str(error)}
    return orjson.dumps(body) + b"\n"


def decode_response(line: bytes) -> Any:
    """The result in a response line; raises ``ControlError`` for an error or a broken line."""
    try:
        raw = orjson.loads(line)
        if raw["ok"]:
            return raw["result"]
        error = ControlError(str(raw["error"]), str(raw["code"]))
    except (ValueError, KeyError, TypeError):
        raise ControlError("the instance answered something that is no response") from None
    raise error
