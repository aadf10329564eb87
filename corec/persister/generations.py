"""Generations and lineage: frames of an evolution as events.

A frame becomes one event ``generation`` of its block, and one event ``lineage`` of each child in
it; the views ``generaciones`` and ``linaje`` show them as tables. So retention, the worlds that are
set aside, and being there once are what they are for every event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from corec import layout as L
from corec.layout.frames import generation_bytes, genes_bytes
from corec.layout.generation import BORN_CHILD, BORN_MIGRANT
from corec.log import get_logger
from corec.persister.encode import Event, parse_event
from corec.persister.gaps import OF_PHASES
from corec.plan import Plan, Swarm
from corec.process.events import DIVISION, FUSION, GENERATION, LINEAGE, STATISTICS
from corec.world.collecting import TIME
from corec.world.fusion import FRAME, PLACES, WHOLE
from shm.lane import Frame

log = get_logger(__name__)
_HOW = {BORN_CHILD: "hijo", BORN_MIGRANT: "migrante"}


def parse_frames(frames: Iterable[Frame], plan: Plan) -> tuple[list[Event], int]:
    """The events in frames, and how many frames make no sense; those are logged."""
    events: list[Event] = []
    bad = 0
    for frame in frames:
        try:
            if frame.kind in OF_PHASES:
                events += told_of(frame, plan)
            else:
                events.append(parse_event(frame.payload))
        except (ValueError, KeyError, TypeError, IndexError, orjson.JSONEncodeError) as error:
            bad += 1
            log.error("an event makes no sense and is dropped", error=str(error))
    return events, bad


def told_of(frame: Frame, plan: Plan) -> list[Event]:
    """The events of one generation or fusion of a block.

    Raises ValueError, IndexError for a frame that does not fit ``plan`` or its own header.
    """
    if frame.kind == L.KIND_FUSION_FRAME:
        return [_fusion(frame, plan)]
    if frame.kind == L.KIND_COLLECT_FRAME:
        return [_statistics(frame, plan)]
    swarm = plan.swarms[int(plan.blocks["swarm"][frame.a])]
    count, bloque, tick = len(swarm.processor.genes), plan.block_id(frame.a), frame.tick - 1
    data = bytes(frame.payload)
    if len(data) != generation_bytes(count, frame.b):
        wanted = generation_bytes(count, frame.b)
        raise ValueError(f"generation: found {len(data)} bytes, its header says {wanted}")
    head = np.frombuffer(data, L.GENERATION, 1)[0]
    at = L.GENERATION.itemsize
    some = bool(head["genes"])
    figures = {name: _number(head[name]) for name in ("mejor", "media", "peor", "diversidad")}
    body: dict[str, Any] = {
        "generacion": int(head["generacion"]), **figures, "activas": int(head["activas"]),
        "hijos": int(head["hijos"]), "mejor_id": int(head["mejor_id"]) if some else None,
        "genes": _genes(swarm, data, at) if some else None,
    }  # fmt: skip
    unix_ns = int(head["unix_ns"])
    found = [Event(unix_ns, tick, GENERATION, bloque, None, orjson.dumps(body))]
    at += genes_bytes(count)
    for _ in range(frame.b):
        child, mother, father, how = np.frombuffer(data, L.LINEAGE, 1, at)[0].tolist()
        at += L.LINEAGE.itemsize
        body = {
            "madre": mother, "padre": father if father != mother else None, "how": _HOW[how],
            "generacion": int(head["generacion"]), "genes": _genes(swarm, data, at),
        }  # fmt: skip
        found.append(Event(unix_ns, tick, LINEAGE, bloque, child, orjson.dumps(body)))
        at += genes_bytes(count)
    return found


def _fusion(frame: Frame, plan: Plan) -> Event:
    if len(frame.payload) != FRAME.size:
        raise ValueError(f"fusion: found {len(frame.payload)} bytes, expected {FRAME.size}")
    unix_ns, donor, taken, fitness, donors = FRAME.unpack(frame.payload)
    body = {"donor": plan.block_id(donor), "fitness": fitness, "donor_fitness": donors}
    if taken != WHOLE:
        body["places"] = PLACES[taken]
    tipo, bloque = FUSION if taken == WHOLE else DIVISION, plan.block_id(frame.a)
    return Event(unix_ns, frame.tick - 1, tipo, bloque, None, orjson.dumps(body))


def _statistics(frame: Frame, plan: Plan) -> Event:
    body = orjson.loads(frame.payload)
    unix_ns, bloque = int(body.pop(TIME)), plan.block_id(frame.a)
    return Event(unix_ns, frame.tick - 1, STATISTICS, bloque, None, orjson.dumps(body))


def _number(value: np.float64) -> float | None:
    return float(value) if math.isfinite(value) else None


def _genes(swarm: Swarm, data: bytes, at: int) -> dict[str, float]:
    genes = swarm.processor.genes
    values = np.frombuffer(data, "<f4", len(genes), at)
    return {gene.name: float(value) for gene, value in zip(genes, values, strict=True)}
