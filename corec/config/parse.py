"""From the bytes of a file to plain data, refusing what JSON leaves to luck.

A key written twice, NaN, Infinity, a number beyond a float's range and absurdly long digits are
faults with a path; Python's own parser would take the last, or something near it, in silence.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corec.config.faults import ConfigError, Fault, path_text
from corec.config.reading import content_of

FILE_BYTES_MAX = 16 * 2**20
DIGITS_MAX = 40


@dataclass(frozen=True, slots=True)
class _BadNumber:
    """Stands in the data where a number cannot be used, until its path is known."""

    found: str


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.repeated: list[str] = []
        for name, _ in pairs:
            if name in seen and name not in self.repeated:
                self.repeated.append(name)
            seen.add(name)


def _integer(digits: str) -> int | _BadNumber:
    if len(digits) > DIGITS_MAX:
        return _BadNumber(f"a number of {len(digits)} digits")
    return int(digits)


def _number(text: str) -> float | _BadNumber:
    value = float(text)
    return value if math.isfinite(value) else _BadNumber("a number beyond the range of a float")


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file at ``path``; ``ConfigError`` when there is none that can be used."""
    name = str(path) if str(path).isprintable() else ascii(str(path))
    try:
        content = content_of(path, FILE_BYTES_MAX)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Fault(name, reason.lower(), "a readable JSON file")]) from None
    except ValueError:
        raise ConfigError([Fault(name, "an impossible path", "a JSON file")]) from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError([Fault(name, "a larger file", f"at most {FILE_BYTES_MAX} bytes")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 at offset {error.start}"
        raise ConfigError([Fault(name, found, "JSON in UTF-8")]) from None
    return parse_json(text, name)


def parse_json(text: str, name: str) -> dict[str, Any]:
    """The object in ``text``; ``name`` says in a ``ConfigError`` where the text is from."""
    try:
        data: object = json.loads(
            text,
            object_pairs_hook=_Object,
            parse_constant=_BadNumber,
            parse_int=_integer,
            parse_float=_number,
        )
        faults: list[Fault] = []
        plain = _plain(data, (), faults)
    except json.JSONDecodeError as error:
        found = f"no valid JSON at line {error.lineno} column {error.colno} ({error.msg})"
        raise ConfigError([Fault(name, found, "one JSON object")]) from None
    except RecursionError:
        raise ConfigError([Fault(name, "JSON nested too deeply", "one JSON object")]) from None
    if faults:
        raise ConfigError(faults)
    if not isinstance(plain, dict):
        found = {list: "a list", str: "a string", type(None): "null"}.get(type(plain), "a value")
        raise ConfigError([Fault(name, found, "one JSON object")])
    return plain


def _plain(data: object, location: tuple[str | int, ...], faults: list[Fault]) -> object:
    if isinstance(data, _Object):
        faults.extend(
            Fault(path_text((*location, repeated)), "the key more than once", "each key once")
            for repeated in data.repeated
        )
        for name in data:
            _check_text(name, (*location, name), faults)
        return {name: _plain(inner, (*location, name), faults) for name, inner in data.items()}
    if isinstance(data, list):
        return [_plain(inner, (*location, index), faults) for index, inner in enumerate(data)]
    if isinstance(data, _BadNumber):
        faults.append(Fault(path_text(location), data.found, "a finite number of sensible size"))
    if isinstance(data, str):
        _check_text(data, location, faults)
    return data


def _check_text(text: str, location: tuple[str | int, ...], faults: list[Fault]) -> None:
    """JSON can escape half of a surrogate pair, which no file, database or terminal takes."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        faults.append(Fault(path_text(location), "half of a surrogate pair", "Unicode text"))
