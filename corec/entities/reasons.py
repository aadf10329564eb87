"""Why a processor can't be compiled, in one line its author can act on."""

from __future__ import annotations

import re
from typing import Any

from numba.core import types

_BOILERPLATE = (
    "Failed in ", "During: ", "There are ", "- Of which", "- Resolution", "Overload ", "File ",
    "Raised from", "raised from", "Known signatures", "Enable ", "This error ", "To find out",
    "If you think", "with full type", "No implementation of function", "Overload",
)  # fmt: skip
_FILE = re.compile(r'File "([^"]+)", line (\d+)')
_AT = re.compile(r" at (\S+\.py|<[^>]+>) \((\d+)\)")
_CALL = re.compile(r">>> (.+)")
_KNOWN = re.compile(
    r"(me\.\w+ (?:is not declared|can't be set|can't be seen)[^\n]*"
    r"|me\.[\w.]+ (?:cannot be used|takes )[^\n]*"
    r"|Unknown attribute '[^']*' of type [^\n]*"
    r"|NameError: [^\n]*|Cannot unify [^\n]*|module '[^']*' has no attribute '[^']*'"
    r"|it returns [^\n]*|[Uu]se of unsupported opcode[^\n]*"
    r"|The '[^']*' construct is not supported[^\n]*|[^\n]*\bnot supported\b[^\n]*)"
)
_HINTS = (
    (r"re-entrant to the same function", "it calls itself: write a loop with a limit"),
    (r"exception_match\(", "`except` with a name is not supported: use a plain `except`"),
    (r"context manager", "`with` is not supported"),
    (r"opcode \(IMPORT_NAME\)", "`import` belongs at the top of the module, not into the function"),
    (r"getiter\b.*\(me\.(\w+)\)", r"loop over a history with `for k in range(len(me.\1))`"),
)
_WORDS = {
    "unicode_type": "text",
    "float32": "number",
    "float64": "number",
    "int64": "whole number",
    "uint32": "whole number",
}


def reason(error: BaseException, file_name: str = "") -> str:
    """One line out of a compiler's error: what, and in which line of ``file_name``."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = _type_names(text)
    found = _KNOWN.search(text)
    call = _CALL.search(text)
    if found:
        what = found.group(1)
    elif call:
        what = f"{_plain_types(call.group(1))} is not supported in compiled code"
    else:
        what = _first_line(text) or type(error).__name__
    for pattern, hint in _HINTS:
        match = re.search(pattern, text)
        if match:
            what = match.expand(hint)
            break
    what = what.removeprefix("TypingError: ").removeprefix("NameError: ")
    place = _line(text, file_name)
    return re.sub(r"\.\. Raised from.*|\. Raised from.*", "", what).strip().rstrip(".") + place


def returns_what(returned: Any) -> str | None:
    """What is wrong with the type a processor returns; None when it is a real number."""
    if isinstance(returned, types.Integer | types.Float | types.Boolean):
        return None
    if isinstance(returned, types.NoneType):
        return "it returns nothing: end it with `return <number>`"
    if isinstance(returned, types.Optional):
        return "it returns nothing on some paths: each must end with `return <number>`"
    kind = _plain_types(str(returned)) if not hasattr(returned, "rings") else "me itself"
    return f"it returns {kind}, expected a number"


def _type_names(text: str) -> str:
    text = re.sub(r"History\(Entity<[^>]*>\.(\w+)\)", r"me.\1", text)
    return re.sub(r"Entity<[^>]*>", "me", text)


def _plain_types(text: str) -> str:
    text = re.sub(r"Literal\[str\]\(([^)]*)\)", r"'\1'", text)
    text = re.sub(r"Literal\[int\]\(([^)]*)\)", r"\1", text)
    return re.sub(r"\w+", lambda word: _WORDS.get(word.group(), word.group()), text)


def _first_line(text: str) -> str:
    for line in text.splitlines():
        bare = line.strip()
        if bare and not bare.startswith(_BOILERPLATE):
            return bare
    return ""


def _line(text: str, file_name: str) -> str:
    """`` (file.py, line 7)`` of the deepest place in the user's own files."""
    places = _FILE.findall(text) + _AT.findall(text)
    made = ("site-packages", "/kernels/k_")
    own = [(path, line) for path, line in places if not any(part in path for part in made)]
    base = file_name.rpartition("/")[2]
    for path, line in own:
        name = path.rpartition("/")[2]
        if not base or name == base:
            return f" ({name}, line {line})"
    return ""
