"""The JSON Schema of the configuration, for editors: ``corec schema`` prints it."""

from __future__ import annotations

from typing import Any

from corec.config.keys import ALLOWED, ITEM_ALLOWED
from corec.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema, generated from the model: types, limits, defaults and a sentence per key."""
    schema: dict[str, Any] = {"$schema": DIALECT, "title": "CoreC configuration"}
    generated = Config.model_json_schema(by_alias=True, mode="validation")
    for name, value in generated.items():
        schema.setdefault(name, _readable(value))
    return schema


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
