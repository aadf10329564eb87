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
    _tell_effects(schema, schema, "")
    return schema


def _tell_effects(schema: dict[str, Any], node: dict[str, Any], prefix: str) -> None:
    """Say at each key when a change of it takes effect."""
    for name, inner in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        told = f" A change takes effect {effect_of(path)}."
        if not inner["description"].endswith(told):  # two keys may share one definition
            inner["description"] += told
        for target, where in _sections(inner, path):
            _tell_effects(schema, schema["$defs"][target], where)


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
