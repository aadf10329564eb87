"""What is wrong with a configuration, in one line per fault, never showing a secret."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+\Z")
_SHOWN_CHARS_MAX = 80
_FOUND_CHARS_MAX = 300
"""Of any text that was found: what an import raised, or a whole expression, and still one line."""

# Whatever is written under these keys may be a password put in the wrong place.
_SECRET_SECTIONS = frozenset({"db_config", "redis_config"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where it is (``bloques[0].canal``), what was found, what is allowed there."""

    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{_short(self.path)}: found {_short(self.found)}, allowed {self.allowed}"


def _short(text: str) -> str:
    if len(text) <= _FOUND_CHARS_MAX:
        return text
    return f"{text[:_SHOWN_CHARS_MAX]}… ({len(text)} characters)"


class ConfigError(Exception):
    """The configuration cannot be used; ``str()`` is one line per fault."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: list[Fault] = list(dict.fromkeys(faults))
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


def path_text(location: Sequence[str | int]) -> str:
    """``("bloques", 0, "canal")`` as ``bloques[0].canal``; an odd key is quoted like in JSON."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) > _SHOWN_CHARS_MAX:
            text += f"[{json.dumps(f'{part[:_SHOWN_CHARS_MAX]}…', ensure_ascii=False)}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text or "the file"


def found_text(value: object, location: Sequence[str | int]) -> str:
    """A short JSON-like rendering of ``value`` that cannot carry a secret or a line break."""
    if isinstance(value, str):
        if is_secret_place(location) or "://" in value or "@" in value:
            return "a string (not shown: it may hold a secret)"
        if len(value) > _SHOWN_CHARS_MAX:
            return f"a string of {len(value)} characters"
        return json.dumps(value)
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if _is_password_place(location):
            return "a number (not shown: it may be a secret)"
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else "a number that is not finite"
        return str(value) if abs(value) < 10**40 else "a number too large to show"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"a value of type {type(value).__name__}"


def is_secret_place(location: Sequence[str | int]) -> bool:
    """True where a string must not be repeated: the servers' sections and secret variables."""
    return bool(location) and (location[0] in _SECRET_SECTIONS or _is_password_place(location))


def _is_password_place(location: Sequence[str | int]) -> bool:
    last = str(location[-1]).lower() if location else ""
    return any(word in last for word in ("password", "secret", "token", "url"))
