"""What there is in a world: its swarms with their fields, spaces and rules, as JSON data."""

from __future__ import annotations

from typing import Any

from corec import layout as L
from corec.config import Config
from corec.config.change import plain
from corec.config.umbral import as_written
from corec.plan import Plan, Swarm


def contents(config: Config, plan: Plan, tick: int) -> dict[str, Any]:
    """What a person or a program needs to know before asking for more; the numbers of ``plan`` and
    ``config`` are those that count in the tick after ``tick``."""
    wholes = [swarm for swarm in plan.swarms if not swarm.first_number]
    return {
        "instance_id": config.instance_id,
        "tick": tick,
        "seed": config.seed,
        "entidades": plan.entidades,
        "bloques": plan.n_blocks,
        "globals": _globals(config, plan),
        "swarms": [_swarm(one, plan) for one in wholes],
    }


def _globals(config: Config, plan: Plan) -> dict[str, float]:
    found = dict(config.globals)
    for swarm in plan.swarms:
        count = len(swarm.processor.params)
        found |= dict(zip(swarm.processor.globals, swarm.params[count:], strict=True))
    return found


def _swarm(swarm: Swarm, plan: Plan) -> dict[str, Any]:
    parts = [part for part in plan.swarms if part.bloque == swarm.bloque]
    processor = swarm.processor
    return {
        "id": swarm.id,
        "canal": swarm.canal,
        "entidades": sum(part.living for part in parts),
        "places": sum(part.entidades for part in parts),
        "ids": [[part.first_id, part.end_id - 1] for part in parts],
        "bloques": sum(part.blocks for part in parts),
        "entidades_por_bloque": swarm.cap,
        "max_size_mb": swarm.block_bytes // L.MIB,
        "procesador": processor.name,
        "kind": processor.kind,
        "parametros": dict(
            zip((name for name, _ in processor.params), swarm.params, strict=False)
        ),
        "umbral": as_written(swarm.umbral),
        "fields": {field.name: field.dtype for field in processor.state},
        "histories": {ring.name: ring.length for ring in processor.history},
        "genes": {gene.name: [gene.low, gene.high, gene.sigma] for gene in processor.genes},
        "public": list(processor.public),
        "reading": list(processor.values) or (["value"] if processor.kind == "celu" else []),
        "alerts": list(processor.alert_fields) if processor.alerts else None,
        "silence": processor.silence or None,
        "mortal": processor.mortal,
        "sends": processor.sends or None,
        "see": list(processor.see),
        "space": plain(swarm.space),
        "evolucion": plain(swarm.evolucion),
        "simbiosis": None if swarm.symbiosis == "ninguna" else swarm.symbiosis,
        "collect": [plain(one) for one in swarm.collect],
    }
