"""The schema file and the documentation say what the model says, key by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from corec.config import Config, json_schema
from corec.config.effect import Effect, changed, effect_of, effects
from corec.config.environment import CREDENTIALS, SECRET_NAMES
from corec.config.explain import known_keys, sections_of
from corec.config.keys import allowed_sentence
from corec.project import HOME

ROOT = Path(__file__).parents[2]
INTO = {"plugins": "plugins.*."} | {
    name: f"{name}[]." for name in ("bloques", "collect", "schedule", "tasks")
}


def walk(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the configuration as the documentation writes it."""
    for name, field in known_keys(model).items():
        yield prefix + name, field
        inner = sections_of(field)
        if inner is not None and not prefix:
            yield from walk(inner, INTO.get(name, f"{name}."))


def test_the_schema_file_is_the_models() -> None:
    text = (ROOT / "configs" / "corec_config.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json_schema(), "write it again with: corec schema"


def test_every_schema_key_has_a_description_and_its_default() -> None:
    schema = json_schema()

    def check(node: dict[str, Any]) -> None:
        required = node.get("required", [])
        for name, inner in node["properties"].items():
            assert inner.get("description"), name
            assert ("default" in inner) != (name in required), name

    check(schema)
    for node in schema["$defs"].values():
        check(node)
    assert "x-allowed" not in json.dumps(schema)


@pytest.mark.parametrize(("path", "field"), list(walk()), ids=lambda value: str(value)[:40])
def test_every_key_is_documented_as_it_is(path: str, field: FieldInfo) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{re.escape(path)}` \| (.*?) \| (.*?) \|", text, re.MULTILINE)
    assert row is not None, f"docs/configuration.md has no row for {path}"
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    if field.is_required():
        assert row[1] == "**required**"
    else:
        default = extra["default"] if field.default_factory else field.default
        assert json.loads(row[1].strip("`")) == json.loads(json.dumps(default))
    assert row[2] == allowed_sentence(field)


def test_every_variable_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in (*SECRET_NAMES, *(f"{n}_FILE" for n in SECRET_NAMES), CREDENTIALS, HOME):
        assert f"`{name}`" in text


def test_every_key_says_when_a_change_takes_effect() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for path, effect in effects().items():
        assert f"| `{path}` | {effect} |" in text, path
    for path, _ in walk():
        effect_of(path)
    assert {path for path in effects() if "." not in path} == set(known_keys(Config))
    schema = json.dumps(json_schema(), ensure_ascii=False)
    assert schema.count("A change takes effect") >= len(effects())


@pytest.mark.parametrize(
    ("path", "effect"),
    [
        ("http.port", Effect.RESTART), ("bloques[3].canal", Effect.NEW_WORLD),
        ("bloques[0].umbral", Effect.LIVE), ("bloques[0].umbral.inicial", Effect.NEW_WORLD),
        ("bloques[12].autoreparacion.max_errores", Effect.LIVE), ("tick_hz", Effect.LIVE),
        ("bloques.sensor_swarm.umbral", Effect.LIVE), ("bloques.a-1.canal", Effect.NEW_WORLD),
    ],
)  # fmt: skip
def test_a_key_goes_with_its_section(path: str, effect: Effect) -> None:
    assert effect_of(path) is effect


def test_what_is_no_key_has_no_effect() -> None:
    with pytest.raises(KeyError):
        effect_of("nobody.knows")


def test_changed_paths_are_as_deep_as_they_can_be() -> None:
    before = {"http": {"port": 1, "host": "a"}, "bloques": [{"id": "a", "umbral": {}}], "seed": 1}
    after = {"http": {"port": 2, "host": "a"}, "bloques": [{"id": "b", "umbral": 0.5}], "seed": 1}
    assert list(changed(before, after)) == ["bloques[0].id", "bloques[0].umbral", "http.port"]
    assert list(changed(before, {**before, "bloques": []})) == ["bloques"]
