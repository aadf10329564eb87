"""What is written into a world from outside, between two ticks (docs/rules.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corec.lab.oracle.block import Block
from corec.lab.oracle.entity import stored
from corec.lab.oracle.held import Entity


def write(
    blocks: Sequence[Block], fields: Mapping[str, Any], ids: Sequence[int] | None = None
) -> None:
    """Into entities of the bloque of ``blocks``: of each field one number for all of ``ids``, or
    one for each; all entities where ``ids`` is left out."""
    homes = {entity.id: (block, entity) for block in blocks for entity in block.entities}
    touched = set()
    for k, identity in enumerate(homes if ids is None else ids):
        block, entity = homes[identity]
        touched.add(block.settings.name)
        _store(block, entity, {name: given[k] if isinstance(given, list | tuple) else given
                               for name, given in fields.items()})  # fmt: skip
    for block in blocks:
        if block.settings.name in touched:
            block.take_means()


def _store(block: Block, entity: Entity, given: Mapping[str, Any]) -> None:
    kind = block.settings.kind
    for name, value in given.items():
        if name == "activo":
            continue
        dtype = "f4" if name == "valor" else kind.state[name][0]
        entity.state[name] = stored(dtype, value)
    if kind.mortal and "vivo" in given:
        entity.activo = given["vivo"] != 0
    if "activo" in given:
        entity.activo = bool(given["activo"]) and not (kind.mortal and entity.state["vivo"] == 0)
