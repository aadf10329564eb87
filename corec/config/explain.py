"""pydantic's errors in the words of the configuration: path, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from corec.config.faults import Fault, found_text, path_text
from corec.config.keys import allowed_sentence

_NOTHING = object()


def explain(
    error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel]
) -> Iterator[Fault]:
    """One fault per key at fault in ``raw``; errors of the model as a whole are left out."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    for detail in details:
        location = detail["loc"]
        if not location:
            continue
        if detail["type"] == "extra_forbidden":
            yield _unknown(location, model)
            continue
        field, place, item = _field_at(location, model, raw)
        value = _value_at(place, raw)
        depth = len(place)
        if isinstance(value, list) and any(
            len(other["loc"]) > depth and other["loc"][:depth] == place for other in details
        ):
            continue  # "too short", but only because its items are faulty: they are named already
        yield Fault(
            path_text(place),
            "nothing" if value is _NOTHING else found_text(value, place),
            allowed_sentence(field, item=item),
        )


def sections_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model in ``field``'s type, wherever it stands in it (``tuple[Model, ...]``…)."""
    pending: list[Any] = [field.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending.extend(get_args(annotation))
    return None


def known_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of ``model`` as they are written in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _unknown(location: Sequence[str | int], model: type[BaseModel]) -> Fault:
    name = str(location[-1])
    keys = list(known_keys(_model_at(location[:-1], model)))
    elsewhere = list(_places_of(name, model))
    # a letter more or less is a slip of the pen, whatever key some other section has
    nearest = difflib.get_close_matches(name, keys, n=1, cutoff=0.85 if elsewhere else 0.6)
    places = f"in another place: {', '.join(elsewhere)}"
    if nearest:
        allowed = f'"{nearest[0]}" (the nearest known key)' + f", or {places}" * bool(elsewhere)
    elif elsewhere:
        allowed = places
    else:
        allowed = f"only {', '.join(keys)}"
    return Fault(path_text(location), "an unknown key", allowed)


def _places_of(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Where a key called ``name`` is known, at the top level or in one of its sections."""
    if name in known_keys(model):
        yield name
    for section, field in known_keys(model).items():
        inner = sections_of(field)
        if inner is not None and name in known_keys(inner):
            several = get_origin(field.annotation) is tuple
            yield f"{section}{'[]' if several else ''}.{name}"


def _model_at(location: Sequence[str | int], model: type[BaseModel]) -> type[BaseModel]:
    for part in location:
        field = known_keys(model).get(str(part))
        inner = None if field is None else sections_of(field)
        model = inner or model
    return model


def _field_at(
    location: Sequence[str | int], model: type[BaseModel], raw: Mapping[str, Any]
) -> tuple[FieldInfo, tuple[str | int, ...], bool]:
    """The innermost declared key at ``location``, the part of it that exists in the data, and
    whether that part is an item of the key rather than the key itself.

    pydantic appends names of its own (the member of a union, ``[key]``) to a location; what the
    data does not hold under a container is such a name and is dropped.
    """
    found: FieldInfo | None = None
    item = False
    place: list[str | int] = []
    for part in location:
        field = known_keys(model).get(str(part)) if isinstance(part, str) else None
        parent = _value_at(place, raw)
        held = (
            part in parent
            if isinstance(parent, Mapping)
            else isinstance(parent, (list, tuple)) and isinstance(part, int) and part < len(parent)
        )
        if not held and (field is None or not isinstance(parent, Mapping)):
            break
        place.append(part)
        item = field is None
        if field is not None:
            found = field
            model = sections_of(field) or model
    if found is None:
        raise LookupError(f"no configuration key at {location!r}")
    return found, tuple(place), item


def _value_at(place: Sequence[str | int], raw: object) -> object:
    value = raw
    for part in place:
        if isinstance(value, Mapping):
            value = value.get(part, _NOTHING)
        elif isinstance(value, (list, tuple)) and isinstance(part, int):
            value = value[part]
        else:
            return _NOTHING
    return value
