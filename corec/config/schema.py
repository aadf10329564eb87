"""The JSON Schema of the configuration, for editors: ``corec schema`` prints it."""

from __future__ import annotations

import json
import re
from typing import Any

from corec.config.effect import effect_of
from corec.config.keys import ALLOWED, ITEM_ALLOWED
from corec.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema, generated from the model: types, limits, defaults and a sentence per key."""
    schema: dict[str, Any] = {"$schema": DIALECT, "title": "CoreC configuration"}
    generated = Config.model_json_schema(by_alias=True, mode="validation")
    for name, value in generated.items():
        schema.setdefault(name, _readable(value))
    for key, paths in _places(schema, schema, ""):
        key["description"] += f" A change takes effect {_effect(paths)}."
    return schema


def _places(
    schema: dict[str, Any], node: dict[str, Any], prefix: str
) -> list[tuple[dict[str, Any], list[str]]]:
    """Each key's own description, and the paths that it stands at: sections may share one."""
    found: dict[int, tuple[dict[str, Any], list[str]]] = {}
    for name, inner in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        below = [(inner, [path])]
        for target, where in _sections(inner, path):
            below += _places(schema, schema["$defs"][target], where)
        for key, paths in below:
            found.setdefault(id(key), (key, []))[1].extend(paths)
    return list(found.values())


def _effect(paths: list[str]) -> str:
    """When a change of a key takes effect that stands at ``paths``."""
    told = dict.fromkeys(str(effect_of(path)) for path in paths)
    if len(told) == 1:
        return next(iter(told))
    return ", ".join(f"{effect_of(path)} (at {path})" for path in paths)


def _sections(node: Any, path: str) -> list[tuple[str, str]]:
    """Definitions that a key refers to, with the prefix of their keys; each stands in one place."""
    found = json.dumps({k: v for k, v in node.items() if k != "description"})
    several = "[]" if '"items"' in found else ""
    return [(name, f"{path}{several}.") for name in re.findall(r'"#/\$defs/(\w+)"', found)]


def _readable(node: Any) -> Any:
    """Join each key's two sentences into the description that an editor shows."""
    if isinstance(node, list):
        return [_readable(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    readable = {
        name: _readable(inner)
        for name, inner in node.items()
        if name not in (ALLOWED, ITEM_ALLOWED) and not (name == "title" and isinstance(inner, str))
    }
    if ALLOWED in node:
        readable["description"] = f"{node.get('description', '')} Allowed: {node[ALLOWED]}."
    return readable
