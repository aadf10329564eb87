"""How a configuration key is declared: its type, what is allowed, what it does, its default.

The sentence after "allowed" in an error, the JSON Schema's descriptions and the tests of the
documentation all come from the one declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

# The name under which a field carries its "allowed" sentence (schema.py takes it out again).
ALLOWED = "x-allowed"
ITEM_ALLOWED = "x-item-allowed"

EVERY_MAX = 1_000_000_000
"""Of a key that says of how many ticks, rows or generations each one is meant."""

SAFE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
SAFE_NAME_ALLOWED = (
    "1 to 64 of the letters A-Z a-z, digits, '_', '.', '-', not starting with '.' or '-'"
)


class Section(BaseModel):
    """A frozen part of the configuration in which every key is known by name."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=False,
        allow_inf_nan=False,
    )


def key(
    allowed: str,
    does: str,
    default: Any = ...,
    *,
    item: str | None = None,
    strict: bool | None = None,
    factory: Callable[[], Any] | None = None,
    **limits: Any,
) -> Any:
    """Declare one key: the sentence that says what is allowed, and the one saying what it does.

    ``item`` is the sentence for one item of a list or one value of an object with free keys.
    ``limits`` are pydantic's (``ge``, ``le``, ``pattern``, ``alias``…). ``strict`` is for numbers
    and booleans: with it "10" is no number and true no integer.
    """
    limits["json_schema_extra"] = {ALLOWED: allowed, ITEM_ALLOWED: item or allowed}
    if factory is not None:
        made = factory()
        shown = made.model_dump(exclude_unset=True) if isinstance(made, BaseModel) else made
        limits["json_schema_extra"]["default"] = shown
        return Field(default_factory=factory, description=does, strict=strict, **limits)
    return Field(default, description=does, strict=strict, **limits)


def allowed_sentence(field: FieldInfo, *, item: bool = False) -> str:
    """What ``field``, or one item of it, allows, in the words of its declaration."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("a configuration field must be declared with corec.config.keys.key")
    return str(extra[ITEM_ALLOWED if item else ALLOWED])
