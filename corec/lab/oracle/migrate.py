"""A processor with other fields than the world was left with (docs/start.md, docs/entities.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from corec.lab.oracle.block import Block
from corec.lab.oracle.entity import Kind, stored


def migrate(block: Block, kind: Kind, log_cap: int, parametros: dict[str, float]) -> None:
    """Between two ticks. ``parametros``: as they count now."""
    old, before = block.settings.kind, [dict(entity.state) for entity in block.entities]
    made = _made(block, kind)
    block.settings = replace(block.settings, kind=kind, log_cap=log_cap)
    block.params = {name: np.float32(parametros[name]) for name in kind.params}
    for k, (entity, was) in enumerate(zip(block.entities, before, strict=True)):
        state = block.initial(entity)
        kept = {n for n, (dtype, _) in kind.state.items() if old.state.get(n, ("",))[0] == dtype}
        kept |= {n for n, length in kind.history.items() if old.history.get(n) == length}
        state.update({name: was[name] for name in (*kept, "valor")})
        for name, values in made.items():
            value = np.broadcast_to(np.asarray(values), block.n)[k]
            state[name] = stored(kind.state[name][0], value)
        entity.state = state
    block.take_means()


def _made(block: Block, kind: Kind) -> dict[str, Any]:
    old = block.settings.kind
    if kind.migrate is None or dict(kind.state) == dict(old.state):
        return {}
    entities = block.entities
    given: dict[str, Any] = {
        name: np.array([e.state[name] for e in entities], dtype)
        for name, (dtype, _) in {"valor": ("f4", 0), **old.state}.items()
    }
    given |= {name: np.array([e.genes[name] for e in entities]) for name in old.genes}
    given["activo"] = np.array([e.activo for e in entities], np.uint8)
    given["fallos"] = np.array([e.fallos for e in entities], np.uint32)
    given["id"] = np.array([e.id for e in entities])
    return dict(kind.migrate(given))
